"""The machine's clock is set by an hour or by ten years, either way, while the service runs or before it starts."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from sqlalchemy import update

from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock, monotonic_wall_clock, to_micros
from estelam.core.errors import Reason
from estelam.core.grpc_status import from_grpc
from estelam.core.keys import verifying_keys
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.ledger import verify
from estelam.ledger.tables import block_table
from estelam.loading.feed import CoverageDeclaration
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.storage.facts import coverage_table
from estelam.storage.store import AccessMode, Store
from promissory.feeds import MEMBERS, NOTES
from tests.conftest import plain_channel, promissory_opening
from tests.e2e.conftest import NOTE
from tests.support.service import RunningService
from tools.env.sandbox import GRANTS, ORGANIZATIONS, SAMPLES, Sandbox, load_file, write_access

HOUR, TEN_YEARS = timedelta(hours=1), timedelta(days=3653)
AGED = timedelta(days=20 * 365)
YES_AND_NO = (ANSWER_YES, ANSWER_NO)
OTHER = pb.CheckNoteRequest(
    serial=NOTE.serial, obligor_id=NOTE.obligor_id, beneficiary_id=NOTE.beneficiary_id, amount_rials=1
)
PARTIES = pb.GetNotePartiesRequest(serial=NOTE.serial, executive_agency_id="SETAD-0001")

steps = pytest.mark.parametrize("step", [HOUR, -HOUR, TEN_YEARS, -TEN_YEARS], ids=["+1h", "-1h", "+10y", "-10y"])


@dataclass
class House:
    """The promissory service on a machine whose clock can be set, and a caller whose certificate is good for ages."""

    sandbox: Sandbox
    ahead: timedelta = timedelta()
    """By how much the machine's clock is wrong."""
    passed: timedelta = timedelta()
    """How much time has gone by beyond what really has."""
    open: ExitStack = field(default_factory=ExitStack)
    stub: Any = None

    def begin(self, **settings: Any) -> None:
        """Start, or start again, as a process does: with the clock as it is."""
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
        """What is said of what is so, and of what is not."""
        return self.ask(NOTE), self.ask(OTHER)

    def parties(self) -> Any:
        return self._told(lambda: self.stub.GetNoteParties(PARTIES, timeout=10).beneficiary.id)

    def sealed(self) -> list[int]:
        """When each block was sealed, the whole chain verified."""
        settings = self.sandbox.promissory()
        with closing(Store(settings.store)) as store, store.transaction() as connection:
            list(verify.verify_ledger(connection, verifying_keys(settings.signing_certificates)))
            query = block_table.select().order_by(block_table.c.number)
            return [row.sealed_at_micros for row in connection.execute(query)]

    @staticmethod
    def _told(ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except grpc.RpcError as error:
            refusal = from_grpc(error)
            return refusal.reason if refusal else error.code()


@pytest.fixture
def house(sandbox: Sandbox) -> Iterator[House]:
    since = datetime.now(UTC) - AGED
    DevCertificateAuthority(sandbox.pki).issue("aged", [ORGANIZATIONS["setad"]], since=since, lifetime=2 * AGED)
    load_file(sandbox.promissory(), MEMBERS, SAMPLES / "agencies.csv")
    load_file(sandbox.promissory(), NOTES, SAMPLES / "notes.csv", CoverageDeclaration(through=datetime.now(UTC)))
    house = House(sandbox)
    yield house
    house.open.close()


@steps
def test_what_is_said_stays_true_while_the_clock_is_wrong_and_once_it_is_right_again(
    house: House, step: timedelta
) -> None:
    house.begin()
    before = house.both()
    house.ahead = step
    during = house.both()
    house.ahead = timedelta()

    assert YES_AND_NO == before == house.both()
    # Ten years on, nobody knows what became of the facts.
    assert (YES_AND_NO if step < TEN_YEARS else (ANSWER_YES, Reason.DATA_STALE)) == during
    sealed = house.sealed()
    assert step > timedelta() or sealed == sorted(sealed)


# Ten years back no grant is in force yet; an hour back the ledger knows better.
after_a_start = pytest.mark.parametrize(
    ("back", "reason"), [(-HOUR, Reason.CLOCK_BEHIND), (-TEN_YEARS, Reason.NOT_GRANTED)], ids=["-1h", "-10y"]
)


@after_a_start
def test_a_clock_that_is_set_back_makes_no_data_fresh(house: House, back: timedelta, reason: Reason) -> None:
    how = {"max_staleness": timedelta(minutes=30)}
    house.begin(**how)
    house.passed = timedelta(minutes=40)
    stale = house.both()
    house.ahead = back
    running = house.both()
    house.begin(**how)
    started = house.ask(OTHER)
    house.ahead = timedelta()

    assert (ANSWER_YES, Reason.DATA_STALE) == stale == running == house.both()
    assert reason == started


@after_a_start
def test_a_clock_that_is_set_back_opens_no_window_again(house: House, back: timedelta, reason: Reason) -> None:
    how = {"parties_window": timedelta(minutes=30)}
    house.begin(**how)
    house.ask(NOTE)
    opened = house.parties()
    house.passed = timedelta(minutes=40)
    closed = house.parties()
    house.ahead = back
    running = house.parties()
    house.begin(**how)

    assert NOTE.beneficiary_id == opened
    assert Reason.NOTE_NOT_CONFIRMED == closed == running
    assert reason == house.parties()


@pytest.mark.parametrize("forward", [HOUR, TEN_YEARS], ids=["+1h", "+10y"])
def test_a_yes_given_while_the_clock_was_ahead_opens_no_window_for_longer(house: House, forward: timedelta) -> None:
    house.begin(parties_window=timedelta(minutes=30))
    house.ahead = forward
    house.ask(NOTE)
    during = house.parties()
    house.ahead = timedelta()

    assert (NOTE.beneficiary_id, Reason.NOTE_NOT_CONFIRMED) == (during, house.parties())


@steps
def test_no_quota_is_filled_or_drained_by_the_wall_clock(house: House, step: timedelta) -> None:
    write_access(house.sandbox, GRANTS, rate=0.001, burst=2)
    house.begin()
    answered = [house.ask(NOTE), house.ask(NOTE)]
    house.ahead = step

    assert [ANSWER_YES] * 2 == answered
    assert [Reason.QUOTA_EXHAUSTED] * 2 == [house.ask(NOTE), house.ask(NOTE)]


@steps
def test_a_deadline_is_counted_on_the_monotonic_clock(house: House, step: timedelta) -> None:
    house.begin()
    house.ahead = step

    assert ANSWER_YES == house.stub.CheckNote(NOTE, timeout=5).answer


def test_data_said_to_be_of_the_future_earns_no_no(house: House) -> None:
    # No load declares such a thing; a clock that was ahead when it was loaded does.
    ahead = to_micros(datetime.now(UTC) + HOUR)
    with (
        closing(Store(house.sandbox.promissory().store, facts=AccessMode.WRITE)) as store,
        store.transaction() as connection,
    ):
        connection.execute(update(coverage_table).values(through_micros=ahead))
    house.begin()
    early = house.both()
    house.passed = HOUR

    assert (ANSWER_YES, Reason.CLOCK_BEHIND) == early
    assert YES_AND_NO == house.both()
