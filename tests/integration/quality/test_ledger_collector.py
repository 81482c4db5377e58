"""Collection of a real service's ledger."""

import contextlib
from contextlib import closing

import pytest
from uuid_utils import UUID

from development.sandbox import Sandbox
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock
from estelam.core.errors import Reason
from estelam.core.keys import HmacKeyring, SigningKey, verifying_keys
from estelam.core.model import Inquiry
from estelam.inquiry.v1 import inquiry_pb2 as ledger_pb
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from estelam.judiciary.v1.cheque_case_inquiry_pb2_grpc import ChequeCaseInquiryServiceStub
from estelam.ledger import search, verify
from estelam.ledger.writer import EntryDraft, LedgerWriter
from estelam.storage.store import AccessMode, Store
from judiciary.methods import CHECK_BY_NATIONAL_ID
from quality import repository, traffic_store
from quality.attribution import Attribution
from quality.monitor import ledger_collector
from quality.periods import minute_of
from quality.records import Tally
from quality.witness.continuity import LedgerWitness
from tests.conftest import judiciary_opening, plain_channel
from tests.integration.quality.conftest import CBI, NATIONAL_ID, QualityStore
from tests.integration.storage.test_fact_notes import CALLER
from tests.support.service import RunningService

SERVICE = "cheque-case-inquiry"


def ask(sandbox: Sandbox, numbers: list[str]) -> None:
    with (
        RunningService(judiciary_opening(sandbox, shutdown_delay_seconds=0)) as service,
        plain_channel(service.address, ClientIdentity.named(sandbox.pki, "cbi")) as channel,
    ):
        stub = ChequeCaseInquiryServiceStub(channel)
        for number in numbers:
            with contextlib.suppress(Exception):
                stub.CheckByNationalId(pb.CheckByNationalIdRequest(national_id=number), timeout=5)


def collect(quality_store: QualityStore, sandbox: Sandbox) -> int:
    now = minute_of(Clock().now())
    witness = LedgerWitness(verifying_keys(sandbox.judiciary().signing_certificates), Clock())
    with (
        closing(Store(quality_store.settings.store, facts=AccessMode.WRITE)) as kept,
        closing(Store(sandbox.judiciary().store)) as ledger,
        kept.transaction() as quality,
        ledger.transaction() as entries,
    ):
        fresh = ledger_collector.read_freshness(entries, SERVICE, now=now)
        assert fresh is not None
        assert 0 <= fresh.age_minutes <= 24 * 60
        assert fresh == ledger_collector.read_freshness(entries, SERVICE, now=now, required=("cases",))
        for others in (("court-a",), ("cases", "court-b"), ()):
            assert ledger_collector.read_freshness(entries, SERVICE, now=now, required=others) is None
        return ledger_collector.collect_batch(quality, entries, SERVICE, witness, now=now).entries


def seen(quality_store: QualityStore) -> tuple[Tally, str]:
    whole, end = Tally(), minute_of(Clock().now()) + 1
    with closing(Store(quality_store.settings.store)) as kept, kept.transaction() as quality:
        for one in traffic_store.observations(quality, 0, end):
            assert (one.method, one.consumer) == (NATIONAL_ID, CBI)
            whole.add(one.tally)
        head = repository.last_heads(quality, end)[SERVICE]
    return whole, str(head)


@pytest.mark.timeout(120)
def test_entries_are_counted_once(loaded: Sandbox, quality_store: QualityStore) -> None:
    """Each ledger entry is counted once, and the stored head is that of the ledger."""
    ask(loaded, ["9990000050", "9990000050", "1"])
    assert (collect(quality_store, loaded), collect(quality_store, loaded)) == (4, 0)
    ask(loaded, ["9990000050"])
    assert collect(quality_store, loaded) == 1

    settings = loaded.judiciary()
    with closing(Store(settings.store)) as ledger, ledger.transaction() as entries:
        *_, last = verify.verify_ledger(entries, verifying_keys(settings.signing_certificates))
    tally, head = seen(quality_store)
    assert (tally.counts[None], tally.counts[Attribution.CONSUMER], tally.latencies.total()) == (3, 1, 3)
    assert head == str(last)


@pytest.mark.parametrize("split", [False, True])
def test_annulled_answer_is_not_counted(*, split: bool) -> None:
    """An answer that its caller never got counts as the refusal that the caller got, also if it is annulled later."""
    answer = ledger_pb.Entry(inquiry_id=b"1", method="m", caller="c", outcome=ledger_pb.OUTCOME_YES)
    refused = ledger_pb.Entry(
        inquiry_id=b"1",
        method="m",
        caller="c",
        outcome=ledger_pb.OUTCOME_REFUSED,
        refusal="STORE_UNAVAILABLE",
    )
    total = Tally()
    batches: list[tuple[list[ledger_pb.Entry], list[ledger_pb.Entry]]] = (
        [([answer], []), ([refused], [answer])] if split else [([refused], [])]
    )
    for entries, annulled_since in batches:
        for observation in ledger_collector._observations(entries, frozenset(), annulled_since):
            total.add(observation.tally)

    assert {Attribution.PROVIDER: 1} == dict(+total.counts)
    assert not +total.latencies


@pytest.mark.parametrize("others", [0, 2])
def test_annulled_probe(loaded: Sandbox, quality_store: QualityStore, others: int) -> None:
    """A probe does not count, nor does its annulment, whether a later batch has it or others asked in its minute."""
    ask(loaded, ["9990000050"] * (1 + others))
    settings, clock = loaded.judiciary(), Clock()
    signer = SigningKey.load(settings.signing_key, settings.signing_certificates)
    writer = LedgerWriter(settings.SECTION, keyring=HmacKeyring.load(settings.hmac_keyring), signer=signer, clock=clock)
    with closing(Store(settings.store, ledger=AccessMode.WRITE)) as ledger:
        with ledger.transaction() as entries:
            *_, probe = search.entries_between(entries, 0, None)
        with (
            closing(Store(quality_store.settings.store, facts=AccessMode.WRITE)) as kept,
            kept.transaction() as quality,
        ):
            repository.save_own_inquiries(quality, [(probe.entry.inquiry_id, minute_of(clock.now()))])
        assert collect(quality_store, loaded)
        with ledger.transaction() as entries:
            request = pb.CheckByNationalIdRequest(national_id="9990000050")
            refused = Inquiry(UUID(bytes=probe.entry.inquiry_id), CHECK_BY_NATIONAL_ID, CALLER, 0.0, request=request)
            writer.append_at_once(entries, [EntryDraft(refused, Reason.STORE_UNAVAILABLE, annuls=probe.index)])

    assert 1 == collect(quality_store, loaded)
    assert others == seen(quality_store)[0].total
