"""The effect of the ledger's length on both promissory methods and on the report about a person."""

import statistics
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from development.sandbox import GET_NOTE_PARTIES
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from tools.bench.datasets import notes
from tools.bench.deployment import Deployment
from tools.bench.environment import MANY, ONE, BenchEnvironment, Engine, check_note, load, promissory_server
from tools.bench.load.plan import Concurrency, Protocol, Report, Requests
from tools.bench.metric import Metric, at_most, compare, paired, remarks
from tools.bench.processes import RunningServer

AGENCY = "SETAD-0001"
_WHO_ASKED_SECONDS = {Engine.SQLITE: 1.0, Engine.POSTGRESQL: 0.05}


class Compared(NamedTuple):
    """One kind of calls whose mean time on a long ledger is compared with that on a short one."""

    name: str
    requests: Requests
    concurrency: Concurrency
    bound: float


def measure(environment: BenchEnvironment) -> Iterator[Metric]:
    """Mean time of a call with a long ledger / with a short one, and the time of a warm `subject-report`."""
    scale = environment.scale
    kinds = (
        Compared("GetNoteParties alone", _parties(environment), ONE, 1.2),
        Compared("GetNoteParties, 64 at a time", _parties(environment), Concurrency(4, 16), 1.2),
        Compared("CheckNote", check_note(scale), MANY, 1.05),
    )
    for engine in Engine:
        long, short = (environment.with_ledger(entries, engine) for entries in (scale.ledger, scale.short_ledger))
        with promissory_server(long) as large, promissory_server(short) as small:
            for suite, server in ((long, large), (short, small)):
                _confirm(environment, suite, server)
            for kind in kinds:
                ask = (
                    partial(_ask, environment, suite, server, kind) for suite, server in ((long, large), (short, small))
                )
                yield _compared(
                    kind, *paired(scale.rounds, *ask), f"{scale.ledger:,} / {scale.short_ledger:,}, {engine}"
                )
        yield _who_asked(environment, engine, long, short)


def _parties(environment: BenchEnvironment) -> Requests:
    known = notes.sample_requests(environment.scale.notes)[::2]
    requests = [
        pb.GetNotePartiesRequest(serial=note.serial, executive_agency_id=AGENCY).SerializeToString() for note in known
    ]
    return Requests(Protocol.GRPC, GET_NOTE_PARTIES, requests)


def _confirm(environment: BenchEnvironment, suite: Deployment, server: RunningServer) -> None:
    """Let CheckNote answer each note at least once."""
    questions, calls = check_note(environment.scale), 0
    while calls < 2 * len(questions.requests):
        calls += load(server, questions, suite.caller("setad"), seconds=environment.scale.seconds).calls


def _ask(environment: BenchEnvironment, suite: Deployment, server: RunningServer, kind: Compared) -> Report:
    return load(
        server,
        kind.requests,
        suite.caller("setad"),
        seconds=environment.scale.seconds,
        concurrency=kind.concurrency,
    )


def _compared(kind: Compared, long: list[Report], short: list[Report], lengths: str) -> Metric:
    ratio, text = compare(long, short, lambda report: 1e6 * report.seconds / max(1, report.calls), "{:,.0f}")
    measured = f"{text} us a call; {remarks([*long, *short])}"
    return Metric(f"{kind.name}, ledger of {lengths}", measured, ratio, at_most(kind.bound))


def _who_asked(environment: BenchEnvironment, engine: Engine, long: Deployment, short: Deployment) -> Metric:
    """The time of a report about a person, less what the command takes on the short ledger."""
    person = notes.Note.numbered(0).obligor_id
    runs = {
        suite.sandbox.folder: [
            suite.command("ledger", "subject-report", "promissory", person, "--json").seconds for _ in range(6)
        ][1:]
        for suite in (long, short)
    }
    seconds, least = (statistics.median(runs[suite.sandbox.folder]) for suite in (long, short))
    return Metric(
        f"who-asked, warm, ledger of {environment.scale.ledger:,}, {engine}",
        f"{seconds:.3f} s, less {least:.3f} s that the command takes on {environment.scale.short_ledger:,}",
        max(0.0, seconds - least),
        at_most(_WHO_ASKED_SECONDS[engine]),
        "{:,.3f} s",
    )
