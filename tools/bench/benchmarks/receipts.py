"""The size of receipts and the speed of their verification."""

from collections.abc import Iterator
from datetime import UTC, datetime

from development.sandbox import CHECK_NOTE
from estelam.core.keys import SigningKey
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES, Receipt
from estelam.promissory.v1.note_inquiry_pb2 import CheckNoteRequest, CheckNoteResponse
from estelam.receipts.archive import ReceiptRecord, write_archive
from estelam.receipts.checkpoint import origin_of
from estelam.receipts.receipt import canonical
from tools.bench.deployment import Deployment
from tools.bench.environment import SERVER_CORE, BenchEnvironment
from tools.bench.metric import Metric, at_least, at_most
from tools.env.receipt_maker import ReceiptMaker

LEDGER = 10_000_000
REQUEST = CheckNoteRequest(
    serial="1404000000000017", obligor_id="9990000018", beneficiary_id="99000554330", amount_rials=2_500_000_000
)


def measure(environment: BenchEnvironment) -> Iterator[Metric]:
    """Bytes of a receipt of CheckNote, and receipts that `receipt verify` verifies per CPU second.

    Each receipt is of a commit of its own, so that each checkpoint's signature is verified too: the slowest case.
    """
    suite = environment.empty("receipts")
    records = list(_records(suite, environment.scale.receipts))
    largest = max(len(canonical(_receipt_of(record))) for record in records)
    path = len(_receipt_of(records[0]).inclusion_path)
    yield Metric(
        "receipt of CheckNote",
        f"in a ledger of {LEDGER:,} entries, {path} hashes in its path",
        largest,
        at_most(1536),
        "{:,.0f} bytes",
    )
    few = min(_verify(suite, records[:1]) for _ in range(3))
    all_of_them = min(_verify(suite, records) for _ in range(3))
    yield Metric(
        "receipt verify, by CPU time",
        f"{len(records):,} receipts of as many commits, in {all_of_them:.2f} CPU seconds, "
        f"less {few:.2f} s that the command takes for one",
        (len(records) - 1) / (all_of_them - few),
        at_least(3_000),
        "{:,.0f} receipts/s",
    )


def _records(suite: Deployment, count: int) -> Iterator[ReceiptRecord]:
    settings = suite.promissory()
    signer = SigningKey.load(settings.signing_key, settings.signing_certificates)
    maker = ReceiptMaker(signer, origin_of("promissory", signer.verifying_key.organization_id))
    now = datetime.now(UTC)
    for index in range(LEDGER // 2, LEDGER // 2 + count):
        reply = CheckNoteResponse(answer=ANSWER_YES)
        receipt = maker.receipt(CHECK_NOTE, REQUEST, reply, at=now, index=index, size=LEDGER)
        reply.receipt.CopyFrom(receipt)
        yield ReceiptRecord(CHECK_NOTE, REQUEST, reply)


def _receipt_of(record: ReceiptRecord) -> Receipt:
    found: Receipt = record.reply.receipt  # type: ignore[attr-defined]
    return found


def _verify(suite: Deployment, records: list[ReceiptRecord]) -> float:
    """Return the CPU seconds that it takes to verify *records* on one core."""
    file = suite.sandbox.folder / "saved.jsonl"
    write_archive(file, records)
    return suite.command("receipt", "verify", file, core=SERVER_CORE).cpu_seconds
