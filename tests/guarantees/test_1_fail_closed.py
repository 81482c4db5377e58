"""Guarantee 1: no fault becomes a NO. Any fault, anywhere, becomes a refusal with constant text.

Each call is first made while every line that it runs is recorded. Then it is made again for every line, with an error
raised at that line; and again for every database call, failed before and after its work.
"""

import os
import sqlite3
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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

from development import sandbox as suite
from development.sandbox import CHECK_BY_NATIONAL_ID, CHECK_BY_TRACKING_ID, CHECK_NOTE, GET_NOTE_PARTIES, Sandbox
from estelam.auth import trust
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock
from estelam.core.errors import Reason, Refusal
from estelam.core.grpc_status import from_grpc
from estelam.core.keys import verifying_keys
from estelam.core.model import Inquiry, LookupResult, Method
from estelam.core.settings import StoreSettings
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as cases
from estelam.ledger import verify
from estelam.pipeline import timers
from estelam.pipeline.batcher import Batcher
from estelam.pipeline.recorder import Lookup, LookupContext
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.receipts import receipt
from estelam.server import answer_comparison, checkpoint_keeper, grpc_server
from estelam.server.grpc_server import Server
from estelam.server.service import run_recording_service
from estelam.storage.store import Store
from estelam.telemetry import call_journal
from judiciary.methods import LOOKUPS
from promissory.methods import lookups
from promissory.recall import NoteRecallSource
from tests.conftest import plain_channel
from tests.support.certificates import crl_pem
from tests.support.faults import DatabaseFaults, Faults, Point, errors
from tests.support.outages import HOUR, PROMISSORY, outage, publish
from tests.support.service import RunningService

SERVICES = Path(grpc_server.__file__).resolve().parents[2]
FRONT = (
    "estelam/core/errors.py",
    "estelam/core/reload.py",
    "estelam/core/grpc_status.py",
    "estelam/core/validation.py",
    "estelam/telemetry/metrics.py",
    *(
        f"estelam/auth/{name}.py"
        for name in ("authentication", "authorization", "certificate", "rate_limit", "revocation", "trust")
    ),
    "estelam/catalogue/access_source.py",
    *(f"estelam/pipeline/{name}.py" for name in ("batcher", "handler", "metadata", "outages", "pacer", "timers")),
)
FILES = (
    *FRONT,
    "estelam/core/clock.py",
    "estelam/core/keys.py",
    *(f"estelam/ledger/{name}.py" for name in ("basis", "confirmations", "loads", "tables", "writer")),
    "estelam/pipeline/recorder.py",
    "estelam/receipts/receipt.py",
    *(f"estelam/storage/{name}.py" for name in ("coverage", "sqlite", "statements", "store")),
    *(f"promissory/{name}.py" for name in ("methods", "notes", "repository")),
    *(f"judiciary/{name}.py" for name in ("cases", "methods", "repository")),
)
# The text of every injected error, together with the request's own identifiers: no caller may ever see it.
WORDS = "SELECT thrown purpose"

NOTE, PARTIES = (CHECK_NOTE, notes.CheckNoteResponse), (GET_NOTE_PARTIES, notes.GetNotePartiesResponse)
PERSON = (CHECK_BY_NATIONAL_ID, cases.CheckByNationalIdResponse)
CHEQUE = (CHECK_BY_TRACKING_ID, cases.CheckByTrackingIdResponse)
DISCLOSED = "the parties"


@dataclass(frozen=True)
class Question:
    """A call: the request, its caller, and the outcome without a fault."""

    method: str
    reply: type[Message]
    request: Message
    right: Any
    """The answer, the parties, or a reason of the error catalogue."""
    caller: str
    store_down: bool = False
    table_changed: bool = False
    outage: bool = False
    metadata: tuple[tuple[str, str], ...] = ()

    @property
    def secrets(self) -> list[str]:
        """Texts that no refusal may contain."""
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
    "parties, disclosed": Question(*PARTIES, parties(), DISCLOSED, "setad"),
    "parties, refused": Question(*PARTIES, parties("1404000000000025"), Reason.NOTE_NOT_CONFIRMED, "setad"),
    "a person, YES": Question(*PERSON, person("9990000050"), ANSWER_YES, "cbi"),
    "a person, NO": Question(*PERSON, person("9990000069"), ANSWER_NO, "cbi"),
    "a cheque, YES": Question(*CHEQUE, cheque("140000000000000001"), ANSWER_YES, "cbi"),
    "a cheque, NO": Question(*CHEQUE, cheque("139900000000000001"), ANSWER_NO, "cbi"),
}
# Refused before step 5, refused in it, called just after a change of the access table, and during an outage announced
# just before.
REFUSED = {
    "malformed": Question(*NOTE, note(serial="x404000000000017"), Reason.FIELD_INVALID, "setad"),
    "not granted": Question(*PARTIES, parties(), Reason.NOT_GRANTED, "agency"),
    "store down": Question(*NOTE, note(amount=2_700_000_000), Reason.STORE_UNAVAILABLE, "setad", store_down=True),
    "table changed": Question(*NOTE, note(), ANSWER_YES, "setad", table_changed=True),
    "outage": Question(*NOTE, note(amount=2_800_000_000), Reason.OUTAGE_ANNOUNCED, "setad", outage=True),
}
# Files where an error is how a library reports invalid bytes of the caller: it may become this refusal.
CALLER_ERRORS = {
    "estelam/auth/certificate.py": Reason.CERTIFICATE_UNUSABLE,
    "estelam/auth/trust.py": Reason.CERTIFICATE_UNUSABLE,
    "estelam/core/clock.py": Reason.CERTIFICATE_UNUSABLE,  # the times and the key of a certificate
    "estelam/core/keys.py": Reason.CERTIFICATE_UNUSABLE,
    "estelam/core/validation.py": Reason.REQUEST_MALFORMED,
}
# Functions where the right answer is returned in spite of a fault, and why that is sound.
TOLERATED = {
    "Batcher._run_batch": "entries not yet taken stay queued; once every caller has a result, the batch is complete",
    "Batcher._take": "an entry not yet taken from the queue goes into the next batch",
    "FairQueue.move": "the same; an entry already taken is in the batch, which continues",
    "FairQueue.__len__": "the same",
    "FairQueue.__bool__": "the same",
    "Entry.settle": "the recorded result has been passed on before this line",
    "Timer.cancel": "the same",
    "Timers.cancel": "the same",
    "ClientTrust.verify": "unreadable authorities leave the last ones in force",
    "ClientTrust.__init__": "the same: the line that names the file",
    "ClientTrust._load": "the same",
    "verifier": "the same",
    "_is_issued_by_any": "the same",
    "Revocation._current": "unreadable lists leave the last valid ones in force",
    "Revocation.__init__": "the same: the line that names the files",
    "Authorizer.refresh": "an unreadable table leaves the last valid one in force",
    "Authorizer._load": "the same",
    "AccessSource.load": "the same",
    "AccessSource.files": "the same",
    "AccessTable.load": "the same",
    "OutageSchedule._refresh": "an unreadable file leaves the last outages in force",
    "OutageSchedule._files": "the same",
    "OutageSchedule._load": "the same",
    "OutageTable.load": "the same",
    "Outage._check_duration": "the same",
    "FileReloader.refresh": "the same",
    "FileReloader._refresh": "the same",
    "FileReloader._load_changed": "the same",
    "FileReloader._is_fresh": "the same",
    "FileReloader._known": "the same",
    "FileReloader._are_still": "the same",
    "file_stamp": "the same",
}


class ServiceUnderTest:
    """A service in which any line can be made to fail, and its callers, one call at a time."""

    def __init__(self, box: Sandbox, settings: StoreSettings, faults: Faults, activity: "Activity") -> None:
        self.settings = settings
        self._activity = activity
        self.faults = faults
        self._box = box
        self._keys = verifying_keys(settings.signing_certificates)
        self._channels: dict[str, grpc.Channel] = {}
        self._service: RunningService
        self._store_down = False

    @contextmanager
    def opened(self, asked: Mapping[Method, Lookup]) -> Iterator[Self]:
        """Run the service until the end of the block."""
        # The clock runs fast, so that the access table is checked for every call.
        clock = Clock(monotonic=lambda: time.monotonic() * 10_000)
        found = {method: self._failing(lookup) for method, lookup in asked.items()}
        # A second open connection keeps SQLite from deleting its WAL each time the service reopens the store.
        with closing(Store(self.settings.store)) as reader:
            reader.ping()
            with RunningService(
                lambda: run_recording_service(self.settings, found, NoteRecallSource(), clock=clock)
            ) as self._service:
                self._wait_until_healthy()
                yield self
                for channel in self._channels.values():
                    channel.close()

    def _wait_until_healthy(self) -> None:
        """Wait for the first health check, which is the only one within the tests."""
        check: Any = self._channel("stranger").unary_unary("/grpc.health.v1.Health/Check")
        while HealthCheckResponse.FromString(check(b"")).status != HealthCheckResponse.SERVING:
            time.sleep(0.05)
        self._activity.wait_for_end()

    def _failing(self, lookup: Lookup) -> Lookup:
        def look(reading: LookupContext, inquiries: Sequence[Inquiry]) -> Sequence[LookupResult | Refusal]:
            if self._store_down:
                raise OperationalError(WORDS, {}, sqlite3.OperationalError(WORDS))
            return lookup(reading, inquiries)

        return look

    def ask(self, question: Question) -> Message | grpc.RpcError:
        """Return the reply or error, once the service is idle again."""
        self._store_down = question.store_down
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
            self._activity.wait_for_end()
        return reply

    def _channel(self, caller: str) -> grpc.Channel:
        identity, known = ClientIdentity.named(self._box.pki, caller), self._channels.get(caller)
        return self._channels.setdefault(caller, known or plain_channel(self._service.address, identity))

    def outcome(self, question: Question, reply: Message | grpc.RpcError) -> Any:
        """Return the outcome of *reply*: an answer with a valid receipt, or a refusal that holds only constant text."""
        if isinstance(reply, Message):
            receipt.verify(question.method, question.request, reply, self._keys)
            return getattr(reply, "answer", DISCLOSED)
        refusal = from_grpc(reply)
        assert isinstance(reply, grpc.Call)
        assert refusal is not None, f"{reply.code()} {reply.details()}"
        assert (refusal.spec.status, refusal.spec.en) == (reply.code().value[0], reply.details())
        metadata = b"".join(v if isinstance(v, bytes) else v.encode() for _, v in reply.trailing_metadata() or ())
        assert [secret for secret in question.secrets if secret.encode() in metadata] == []
        return refusal.reason


class Activity:
    """What the threads of all services are doing: it traces them, and tells when they have nothing to do."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._running: list[str] = []
        self._batchers: list[Batcher[Any, Any]] = []

    def followed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return *function*, which traces its thread while it runs."""

        def follow(*arguments: Any) -> Any:
            self._running.append(function.__name__)
            sys.settrace(self._faults.trace)
            try:
                return function(*arguments)
            finally:
                sys.settrace(None)
                self._running.remove(function.__name__)

        return follow

    @staticmethod
    def unfollowed(function: Callable[..., Any]) -> Callable[..., Any]:
        """Return *function*, which is not traced."""

        def run(*arguments: Any) -> Any:
            trace = sys.gettrace()
            sys.settrace(None)
            try:
                return function(*arguments)
            finally:
                sys.settrace(trace)

        return run

    def counted(self, begin: Callable[..., None]) -> Callable[..., None]:
        """Return *begin*, the constructor of batchers, which keeps each of them in sight."""

        def count(batcher: Batcher[Any, Any], *arguments: Any, **options: Any) -> None:
            begin(batcher, *arguments, **options)
            self._batchers.append(batcher)

        return count

    def wait_for_end(self) -> None:
        """Wait until no call and no batch is running, and none is queued."""
        while self._running or any(len(batcher._queue) for batcher in self._batchers):
            time.sleep(0.0005)


@pytest.fixture(scope="module")
def database() -> DatabaseFaults:
    return DatabaseFaults()


@pytest.fixture(scope="module")
def services(
    tmp_path_factory: pytest.TempPathFactory, database: DatabaseFaults
) -> Iterator[dict[str, ServiceUnderTest]]:
    box = suite.create_sandbox(tmp_path_factory.mktemp("faults"))
    suite.load_samples(box)
    faults = Faults(SERVICES, FILES)
    activity = Activity(faults)
    lists = box.folder / "ca.crl"
    lists.write_bytes(crl_pem(box.pki))
    settings: dict[str, object] = {"listen": "127.0.0.1:0", "revocation_lists": (lists,)}
    promissory, judiciary = box.promissory(**settings), box.judiciary(**settings)
    with (
        _traced(activity, database),
        ServiceUnderTest(box, promissory, faults, activity).opened(lookups(promissory)) as promissory_service,
        ServiceUnderTest(box, judiciary, faults, activity).opened(LOOKUPS) as judiciary_service,
    ):
        promissory_service.ask(ANSWERED["a note, YES"])  # permits GetNoteParties
        yield {"setad": promissory_service, "agency": promissory_service, "cbi": judiciary_service}


@contextmanager
def _traced(activity: Activity, database: DatabaseFaults) -> Iterator[None]:
    """Trace the loops and the batch threads, and silence logs: the tests cause thousands of faults."""
    logging = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trust, "CACHED_CERTIFICATES", 0)
        patch.setattr(Server, "_owner", activity.followed(Server._owner))
        patch.setattr(Server, "_count", activity.unfollowed(Server._count))  # after the reply
        patch.setattr(Server, "_serve", activity.followed(Server._serve))
        patch.setattr(Batcher, "_run_batch", activity.followed(Batcher._run_batch))
        patch.setattr(Batcher, "__init__", activity.counted(Batcher.__init__))
        patch.setattr(sqlite3, "connect", database.connect)
        patch.setattr(grpc_server, "HEALTH_SECONDS", 3600)
        patch.setattr(checkpoint_keeper, "KEEP_SECONDS", 3600)
        patch.setattr(answer_comparison, "CHECK_SECONDS", 3600)
        patch.setattr(call_journal, "FLUSH_SECONDS", 3600)
        patch.setattr(timers, "MAX_CANCELLED", 1 << 30)  # else some calls also remove the timers of earlier ones
        yield
    structlog.configure(**logging)


def points(service: ServiceUnderTest, question: Question) -> list[Point]:
    """Return the points of *question*: each line it runs, at the first and the last run."""
    service.ask(question)  # so that everything only the first inquiry does has been done
    seen = service.faults.record(lambda: service.ask(question))
    last = {point.place: point for point in seen}
    return [point for point in seen if point.run == 1 or point == last[point.place]]


def faulty(service: ServiceUnderTest, question: Question, passed: Iterable[Point]) -> list[str]:
    """Return the wrong outcomes when errors are raised at each of *passed*."""
    kinds, wrong = errors(" ".join(question.secrets)), []
    for point in passed:
        error = next(kinds)()
        with service.faults.throwing(error, at=point):
            result = service.outcome(question, service.ask(question))
        if fault := _fault(service, question, point, result):
            wrong.append(f"{type(error).__name__} at {point} {fault}")
    return wrong


def _fault(service: ServiceUnderTest, question: Question, point: Point, result: Any) -> str:
    if not service.faults.thrown:
        return "was not reached"
    # During an outage the store may be out too: the refusal is sent whether or not it could be recorded.
    unrecorded = question.outage and point.file == "estelam/pipeline/recorder.py"
    # First the caller's certificate, behind a proxy two, is judged to know whose share the call takes; then it is
    # authenticated.
    of_share = point.run <= 1 + bool(question.metadata) and CALLER_ERRORS.get(point.file) is Reason.CERTIFICATE_UNUSABLE
    tolerated = result == question.right and (unrecorded or of_share or point.function in TOLERATED)
    if not tolerated and result not in {Reason.SERVICE_FAILED, Reason.STORE_UNAVAILABLE, CALLER_ERRORS.get(point.file)}:
        return f"gave {result}"
    again = service.outcome(question, service.ask(question))
    return "" if again == question.right else f"left the service with {again}"


@pytest.mark.slow
@pytest.mark.parametrize("name", ANSWERED)
def test_error_at_any_line_is_a_refusal(services: dict[str, ServiceUnderTest], name: str) -> None:
    """An error at any line of the pipeline becomes a refusal with constant text."""
    question = ANSWERED[name]
    service = services[question.caller]
    passed = points(service, question)
    match name:
        case "a note, NO":  # every line
            least = 250
        case "a person, NO":  # steps 1 to 4 are the same for all services
            least, passed = 120, [point for point in passed if point.file not in FRONT]
        case _:  # every line that the service's NO does not run
            no = ANSWERED["a note, NO" if service is services["setad"] else "a person, NO"]
            known = {point.place for point in points(service, no)}
            least, passed = 1, [point for point in passed if point.place not in known and point.file not in FRONT]

    assert faulty(service, question, passed) == []
    assert len(passed) >= least


@pytest.mark.parametrize(
    "name", [name if name != "store down" else pytest.param(name, marks=pytest.mark.slow) for name in REFUSED]
)
def test_error_while_refusing_is_a_refusal(services: dict[str, ServiceUnderTest], name: str) -> None:
    """An error at any line that only refusals run becomes a refusal too."""
    question = REFUSED[name]
    service = services[question.caller]
    known = {
        point.place for other in ("a note, YES", "parties, disclosed") for point in points(service, ANSWERED[other])
    }
    passed = [point for point in points(service, question) if point.place not in known]

    assert faulty(service, question, passed) == []
    assert len(passed) > 10


@pytest.mark.parametrize("name", ANSWERED)
def test_failed_database_call_is_a_refusal(
    services: dict[str, ServiceUnderTest], database: DatabaseFaults, name: str
) -> None:
    """A database call that fails before or after its work becomes a refusal, and the next inquiry succeeds."""
    question = ANSWERED[name]
    service, wrong = services[question.caller], []
    error = sqlite3.OperationalError(" ".join(question.secrets))
    for _ in range(2):  # the first commits also look whether the key's use is stored, and for expired confirmations
        service.ask(question)
    calls = database.record(lambda: service.ask(question))
    for at, done in product(range(len(calls)), (False, True)):
        with database.throwing(error, at=at, done=done):
            result = service.outcome(question, service.ask(question))
        # SQLAlchemy rolls a connection back once more at the end; its failure has no effect.
        allowed = {Reason.STORE_UNAVAILABLE, question.right if calls[at] == "ROLLBACK" else None}
        again = service.outcome(question, service.ask(question))
        if not database.thrown or result not in allowed or again != question.right:
            wrong.append((calls[at], done, result, again))

    assert wrong == []
    assert "COMMIT" in calls


@pytest.mark.parametrize("name", ["a note, NO", "a person, NO"])
def test_lost_store_is_a_refusal(services: dict[str, ServiceUnderTest], database: DatabaseFaults, name: str) -> None:
    """A lost store that can't be reopened gives STORE_UNAVAILABLE, and the service recovers with the store."""
    question = ANSWERED[name]
    service, result = services[question.caller], []
    error = sqlite3.OperationalError(" ".join(question.secrets))

    def lost() -> Any:
        with database.down(error):
            return service.outcome(question, service.ask(question))

    result.append(lost())
    calls = database.record(lambda: service.ask(question))
    for at, done in product(range(calls.index("BEGIN IMMEDIATE")), (False, True)):
        result.append(lost())
        with database.throwing(error, at=at, done=done):
            result.append(service.outcome(question, service.ask(question)))
        assert database.thrown
        assert service.outcome(question, service.ask(question)) == question.right

    assert set(result) == {Reason.STORE_UNAVAILABLE}
    assert "connect" in calls


def test_ledgers_verify_after_all_faults(services: dict[str, ServiceUnderTest]) -> None:
    """After all injected faults the ledgers still verify."""
    for service in {id(service): service for service in services.values()}.values():
        with closing(Store(service.settings.store)) as store, store.transaction() as connection:
            heads = deque(
                verify.verify_ledger(connection, verifying_keys(service.settings.signing_certificates)), maxlen=1
            )

            assert heads[0].size > 0
