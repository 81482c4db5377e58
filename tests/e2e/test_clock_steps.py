"""Steps of the machine's clock by an hour or ten years, both ways, while the service runs or before it starts."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from sqlalchemy import select, update

from development.files import SAMPLES
from development.sandbox import GRANTS, ORGANIZATIONS, Sandbox, load_file, write_access
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock, monotonic_wall_clock, to_micros
from estelam.core.errors import Reason
from estelam.core.grpc_status import from_grpc
from estelam.core.keys import verifying_keys
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.ledger import verify
from estelam.ledger.tables import checkpoint_table
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.storage.facts import coverage_table
from estelam.storage.store import AccessMode, Store
from promissory.feeds import MEMBERS, NOTES
from tests.conftest import plain_channel, promissory_opening
from tests.e2e.conftest import NOTE
from tests.support.service import RunningService

pytestmark = pytest.mark.slow

HOUR, TEN_YEARS = timedelta(hours=1), timedelta(days=3653)
AGED = timedelta(days=20 * 365)
YES_AND_NO = (ANSWER_YES, ANSWER_NO)
OTHER = pb.CheckNoteRequest(
    serial=NOTE.serial, obligor_id=NOTE.obligor_id, beneficiary_id=NOTE.beneficiary_id, amount_rials=1
)
PARTIES = pb.GetNotePartiesRequest(serial=NOTE.serial, executive_agency_id="SETAD-0001")

steps = pytest.mark.parametrize("step", [HOUR, -HOUR, TEN_YEARS, -TEN_YEARS], ids=["+1h", "-1h", "+10y", "-10y"])


@dataclass
class SteppedClockService:
    """The promissory service with an adjustable clock, and a caller with a long-lived certificate."""

    sandbox: Sandbox
    ahead: timedelta = timedelta()
    """The error of the machine's clock."""
    passed: timedelta = timedelta()
    """Simulated time in addition to the time that really passed."""
    open: ExitStack = field(default_factory=ExitStack)
    stub: Any = None

    def begin(self, **settings: Any) -> None:
        """Start or restart the service with the clock as it is."""
        self.open.close()
        clock = monotonic_wall_clock(
            Clock(
                lambda: time.time_ns() // 1000 + (self.ahead + self.passed) // timedelta(microseconds=1),
                lambda: time.monotonic() + self.passed.total_seconds(),
            )
        )
        service = RunningService(promissory_opening(self.sandbox, clock, shutdown_delay_seconds=0, **settings))
        self.open.callback(service.close)
        channel = plain_channel(service.address, ClientIdentity.named(self.sandbox.pki, "aged"))
        self.stub = PromissoryNoteInquiryServiceStub(self.open.enter_context(channel))

    def ask(self, request: pb.CheckNoteRequest) -> Any:
        return self._told(lambda: self.stub.CheckNote(request, timeout=10).answer)

    def both(self) -> tuple[Any, Any]:
        """The outcomes for a genuine and for an unknown note."""
        return self.ask(NOTE), self.ask(OTHER)

    def parties(self) -> Any:
        return self._told(lambda: self.stub.GetNoteParties(PARTIES, timeout=10).beneficiary.id)

    def sealed(self) -> list[int]:
        """The time of each checkpoint, after verifying the ledger."""
        settings = self.sandbox.promissory()
        with closing(Store(settings.store)) as store, store.transaction() as connection:
            list(verify.verify_ledger(connection, verifying_keys(settings.signing_certificates)))
            columns = checkpoint_table.c
            return [*connection.execute(select(columns.signed_at_micros).order_by(columns.size)).scalars()]

    @staticmethod
    def _told(ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except grpc.RpcError as error:
            refusal = from_grpc(error)
            return refusal.reason if refusal else error.code()


@pytest.fixture
def service(sandbox: Sandbox) -> Iterator[SteppedClockService]:
    since = datetime.now(UTC) - AGED
    DevCertificateAuthority(sandbox.pki).issue("aged", [ORGANIZATIONS["setad"]], since=since, lifetime=2 * AGED)
    load_file(sandbox.promissory(), MEMBERS, SAMPLES / "agencies.csv")
    load_file(sandbox.promissory(), NOTES, SAMPLES / "notes.csv", whole=True)
    service = SteppedClockService(sandbox)
    yield service
    service.open.close()


@steps
def test_answers_stay_right_with_wrong_clock(service: SteppedClockService, step: timedelta) -> None:
    """Answers stay right, or are refused, while the clock is wrong and after it is corrected."""
    service.begin()
    before = service.both()
    service.ahead = step
    during = service.both()
    service.ahead = timedelta()

    assert YES_AND_NO == before == service.both()
    # Ten years later the data is stale.
    assert (YES_AND_NO if step < TEN_YEARS else (ANSWER_YES, Reason.DATA_STALE)) == during
    sealed = service.sealed()
    assert step > timedelta() or sealed == sorted(sealed)


# Ten years earlier no grant is in force; an hour earlier the ledger is ahead of the clock.
after_a_start = pytest.mark.parametrize(
    ("back", "reason"), [(-HOUR, Reason.CLOCK_BEHIND), (-TEN_YEARS, Reason.NOT_GRANTED)], ids=["-1h", "-10y"]
)


@after_a_start
def test_clock_set_back_does_not_refresh_data(service: SteppedClockService, back: timedelta, reason: Reason) -> None:
    """Stale data stays stale when the clock is set back."""
    how = {"max_staleness": timedelta(minutes=30)}
    service.begin(**how)
    service.passed = timedelta(minutes=40)
    stale = service.both()
    service.ahead = back
    running = service.both()
    service.begin(**how)
    started = service.ask(OTHER)
    service.ahead = timedelta()

    assert (ANSWER_YES, Reason.DATA_STALE) == stale == running == service.both()
    assert reason == started


@after_a_start
def test_clock_set_back_does_not_reopen_parties(service: SteppedClockService, back: timedelta, reason: Reason) -> None:
    """A confirmation that has expired stays expired when the clock is set back."""
    how = {"parties_window": timedelta(minutes=30)}
    service.begin(**how)
    service.ask(NOTE)
    opened = service.parties()
    service.passed = timedelta(minutes=40)
    closed = service.parties()
    service.ahead = back
    running = service.parties()
    service.begin(**how)

    assert NOTE.beneficiary_id == opened
    assert Reason.NOTE_NOT_CONFIRMED == closed == running
    assert reason == service.parties()


@pytest.mark.parametrize("forward", [HOUR, TEN_YEARS], ids=["+1h", "+10y"])
def test_clock_ahead_does_not_extend_parties(service: SteppedClockService, forward: timedelta) -> None:
    """A YES given while the clock was ahead permits GetNoteParties for no longer than the window."""
    service.begin(parties_window=timedelta(minutes=30))
    service.ahead = forward
    service.ask(NOTE)
    during = service.parties()
    service.ahead = timedelta()

    assert (NOTE.beneficiary_id, Reason.NOTE_NOT_CONFIRMED) == (during, service.parties())


@steps
def test_rate_limit_uses_monotonic_clock(service: SteppedClockService, step: timedelta) -> None:
    """A step of the wall clock neither fills nor drains a rate limit."""
    write_access(service.sandbox, GRANTS, rate=0.001, burst=2)
    service.begin()
    answered = [service.ask(NOTE), service.ask(NOTE)]
    service.ahead = step

    assert [ANSWER_YES] * 2 == answered
    assert [Reason.QUOTA_EXHAUSTED] * 2 == [service.ask(NOTE), service.ask(NOTE)]


@steps
def test_deadline_uses_monotonic_clock(service: SteppedClockService, step: timedelta) -> None:
    """A step of the wall clock does not change a deadline."""
    service.begin()
    service.ahead = step

    assert ANSWER_YES == service.stub.CheckNote(NOTE, timeout=5).answer


def test_data_from_the_future_permits_no_no(service: SteppedClockService) -> None:
    """Data with a coverage end in the future never permits a NO."""
    # No load accepts this; it happens if the clock was ahead during the load.
    ahead = to_micros(datetime.now(UTC) + HOUR)
    with (
        closing(Store(service.sandbox.promissory().store, facts=AccessMode.WRITE)) as store,
        store.transaction() as connection,
    ):
        connection.execute(update(coverage_table).values(as_of_micros=ahead))
    service.begin()
    early = service.both()
    service.passed = HOUR

    assert (ANSWER_YES, Reason.CLOCK_BEHIND) == early
    assert YES_AND_NO == service.both()
