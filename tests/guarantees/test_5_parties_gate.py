"""Guarantee 5: parties are disclosed only after the caller's own recent YES about the facts as they are now."""

import csv
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product
from typing import Any, ClassVar, NamedTuple

import grpc
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from development import sandbox as suite
from development.sandbox import GET_NOTE_PARTIES, GRANTS, Sandbox
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock
from estelam.core.errors import Reason
from estelam.core.grpc_status import from_grpc
from estelam.core.settings import StoreSettings
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from promissory.feeds import MEMBERS, NOTES
from promissory.repository import State
from tests.conftest import plain_channel, promissory_opening
from tests.support.service import RunningService

WINDOW = timedelta(minutes=10)
INSTANT = timedelta(microseconds=1)
CALLERS = ("setad", "agency")
AGENCIES = ("BUYER-1", "BUYER-2")
SERIALS = ("1405000000000001", "1405000000000002")
UNKNOWN = "1405000000000009"
OBLIGOR, HOLDER, ENDORSEE = "9990000018", "99000554330", "9990000042"
SECRETS = (OBLIGOR, HOLDER, ENDORSEE, "somebody", "some street")


Question = tuple[str, str, str]
"""A caller, a serial, an agency."""
Disclosure = tuple[pb.Party, pb.Party] | Reason


class Note(NamedTuple):
    """What changes of a note."""

    state: State = State.ISSUED
    holder: str = HOLDER
    surplus: int = 0
    """Added to the face amount."""


def amount(serial: str, surplus: int = 0) -> int:
    return 1_000_000 + int(serial[-1]) + surplus


def parties(serial: str, holder: str = HOLDER) -> tuple[pb.Party, pb.Party]:
    """Return the obligor and the holder of the note *serial*; each has its own names and addresses."""
    written = {"full_name": f"somebody in {serial}", "address": f"some street {serial}", "postal_code": serial[-10:]}
    kind = pb.PERSON_KIND_LEGAL if holder == HOLDER else pb.PERSON_KIND_NATURAL
    return (
        pb.Party(kind=pb.PERSON_KIND_NATURAL, id=OBLIGOR, **written),
        pb.Party(kind=kind, id=holder, **written | {"full_name": f"somebody else in {serial}"}),
    )


def row(serial: str, written: Note) -> dict[str, Any]:
    """Return a note as a row of the feed."""
    note: dict[str, Any] = {"serial": serial, "state": written.state, "beneficiary_id": HOLDER}
    note |= {"amount_rials": amount(serial, written.surplus)}
    for side, party in zip(("obligor", "holder"), parties(serial, written.holder), strict=True):
        note |= {f"{side}_id": party.id, f"{side}_name": party.full_name}
        note |= {f"{side}_address": party.address, f"{side}_postal_code": party.postal_code}
    return note | {"remaining_rials": 0, "issued_on": "2026-01-01", "due_on": "", "payment_place": "a bank"}


@dataclass
class Deployment:
    """The real service with its store, two callers with grants for both methods, and a clock that the test sets."""

    sandbox: Sandbox
    store: StoreSettings
    micros: int = field(default_factory=lambda: time.time_ns() // 1000)
    service: RunningService | None = None
    channels: dict[str, grpc.Channel] = field(default_factory=dict)
    loads: int = 0
    """The number of loads, which each file contains, because no file is loaded twice."""

    def open(self) -> None:
        how = {"shutdown_delay_seconds": 0, "max_staleness": timedelta(days=3650), "parties_window": WINDOW}
        self.service = RunningService(promissory_opening(self.sandbox, Clock(micros=lambda: self.micros), **how))
        for name in CALLERS:
            self.channels[name] = plain_channel(self.service.address, ClientIdentity.named(self.sandbox.pki, name))

    def close(self) -> None:
        for channel in self.channels.values():
            channel.close()
        if self.service:
            self.service.close()

    def wait(self, time: timedelta) -> None:
        self.micros += time // INSTANT

    def load_notes(self, notes: Mapping[str, Note]) -> None:
        rows = [row(*note) | {"payment_place": f"bank {self.loads}"} for note in notes.items()]
        self._load(NOTES, rows, whole=self.loads == 0)

    def load_members(self, members: set[str]) -> None:
        self._load(MEMBERS, [{"agency_id": agency, "name": f"buyer {self.loads}"} for agency in members])

    def _load(self, feed: Any, rows: list[dict[str, Any]], *, whole: bool = False) -> None:
        path = self.sandbox.folder / "rows.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, feed.columns)
            writer.writeheader()
            writer.writerows(rows)
        suite.load_file(self.store, feed, path, whole=whole)
        self.loads += 1

    def check(self, caller: str, serial: str, holder: str = HOLDER, surplus: int = 0) -> int:
        """Return the answer of CheckNote."""
        request = pb.CheckNoteRequest(
            serial=serial, obligor_id=OBLIGOR, beneficiary_id=holder, amount_rials=amount(serial, surplus)
        )
        answer: int = PromissoryNoteInquiryServiceStub(self.channels[caller]).CheckNote(request, timeout=10).answer
        return answer

    def ask(self, *questions: Question) -> list[Disclosure]:
        """Call GetNoteParties for all *questions* at once; return the parties or the reason of each refusal."""
        calls = []
        for caller, serial, agency in questions:
            stub: Any = PromissoryNoteInquiryServiceStub(self.channels[caller])
            request = pb.GetNotePartiesRequest(serial=serial, executive_agency_id=agency)
            calls.append(stub.GetNoteParties.future(request, timeout=10))
        return [disclosure(call) for call in calls]


def disclosure(call: Any) -> Disclosure:
    if call.exception() is None:
        return call.result().obligor, call.result().beneficiary
    refusal = from_grpc(call.exception())
    text = f"{call.details()} {call.trailing_metadata()}"
    assert refusal is not None
    assert not any(secret in text for secret in SECRETS)
    return refusal.reason


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    sandbox = suite.create_sandbox(tmp_path_factory.mktemp("parties") / "suite")
    grants = [*GRANTS, ("agency", GET_NOTE_PARTIES, "R2.2")]
    suite.write_access(sandbox, grants, rate=1_000_000, burst=1_000_000)
    made = Deployment(sandbox, sandbox.promissory())
    made.open()
    yield made
    made.close()


# Values that permit disclosure are drawn more often: otherwise most sequences would disclose nothing.
caller = st.sampled_from(CALLERS)
serial = st.sampled_from((*SERIALS * 3, UNKNOWN))
state = st.sampled_from((*[State.ISSUED] * 4, *State))
holder = st.sampled_from((HOLDER, HOLDER, HOLDER, ENDORSEE))
surplus = st.sampled_from((0, 0, 0, 1))
note = st.builds(Note, state, holder, surplus)
passed = st.sampled_from((INSTANT, INSTANT, WINDOW / 3, WINDOW - INSTANT, WINDOW))


class Inquiries(RuleBasedStateMachine):
    """Calls, loads, restarts and passing time in any order, with a model of what may be disclosed: three dicts."""

    deployment: ClassVar[Deployment]
    restarts: ClassVar[int]

    @invariant()
    def disclosure_matches_model(self) -> None:
        questions = [*product(CALLERS, SERIALS, AGENCIES[:1]), (CALLERS[0], SERIALS[0], AGENCIES[1])]

        assert [self.expected(*question) for question in questions] == self.deployment.ask(*questions)

    def expected(self, caller: str, serial: str, agency: str) -> Disclosure:
        if agency not in self.members:
            return Reason.AGENCY_NOT_MEMBER
        note = self.notes[serial]
        confirmed = self.confirmed.get((caller, serial, note))
        recent = confirmed is not None and self.deployment.micros - confirmed <= WINDOW // INSTANT
        return parties(serial, note.holder) if recent else Reason.NOTE_NOT_CONFIRMED

    @initialize(notes=st.fixed_dictionaries(dict.fromkeys(SERIALS, note)))
    def begin(self, notes: dict[str, Note]) -> None:
        self.deployment.wait(2 * WINDOW)
        self.notes = dict(notes)
        self.members = {AGENCIES[0]}
        self.confirmed: dict[tuple[str, str, Note], int] = {}
        self.deployment.load_notes(self.notes)
        self.deployment.load_members(self.members)

    @rule(caller=caller, serial=serial, holder=holder, surplus=surplus)
    def check(self, caller: str, serial: str, holder: str, surplus: int) -> None:
        asked = Note(State.ISSUED, holder, surplus)
        genuine = self.notes.get(serial) == asked
        if genuine:
            self.confirmed[caller, serial, asked] = self.deployment.micros

        assert (ANSWER_YES if genuine else ANSWER_NO) == self.deployment.check(caller, serial, holder, surplus)

    @rule(passed=passed)
    def wait(self, passed: timedelta) -> None:
        self.deployment.wait(passed)

    @rule(serial=st.sampled_from(SERIALS), note=note)
    def load(self, serial: str, note: Note) -> None:
        self.notes[serial] = note
        self.deployment.load_notes({serial: note})

    @rule(members=st.sampled_from((AGENCIES[:1], AGENCIES[1:], AGENCIES)))
    def load_members(self, members: tuple[str, ...]) -> None:
        self.members = set(members)
        self.deployment.load_members(self.members)

    @precondition(lambda _self: Inquiries.restarts > 0)
    @rule()
    def restart(self) -> None:
        Inquiries.restarts -= 1
        self.deployment.close()
        self.deployment.open()


def test_parties_require_own_recent_yes(deployment: Deployment) -> None:
    """In no sequence of events are parties disclosed without the caller's own recent YES that still holds."""
    Inquiries.deployment, Inquiries.restarts = deployment, 6  # a restart is slow
    # No shrinking: each attempt would restart the service many times.
    options = settings(max_examples=5, stateful_step_count=20, deadline=None, database=None, phases=[Phase.generate])
    run_state_machine_as_test(Inquiries, settings=settings(options, suppress_health_check=list(HealthCheck)))


@pytest.mark.parametrize("state", State)
def test_window_is_exact(deployment: Deployment, state: State) -> None:
    """A YES permits its caller to get the parties up to the last instant of the window."""
    serial, other = SERIALS
    question = ("setad", serial, AGENCIES[0])
    deployment.wait(2 * WINDOW)
    deployment.load_members({AGENCIES[0]})
    deployment.load_notes({serial: Note(), other: Note()})
    before = deployment.ask(question)
    deployment.check("setad", serial)
    deployment.wait(WINDOW)
    opened = deployment.ask(question)
    shut = deployment.ask(
        ("agency", serial, AGENCIES[0]), ("setad", other, AGENCIES[0]), ("setad", UNKNOWN, AGENCIES[0])
    )
    deployment.load_notes({serial: Note(state)})
    in_state = deployment.ask(question)
    deployment.load_notes({serial: Note()})
    deployment.wait(INSTANT)
    late = deployment.ask(question)

    assert [parties(serial)] == opened
    assert [Reason.NOTE_NOT_CONFIRMED] * 5 == [*before, *shut, *late]
    assert [parties(serial) if state is State.ISSUED else Reason.NOTE_NOT_CONFIRMED] == in_state


@pytest.mark.parametrize("changed", [Note(holder=ENDORSEE), Note(surplus=1)], ids=["endorsed", "amount-corrected"])
def test_changed_facts_need_new_check(deployment: Deployment, changed: Note) -> None:
    """A YES about facts that have changed since permits nothing; one about the present facts does."""
    serial = SERIALS[0]
    question = ("setad", serial, AGENCIES[0])
    deployment.wait(2 * WINDOW)
    deployment.load_members({AGENCIES[0]})
    deployment.load_notes({serial: Note()})
    deployment.check("setad", serial)
    deployment.load_notes({serial: changed})
    before = deployment.ask(question)
    deployment.check("setad", serial, changed.holder, changed.surplus)
    after = deployment.ask(question)
    deployment.load_notes({serial: Note()})
    changed_back = deployment.ask(question)

    assert [Reason.NOTE_NOT_CONFIRMED] == before
    assert [parties(serial, changed.holder)] == after
    assert [parties(serial)] == changed_back
