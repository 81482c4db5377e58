"""Promise 1: no fault is a no. Whatever breaks, wherever it breaks, the caller is told so in constant words.

Each question is first asked while every line of its course is written down. Then it is asked again for every line, with
an error thrown at that line; and once more for every call to the database, failed before and after it did its work.
"""

import asyncio
import os
import sqlite3
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Self

import grpc
import pytest
import structlog
from google.protobuf.message import Message
from grpc_health.v1.health_pb2 import HealthCheckResponse
from sqlalchemy.exc import OperationalError

from estelam.auth import certificate
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock
from estelam.core.errors import Reason, Refusal
from estelam.core.grpc_status import from_grpc
from estelam.core.keys import verifying_keys
from estelam.core.model import Answer, Inquiry, LookupResult, Method
from estelam.core.settings import StoreSettings
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as cases
from estelam.ledger import verify
from estelam.pipeline.recorder import InquiryRecorder, Lookup, LookupContext
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.receipts import receipt
from estelam.server import grpc_server
from estelam.server.service import run_recording_service
from estelam.storage.store import Store
from judiciary.methods import LOOKUPS
from promissory.methods import lookups
from tests.conftest import plain_channel
from tests.support.faults import DatabaseFaults, Faults, Point, errors
from tests.support.outages import HOUR, PROMISSORY, outage, publish
from tests.support.service import RunningService
from tools.env import sandbox as suite
from tools.env.sandbox import CHECK_BY_NATIONAL_ID, CHECK_BY_TRACKING_ID, CHECK_NOTE, GET_NOTE_PARTIES, Sandbox

SERVICES = Path(grpc_server.__file__).resolve().parents[2]
FRONT = (
    "estelam/core/errors.py",
    "estelam/core/files.py",
    "estelam/core/grpc_status.py",
    "estelam/core/validation.py",
    "estelam/telemetry/metrics.py",
    *(f"estelam/auth/{name}.py" for name in ("authentication", "authorization", "certificate", "rate_limit")),
    "estelam/catalogue/access_source.py",
    *(f"estelam/pipeline/{name}.py" for name in ("batcher", "handler", "metadata", "outages")),
)
FILES = (
    *FRONT,
    "estelam/core/clock.py",
    "estelam/core/keys.py",
    "estelam/ledger/search.py",
    "estelam/ledger/tables.py",
    "estelam/ledger/writer.py",
    "estelam/pipeline/recorder.py",
    "estelam/receipts/receipt.py",
    *(f"estelam/storage/{name}.py" for name in ("coverage", "sqlite", "store")),
    *(f"promissory/{name}.py" for name in ("methods", "notes", "repository")),
    *(f"judiciary/{name}.py" for name in ("cases", "methods", "repository")),
)
# Every error thrown here says this, and the question's own identifiers: words that no caller may ever read.
WORDS = "SELECT thrown purpose"

NOTE, PARTIES = (CHECK_NOTE, notes.CheckNoteResponse), (GET_NOTE_PARTIES, notes.GetNotePartiesResponse)
PERSON = (CHECK_BY_NATIONAL_ID, cases.CheckByNationalIdResponse)
CHEQUE = (CHECK_BY_TRACKING_ID, cases.CheckByTrackingIdResponse)
TOLD = "the parties"


@dataclass(frozen=True)
class Question:
    """A request, who asks it, and what a sound service says to it."""

    method: str
    reply: type[Message]
    request: Message
    right: Any
    """The answer, or the parties, or a reason of the error table."""
    caller: str
    store_down: bool = False
    table_changed: bool = False
    outage: bool = False
    metadata: tuple[tuple[str, str], ...] = ()

    @property
    def secrets(self) -> list[str]:
        """What may stand in no word of a refusal."""
        return [*WORDS.split(), *(str(value) for _, value in self.request.ListFields())]


def note(amount: int = 2_500_000_000, serial: str = "1404000000000017") -> Message:
    return notes.CheckNoteRequest(
        serial=serial, obligor_id="9990000018", beneficiary_id="99000554330", amount_rials=amount
    )


def parties(serial: str = "1404000000000017") -> Message:
    return notes.GetNotePartiesRequest(serial=serial, executive_agency_id="SETAD-0001")


def person(national_id: str) -> Message:
    return cases.CheckByNationalIdRequest(national_id=national_id)


def cheque(tracking_id: str) -> Message:
    return cases.CheckByTrackingIdRequest(tracking_id=tracking_id)


ANSWERED = {
    "a note, YES": Question(*NOTE, note(), ANSWER_YES, "setad"),
    "a note, NO": Question(*NOTE, note(amount=2_600_000_000), ANSWER_NO, "setad"),
    "parties, told": Question(*PARTIES, parties(), TOLD, "setad"),
    "parties, not told": Question(*PARTIES, parties("1404000000000025"), Reason.NOTE_NOT_CONFIRMED, "setad"),
    "a person, YES": Question(*PERSON, person("9990000050"), ANSWER_YES, "cbi"),
    "a person, NO": Question(*PERSON, person("9990000069"), ANSWER_NO, "cbi"),
    "a cheque, YES": Question(*CHEQUE, cheque("140000000000000001"), ANSWER_YES, "cbi"),
    "a cheque, NO": Question(*CHEQUE, cheque("139900000000000001"), ANSWER_NO, "cbi"),
}
# Refused at the desk, refused behind it, asked just after the access table was changed, and within an outage that was
# announced just before.
ASIDE = {
    "malformed": Question(*NOTE, note(serial="x404000000000017"), Reason.FIELD_INVALID, "setad"),
    "not granted": Question(*PARTIES, parties(), Reason.NOT_GRANTED, "agency"),
    "store down": Question(*NOTE, note(amount=2_700_000_000), Reason.STORE_UNAVAILABLE, "setad", store_down=True),
    "table changed": Question(*NOTE, note(), ANSWER_YES, "setad", table_changed=True),
    "outage": Question(*NOTE, note(amount=2_800_000_000), Reason.OUTAGE_ANNOUNCED, "setad", outage=True),
}
# Where an error is the known way of saying what is wrong with the caller's own bytes, it may be taken to say that.
BLAMED = {
    "estelam/auth/certificate.py": Reason.CERTIFICATE_UNUSABLE,
    "estelam/core/validation.py": Reason.REQUEST_MALFORMED,
}
# Where the right answer is given in spite of a fault, and why that is sound.
OUTLIVED = {
    "Batcher._run": "between two rounds nobody's question is in hand",
    "Batcher._run_batch": "before its questions are taken up they stay in the queue, and the next round takes them",
    "Batcher._take": "a question not yet taken from the queue is taken by the next round",
    "FairQueue.move": "the same; and one that was taken out is in the batch, which goes on",
    "Batcher._serve": "after the last waiter has its recorded result, nothing is left to lose",
    "Authorizer._load": "an unreadable table leaves the one last read in force",
    "AccessSource.load": "the same",
    "AccessSource.files": "the same",
    "AccessTable.load": "the same",
    "OutageSchedule._refresh": "an unreadable file leaves the outages last read in force",
    "OutageSchedule._files": "the same",
    "OutageSchedule._load": "the same",
    "OutageTable.load": "the same",
    "Outage._check_duration": "the same",
    "FileReloader.refresh": "the same",
    "FileReloader._known": "the same",
    "file_stamp": "the same",
    "InquiryHandler.handler.<locals>.handle": "a refusal has been sent before its own end is reached",
    "_end": "the same",
}


class House:
    """A service of which any line may be made to fail, and who asks it, one question at a time."""

    def __init__(self, box: Sandbox, settings: StoreSettings, faults: Faults) -> None:
        self.settings = settings
        self.faults = faults
        self._box = box
        self._keys = verifying_keys(settings.signing_certificates)
        self._channels: dict[str, grpc.Channel] = {}
        self._service: RunningService
        self._tasks = 0
        self._store_down = False

    @contextmanager
    def opened(self, asked: Mapping[Method, Lookup]) -> Iterator[Self]:
        """Serve until the end of the block."""
        # The clock runs fast, so that the access table is looked at for every question.
        clock = Clock(monotonic=lambda: time.monotonic() * 10_000)
        found = {method: self._breakable(look_up) for method, look_up in asked.items()}
        # A reader that stays keeps SQLite from tidying up each time that the service opens its store anew.
        with closing(Store(self.settings.store)) as reader:
            reader.ping()
            with RunningService(lambda: run_recording_service(self.settings, found, clock=clock)) as self._service:
                self._wait_until_healthy()
                yield self
                for channel in self._channels.values():
                    channel.close()

    def _wait_until_healthy(self) -> None:
        """Until the service has looked at its own health, which it will not do again."""
        check: Any = self._channel("stranger").unary_unary("/grpc.health.v1.Health/Check")
        while HealthCheckResponse.FromString(check(b"")).status != HealthCheckResponse.SERVING:
            time.sleep(0.05)
        for _ in range(20):  # one look may yet meet the end of that question, and take it for rest
            self._rest()
            time.sleep(0.01)

    def _breakable(self, look_up: Lookup) -> Lookup:
        def look(reading: LookupContext, inquiries: Sequence[Inquiry]) -> Sequence[LookupResult | Refusal]:
            if self._store_down:
                raise OperationalError(WORDS, {}, sqlite3.OperationalError(WORDS))
            return look_up(reading, inquiries)

        return look

    def ask(self, question: Question) -> Message | grpc.RpcError:
        """What comes back, once the service is at rest again."""
        self._store_down = question.store_down
        certificate.parse_certificate.cache_clear()
        if question.table_changed:
            os.utime(self._box.access)
        now = Clock().now()
        announced = [outage(PROMISSORY, now - HOUR, now + HOUR)] if question.outage else []
        publish(self._box.folder / "outages.toml", *announced)
        call: Any = self._channel(question.caller).unary_unary(f"/{question.method}", None, question.reply.FromString)
        try:
            reply: Message = call(question.request.SerializeToString(), timeout=20, metadata=question.metadata)
        except grpc.RpcError as error:
            return error
        finally:
            self._rest()
        return reply

    def _channel(self, caller: str) -> grpc.Channel:
        identity, known = ClientIdentity.named(self._box.pki, caller), self._channels.get(caller)
        return self._channels.setdefault(caller, known or plain_channel(self._service.address, identity))

    def _rest(self) -> None:
        """Wait until nothing is under way, and have the service's own thread followed from then on."""
        running: list[int] = []

        def look() -> None:
            sys.settrace(self.faults.trace)
            running.append(len(asyncio.all_tasks(self._service.loop)))

        while not running or running[-1] > self._tasks:
            self._service.call(look)
            self._tasks = min(self._tasks, running[-1]) if self._tasks else running[-1]

    def understood(self, question: Question, reply: Message | grpc.RpcError) -> Any:
        """What *reply* says: an answer that its receipt proves, or a refusal in which every word is constant."""
        if isinstance(reply, Message):
            receipt.verify(question.method, question.request, reply, self._keys)
            return getattr(reply, "answer", TOLD)
        refusal = from_grpc(reply)
        assert isinstance(reply, grpc.Call)
        assert refusal is not None, f"{reply.code()} {reply.details()}"
        assert (refusal.spec.status, refusal.spec.en) == (reply.code().value[0], reply.details())
        told = b"".join(v if isinstance(v, bytes) else v.encode() for _, v in reply.trailing_metadata() or ())
        assert [secret for secret in question.secrets if secret.encode() in told] == []
        return refusal.reason


@pytest.fixture(scope="module")
def database() -> DatabaseFaults:
    return DatabaseFaults()


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory, database: DatabaseFaults) -> Iterator[dict[str, House]]:
    box = suite.create_sandbox(tmp_path_factory.mktemp("faults"))
    suite.load_samples(box)
    faults = Faults(SERVICES, FILES)
    promissory, judiciary = box.promissory(listen="127.0.0.1:0"), box.judiciary(listen="127.0.0.1:0")
    with (
        _made_to_fail(faults, database),
        House(box, promissory, faults).opened(lookups(promissory)) as of_notes,
        House(box, judiciary, faults).opened(LOOKUPS) as of_cases,
    ):
        of_notes.ask(ANSWERED["a note, YES"])  # opens the parties
        yield {"setad": of_notes, "agency": of_notes, "cbi": of_cases}


@contextmanager
def _made_to_fail(faults: Faults, database: DatabaseFaults) -> Iterator[None]:
    """Have the batch's threads followed too; thousands of faults are meant, and nobody need read of each."""
    settle, loud = InquiryRecorder.answer_batch, structlog.get_config()

    def followed(registrar: InquiryRecorder, inquiries: Sequence[Inquiry]) -> list[Answer | Refusal]:
        sys.settrace(faults.trace if faults.awaited else None)
        return settle(registrar, inquiries)

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InquiryRecorder, "answer_batch", followed)
        patch.setattr(sqlite3, "connect", database.connect)
        patch.setattr(grpc_server, "HEALTH_SECONDS", 3600)
        yield
    structlog.configure(**loud)


def points(house: House, question: Question) -> list[Point]:
    """Where the course of *question* may fail: each of its lines, the first and the last time that it runs."""
    house.ask(question)  # so that what only the first inquiry does has been done
    seen = house.faults.record(lambda: house.ask(question))
    last = {point.place: point for point in seen}
    return [point for point in seen if point.run == 1 or point == last[point.place]]


def faulty(house: House, question: Question, passed: Iterable[Point]) -> list[str]:
    """What goes wrong when errors are thrown at each of *passed*."""
    kinds, wrong = errors(" ".join(question.secrets)), []
    for point in passed:
        thrown: list[BaseException] = [next(kinds)()]
        if house.faults.awaits(point):
            thrown.append(asyncio.CancelledError())
        for error in thrown:
            with house.faults.throwing(error, at=point):
                said = house.understood(question, house.ask(question))
            if fault := _fault(house, question, point, said):
                wrong.append(f"{type(error).__name__} at {point} {fault}")
    return wrong


def _fault(house: House, question: Question, point: Point, said: Any) -> str:
    if not house.faults.thrown:
        return "was not come by"
    # Within an outage the store may well be what is out: that is said whether or not it could be recorded.
    unrecorded = question.outage and point.file == "estelam/pipeline/recorder.py"
    outlived = said == question.right and (unrecorded or point.function in OUTLIVED)
    if not outlived and said not in {Reason.SERVICE_FAILED, Reason.STORE_UNAVAILABLE, BLAMED.get(point.file)}:
        return f"gave {said}"
    again = house.understood(question, house.ask(question))
    return "" if again == question.right else f"left the service saying {again}"


@pytest.mark.parametrize("name", ANSWERED)
def test_an_error_at_any_line_of_the_course_is_a_refusal_in_constant_words(houses: dict[str, House], name: str) -> None:
    question = ANSWERED[name]
    house = houses[question.caller]
    # What stands in front of the counter does not know one method from another: one method of each service is enough.
    whole = question.method in (CHECK_NOTE, CHECK_BY_NATIONAL_ID)
    passed = [point for point in points(house, question) if whole or point.file not in FRONT]

    assert faulty(house, question, passed) == []
    assert len(passed) > (250 if whole else 120)


@pytest.mark.parametrize("name", ASIDE)
def test_an_error_while_refusing_is_a_refusal_all_the_same(houses: dict[str, House], name: str) -> None:
    question = ASIDE[name]
    house = houses[question.caller]
    known = {point.place for other in ("a note, YES", "parties, told") for point in points(house, ANSWERED[other])}
    passed = [point for point in points(house, question) if point.place not in known]

    assert faulty(house, question, passed) == []
    assert len(passed) > 10


@pytest.mark.parametrize("name", ANSWERED)
def test_a_call_to_the_database_that_fails_before_or_after_its_work_is_a_refusal(
    houses: dict[str, House], database: DatabaseFaults, name: str
) -> None:
    question = ANSWERED[name]
    house, wrong = houses[question.caller], []
    error = sqlite3.OperationalError(" ".join(question.secrets))
    calls = database.record(lambda: house.ask(question))
    for at, done in product(range(len(calls)), (False, True)):
        with database.throwing(error, at=at, done=done):
            said = house.understood(question, house.ask(question))
        # SQLAlchemy rolls a connection back once more when all is done; whether that works matters to nobody.
        told = {Reason.STORE_UNAVAILABLE, question.right if calls[at] == "ROLLBACK" else None}
        again = house.understood(question, house.ask(question))
        if not database.thrown or said not in told or again != question.right:
            wrong.append((calls[at], done, said, again))

    assert wrong == []
    assert "COMMIT" in calls


@pytest.mark.parametrize("name", ["a note, NO", "a person, NO"])
def test_a_store_that_is_lost_and_can_not_be_opened_again_is_a_refusal(
    houses: dict[str, House], database: DatabaseFaults, name: str
) -> None:
    question = ANSWERED[name]
    house, said = houses[question.caller], []
    error = sqlite3.OperationalError(" ".join(question.secrets))

    def lost() -> Any:
        with database.down(error):
            return house.understood(question, house.ask(question))

    said.append(lost())
    calls = database.record(lambda: house.ask(question))
    for at, done in product(range(calls.index("BEGIN IMMEDIATE")), (False, True)):
        said.append(lost())
        with database.throwing(error, at=at, done=done):
            said.append(house.understood(question, house.ask(question)))
        assert database.thrown
        assert house.understood(question, house.ask(question)) == question.right

    assert set(said) == {Reason.STORE_UNAVAILABLE}
    assert "connect" in calls


def test_after_all_these_faults_the_ledgers_are_whole(houses: dict[str, House]) -> None:
    for house in {id(house): house for house in houses.values()}.values():
        with closing(Store(house.settings.store)) as store, store.transaction() as connection:
            blocks = deque(
                verify.verify_ledger(connection, verifying_keys(house.settings.signing_certificates)), maxlen=1
            )

            assert blocks[0].entries > 0
