"""Guarantee 6: a NO is earned: never from data of unknown coverage, from stale data, or from a half-loaded file."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from development import sandbox as suite
from development.files import SAMPLES
from development.processes import COMMAND, environment
from development.sandbox import CHECK_BY_NATIONAL_ID, CHECK_BY_TRACKING_ID, CHECK_NOTE, Sandbox, load_file
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock, to_micros
from estelam.core.errors import Reason
from estelam.core.grpc_status import from_grpc
from estelam.core.parties import Parties
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as cases
from estelam.loading.feed import Declaration, LoadResult, Policy
from estelam.loading.load import load
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.storage import coverage
from estelam.storage.coverage import Coverage
from estelam.storage.store import AccessMode, Store
from judiciary.feeds import CASES
from judiciary.repository import FIRST_DATE
from promissory.feeds import NOTES
from tests.conftest import Start, judiciary_opening, plain_channel, promissory_opening
from tests.support.service import RunningService

HEADER = ",".join([*(name for name in CASES.columns if name != "sayad_id"), "sayad_id"])
CHUNK = 1000
START_OF_1399 = date(2020, 3, 20)
UNDECLARED = (grpc.StatusCode.FAILED_PRECONDITION, Reason.COVERAGE_UNDECLARED)
STALE = (grpc.StatusCode.UNAVAILABLE, Reason.DATA_STALE)


def note(amount: int) -> Message:
    return notes.CheckNoteRequest(
        serial="1404000000000017", obligor_id="9990000018", beneficiary_id="99000554330", amount_rials=amount
    )


def person(national_id: str) -> Message:
    return cases.CheckByNationalIdRequest(national_id=national_id)


def cheque(tracking_id: str) -> Message:
    return cases.CheckByTrackingIdRequest(tracking_id=tracking_id)


METHODS: dict[str, tuple[str, type[Message]]] = {
    CHECK_NOTE: ("setad", notes.CheckNoteResponse),
    CHECK_BY_NATIONAL_ID: ("cbi", cases.CheckByNationalIdResponse),
    CHECK_BY_TRACKING_ID: ("cbi", cases.CheckByTrackingIdResponse),
}
"""The methods that answer YES or NO."""
THERE = (note(2_500_000_000), person("9990000050"), cheque("140000000000000001"))
ABSENT = (note(2_600_000_000), person("9990000069"), cheque("140000000000000002"))
"""A request for each of them that finds a fact, or none."""


@dataclass
class Caller:
    """Calls services; returns the answer or the reason of the refusal."""

    box: Sandbox
    channels: dict[str, grpc.Channel] = field(default_factory=dict)

    def reply(self, service: RunningService, method: str, request: Message) -> Any:
        """Return the reply to *request*, or raise grpc.RpcError."""
        caller, kind = METHODS[method]
        if service.address not in self.channels:
            self.channels[service.address] = plain_channel(service.address, ClientIdentity.named(self.box.pki, caller))
        call: Any = self.channels[service.address].unary_unary(f"/{method}", None, kind.FromString)
        return call(request.SerializeToString(), timeout=8)

    def __call__(self, service: RunningService, method: str, request: Message) -> Any:
        try:
            return self.reply(service, method, request).answer
        except grpc.RpcError as error:
            refusal = from_grpc(error)
            return error.code(), refusal.reason if refusal else None


@pytest.fixture
def ask(sandbox: Sandbox) -> Iterator[Caller]:
    caller = Caller(sandbox)
    yield caller
    for channel in caller.channels.values():
        channel.close()


@pytest.fixture
def loaded(sandbox: Sandbox) -> Sandbox:
    """The sandbox of `ask`, with the samples loaded."""
    suite.load_samples(sandbox)
    return sandbox


def all_methods(ask: Caller, start: Start, **options: Any) -> Callable[[Sequence[Message]], list[Any]]:
    """Start all services with *options*; return a function that calls each method once."""
    of_notes = start(promissory_opening(ask.box, shutdown_delay_seconds=0, **options))
    of_cases = start(judiciary_opening(ask.box, shutdown_delay_seconds=0, **options))
    services = (of_notes, of_cases, of_cases)
    return lambda asked: [ask(*each) for each in zip(services, METHODS, asked, strict=True)]


def load_samples(box: Sandbox, cut_at: datetime, *, whole: bool) -> None:
    load_file(box.promissory(), NOTES, SAMPLES / "notes.csv", cut_at, whole=whole)
    load_file(box.judiciary(), CASES, SAMPLES / "cases.csv", cut_at, whole=whole, tracking_since=FIRST_DATE)


def test_undeclared_coverage_permits_yes_only(ask: Caller, start: Start) -> None:
    """Without declared coverage a YES is returned and a NO is refused."""
    # A fresh cut-off alone is not enough: a file of changes tells nothing of what was there before.
    load_samples(ask.box, datetime.now(UTC), whole=False)
    answers = all_methods(ask, start)

    assert answers(THERE) == [ANSWER_YES] * 3
    assert answers(ABSENT) == [UNDECLARED] * 3


def test_coverage_of_other_feeds_permits_yes_only(ask: Caller, start: Start) -> None:
    """Coverage that a load with other required feeds than the running service's has derived permits no NO."""
    answers = all_methods(ask, start, feeds=("notes", "cases", "another"))
    load_samples(ask.box, datetime.now(UTC), whole=True)

    assert answers(THERE) == [ANSWER_YES] * 3
    assert answers(ABSENT) == [UNDECLARED] * 3


def test_unlinked_cases_permit_no_for_persons_only(ask: Caller, start: Start) -> None:
    """Unless the feed declares since when its cases are linked to certificates, no NO is given by tracking id."""
    load_file(ask.box.promissory(), NOTES, SAMPLES / "notes.csv", whole=True)
    load_file(ask.box.judiciary(), CASES, SAMPLES / "cases.csv", whole=True)
    answers = all_methods(ask, start)

    assert answers(THERE) == [ANSWER_YES] * 3
    refused = (grpc.StatusCode.FAILED_PRECONDITION, Reason.TRACKING_UNDECLARED)
    assert answers(ABSENT) == [ANSWER_NO, ANSWER_NO, refused]


def test_stale_data_permits_yes_only(ask: Caller, start: Start) -> None:
    """A NO is returned until the data is too old; a YES also afterwards."""
    cut_at = datetime.now(UTC)
    load_samples(ask.box, cut_at, whole=True)
    moment = to_micros(cut_at + timedelta(hours=3))
    answers = all_methods(ask, start, clock=Clock(micros=lambda: moment), max_staleness=timedelta(hours=3))

    fresh = answers(ABSENT)
    moment += 1

    assert fresh == [ANSWER_NO] * 3
    assert answers(ABSENT) == [STALE] * 3
    assert answers(THERE) == [ANSWER_YES] * 3


def write_cases(path: Path, *first: str, rows: int) -> Path:
    """Write a file of *rows* cases: *first*, then cases of other persons."""
    filed = "CIVIL,2024-06-01,2024-06-01T09:00:00+03:30"
    others = (f"9{n:015d},{filed},{8 * 10**17 + n},{998 * 10**9 + n},DRAWER," for n in range(rows - len(first)))
    path.write_text("\n".join([HEADER, *first, *others, ""]), "utf-8")
    return path


NEW_DRAWER = "1403999999999999,CIVIL,2024-06-01,2024-06-01T09:00:00+03:30,140300000000000099,9990000069,DRAWER,"
FORMER_DRAWER = "1403000000000001,CIVIL,2024-05-01,2024-05-01T09:30:00+03:30,140000000000000001,9990000050,HOLDER,"


def load_cases(box: Sandbox, path: Path, *, since: date | None = None, clock: Clock | None = None) -> LoadResult:
    with closing(Store(box.judiciary().store, facts=AccessMode.WRITE)) as store:
        return load(
            store,
            CASES,
            path,
            declared=Declaration(
                feed="cases", cut_at=datetime.now(UTC), complete_since=since, parties=Parties.REPLACED
            ),
            policy=Policy(("cases",), change_limit=1),
            rejects=box.folder / "rejects.csv",
            clock=clock or Clock(),
            progress=lambda _bytes: None,
        )


@contextmanager
def paused_load(box: Sandbox, path: Path, *, since: date | None = None) -> Iterator[None]:
    """Pause a load of *path*, with all rows written, while the block runs; then finish it."""
    reached, released = threading.Event(), threading.Event()
    done: list[LoadResult] = []
    asked: list[int] = []

    def micros() -> int:
        # The load reads the clock twice before it reads the file, and again when it records itself at the end.
        if len(asked) == 2:
            reached.set()
            assert released.wait(60)
        asked.append(Clock().micros())
        return asked[-1]

    loader = threading.Thread(
        target=lambda: done.append(load_cases(box, path, since=since, clock=Clock(micros=micros)))
    )
    loader.start()
    try:
        assert reached.wait(60)
        yield
    finally:
        released.set()
        loader.join(60)
    assert [loaded.rejected for loaded in done] == [0]


def test_answers_during_load_use_earlier_data(ask: Caller, start: Start, loaded: Sandbox, tmp_path: Path) -> None:
    """Until a load commits, every answer comes from the data before it."""
    service = start(judiciary_opening(loaded, shutdown_delay_seconds=0))
    before = ask.reply(service, CHECK_BY_NATIONAL_ID, person("9990000069"))
    path = write_cases(tmp_path / "cases.csv", NEW_DRAWER, FORMER_DRAWER, rows=20 * CHUNK)

    with paused_load(loaded, path):
        meanwhile = [ask.reply(service, CHECK_BY_NATIONAL_ID, person("9990000069")) for _ in range(20)]
        former = ask(service, CHECK_BY_NATIONAL_ID, person("9990000050"))
        loading = ask(service, CHECK_BY_TRACKING_ID, cheque("140300000000000099"))
    after = ask.reply(service, CHECK_BY_NATIONAL_ID, person("9990000069"))

    assert {(reply.answer, reply.coverage.as_of.ToMicroseconds()) for reply in meanwhile} == {
        (ANSWER_NO, before.coverage.as_of.ToMicroseconds())
    }
    assert (former, loading) == (ANSWER_YES, ANSWER_NO)
    assert (after.answer, ask(service, CHECK_BY_NATIONAL_ID, person("9990000050"))) == (ANSWER_YES, ANSWER_NO)
    assert after.coverage.as_of.ToMicroseconds() > before.coverage.as_of.ToMicroseconds()


def facts(box: Sandbox) -> tuple[Coverage | None, list[Any]]:
    """Return the coverage, and every row that a load of cases may write."""
    with closing(Store(box.judiciary().store)) as store, store.transaction() as connection:
        rows = [
            connection.exec_driver_sql(f"SELECT * FROM facts.{table} ORDER BY 1, 2, 3").all()  # noqa: S608
            for table in ("cheque_case", "former_subject", "load")
        ]
        return coverage.read_coverage(connection), rows


def test_killed_load_changes_nothing(ask: Caller, start: Start, loaded: Sandbox, tmp_path: Path) -> None:
    """A load killed in the middle changes nothing, and the next load succeeds."""
    before = facts(loaded)
    service = start(judiciary_opening(loaded, shutdown_delay_seconds=0))
    path = write_cases(tmp_path / "cases.csv", NEW_DRAWER, FORMER_DRAWER, rows=200 * CHUNK)
    command: list[str | Path] = [
        *COMMAND,
        "judiciary",
        "load-cases",
        str(path),
        "--since",
        "1399-01-01",
        "--cut-at",
        datetime.now(UTC).isoformat(),
        "--json",
    ]
    journal = loaded.folder / "judiciary" / "facts.db-wal"
    with subprocess.Popen(command, env=environment(loaded), stdout=subprocess.DEVNULL) as loader:
        # Enough uncommitted rows spill into the journal.
        while not (journal.exists() and journal.stat().st_size > 2_000_000):
            assert loader.poll() is None
            time.sleep(0.01)
        meanwhile = ask(service, CHECK_BY_NATIONAL_ID, person("9990000069"))
        loader.kill()
    after = ask(service, CHECK_BY_NATIONAL_ID, person("9990000069"))

    assert loader.returncode == -signal.SIGKILL
    assert (meanwhile, after) == (ANSWER_NO, ANSWER_NO)
    assert facts(loaded) == before

    service.close()
    again = start(judiciary_opening(loaded, shutdown_delay_seconds=0))
    assert ask(again, CHECK_BY_NATIONAL_ID, person("9990000050")) == ANSWER_YES
    load_file(loaded.judiciary(), CASES, write_cases(tmp_path / "next.csv", NEW_DRAWER, rows=10))
    assert ask(again, CHECK_BY_NATIONAL_ID, person("9990000069")) == ANSWER_YES


def test_bad_row_changes_nothing(loaded: Sandbox, tmp_path: Path) -> None:
    """One invalid row, first or last, leaves data and coverage unchanged."""
    path = write_cases(tmp_path / "cases.csv", NEW_DRAWER, FORMER_DRAWER, rows=3 * CHUNK)
    header, *rows = path.read_text("utf-8").splitlines()
    bad = NEW_DRAWER.replace("9990000069", "9990000068")
    before = facts(loaded)

    for place in (0, len(rows) // 2, len(rows)):
        path.write_text("\n".join([header, *rows[:place], bad, *rows[place:], ""]), "utf-8")
        done = load_cases(loaded, path, since=START_OF_1399)

        assert (done.rows, done.rejected) == (0, 1)
        assert facts(loaded) == before


def test_case_counts_once_covered(ask: Caller, start: Start, loaded: Sandbox) -> None:
    """A case of 1399 gives a YES from the load that extends coverage to it."""
    service = start(judiciary_opening(loaded, shutdown_delay_seconds=0))

    def of_1399() -> tuple[Any, ...]:
        by_person = ask.reply(service, CHECK_BY_NATIONAL_ID, person("9990000085"))
        by_cheque = ask.reply(service, CHECK_BY_TRACKING_ID, cheque("139900000000000001"))
        assert by_person.coverage.as_of == by_cheque.coverage.as_of
        since = by_person.coverage.since
        return by_person.answer, by_cheque.answer, (since.year, since.month, since.day)

    before = of_1399()
    another = write_cases(loaded.folder / "cases-of-1399.csv", NEW_DRAWER, rows=1)
    with paused_load(loaded, another, since=START_OF_1399):
        meanwhile = of_1399()

    assert before == meanwhile == (ANSWER_NO, ANSWER_NO, (2021, 3, 21))
    assert of_1399() == (ANSWER_YES, ANSWER_YES, (2020, 3, 20))
