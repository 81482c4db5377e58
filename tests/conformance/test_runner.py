"""The runner, with the test answering its calls one by one in place of a server."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import grpc_testing
import pytest

from conformance import checks, runner
from conformance.case import Case, Instance
from conformance.contract import method_at
from conformance.profile import Profile
from conformance.results import CaseResult, CaseStatus, Outcome, RunResult
from conformance.target import Target
from estelam.core.errors import Reason, Refusal
from estelam.inquiry.v1 import inquiry_pb2 as inquiry
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from tests.conformance.fake_ministry import CHECK_NOTE, Ministry, case, check, refused, trailers

OTHER = {**check(receipt=False), "caller": "other"}
DESCRIPTORS = list(notes.DESCRIPTOR.services_by_name.values())


class FakeServer:
    """Answers calls on grpc_testing channels, one for each that the kit opens."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.ministry = Ministry(target)
        self.opened: list[tuple[Instance, str]] = []
        self.channels: dict[tuple[Instance, str], list[Any]] = defaultdict(list)
        self._new = threading.Condition()

    def open(self, _target: Target, instance: Instance, caller: str) -> Any:
        channel = grpc_testing.channel(DESCRIPTORS, grpc_testing.strict_real_time())  # type: ignore[no-untyped-call]
        with self._new:
            self.opened.append((instance, caller))
            self.channels[instance, caller].append(channel)
            self._new.notify_all()
        return channel

    def take(self, caller: str = "setad", channel: int = 0) -> tuple[Any, bytes, Any]:
        """Take the next CheckNote call on a caller's channel; return its metadata, bytes and controller."""
        opened = self.channels[Instance.PROMISSORY, caller]
        with self._new:
            assert self._new.wait_for(lambda: len(opened) > channel, timeout=5)
        taken: tuple[Any, bytes, Any] = opened[channel].take_unary_unary(method_at(f"/{CHECK_NOTE}"))
        return taken

    def answer(self, caller: str = "setad", channel: int = 0) -> None:
        """Take the next call and answer YES with a valid receipt."""
        self.end(self.take(caller, channel))

    def end(self, taken: tuple[Any, bytes, Any]) -> None:
        """Answer a call YES with a valid receipt."""
        _, wire, call = taken
        reply = self.ministry.reply(notes.CheckNoteRequest.FromString(wire))
        call.send_initial_metadata(())
        call.terminate(reply.SerializeToString(), trailers(reply), grpc.StatusCode.OK, "")

    def refuse(self, refusal: Refusal, code: grpc.StatusCode) -> None:
        """Take the next call and refuse it."""
        self.take()[2].terminate(None, refused(refusal), code, refusal.spec.en)


@pytest.fixture
def server(target: Target, monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    # grpc_testing adds it, as a stack may add metadata of its own.
    monkeypatch.setattr(checks, "_STACK_KEYS", {*checks._STACK_KEYS, "grpc.metadata_added_by_runtime"})
    return FakeServer(target)


@pytest.fixture
def run(server: FakeServer) -> Iterator[Callable[..., Any]]:
    with ThreadPoolExecutor(1) as pool:

        def start(*cases: Case, **how: Any) -> Any:
            how = {"opener": server.open, "probe": lambda _target: "", **how}
            return pool.submit(runner.run, cases, server.target, **how)

        yield start


def statuses(result: RunResult) -> list[CaseStatus]:
    return [case_result.status for case_result in result.results]


def test_passing_case(server: FakeServer, run: Callable[..., Any]) -> None:
    """A case passes if every step is as expected."""
    running = run(case(check(answer="YES"), check(status=["INVALID_ARGUMENT"], reason=["REQUEST_MALFORMED"])))
    server.answer()
    server.refuse(Refusal(Reason.REQUEST_MALFORMED), grpc.StatusCode.INVALID_ARGUMENT)
    result = running.result(5)

    assert ([CaseStatus.PASSED], True) == (statuses(result), result.conforms)
    assert {"promissory": "127.0.0.1:1"} == result.targets


def test_request_and_metadata(server: FakeServer, run: Callable[..., Any]) -> None:
    """Request bytes and metadata are sent as in the case."""
    message = {"hex": "0a02", "padding": 3}
    step = {"call": "CheckNote", "message": message, "metadata": [["x-operator", "me"], ["x-bin", "é"]], "timeout": 2}
    running = run(case(step))
    metadata, wire, call = server.take()
    call.terminate(None, (), grpc.StatusCode.INTERNAL, "")
    running.result(5)

    assert b"\x0a\x02\0\0\0" == wire
    assert {("x-operator", "me"), ("x-bin", "é".encode())} <= set(metadata)


@pytest.mark.parametrize(("seconds", "status"), [(5.0, CaseStatus.PASSED), (0.0, CaseStatus.FAILED)])
def test_change_takes_time(
    server: FakeServer,
    run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    status: CaseStatus,
) -> None:
    """A step after a denial may fail until the target must have read it, and is repeated until then."""
    offset = (server.target.manifest.origin - datetime.now(UTC)).total_seconds()
    for name, text in (("offset", str(int(offset))), ("denied", ""), ("changes", "")):
        (tmp_path / name).write_text(text)
    server.target = replace(server.target, steering=tmp_path)
    monkeypatch.setattr(runner, "FOLLOW_SECONDS", seconds)
    running = run(case({"deny": "other"}, check(answer="YES", receipt=False)))
    server.refuse(Refusal(Reason.NOT_GRANTED), grpc.StatusCode.PERMISSION_DENIED)
    if status is CaseStatus.PASSED:
        server.answer()

    assert [status] == statuses(running.result(5))


def test_failed_step_ends_the_case(server: FakeServer, run: Callable[..., Any]) -> None:
    """A failed step ends its case."""
    running = run(case(check(answer="NO"), check(answer="YES")))
    server.answer()
    result = running.result(5)

    assert [CaseStatus.FAILED] == statuses(result)
    assert [(1, "answer NO", "YES")] == [
        (found.step, found.expected, found.actual) for found in result.results[0].failures
    ]


def test_house_rules_do_not_end_the_case(server: FakeServer, run: Callable[..., Any]) -> None:
    """A step that violates only a rule of another clause does not end its case, and a profile without it ignores it."""
    bare = notes.CheckNoteResponse(answer=inquiry.ANSWER_YES).SerializeToString()
    found: dict[Profile, RunResult] = {}
    for profile in (Profile.FULL, Profile.CORE):
        running = run(case(check(answer="YES"), check(answer="YES")), profile=profile)
        for _ in range(2):
            call = server.take(channel=len(found))[2]
            call.send_initial_metadata(())
            call.terminate(bare, (), grpc.StatusCode.OK, "")
        found[profile] = running.result(5)

    assert {1, 2} == {failure.step for failure in found[Profile.FULL].results[0].failures}
    assert {"P3", "P11"} == {failure.clause for failure in found[Profile.FULL].results[0].failures}
    assert Outcome.CONFORMS is found[Profile.FULL].verdict(Profile.CORE).outcome
    assert [CaseStatus.PASSED] == statuses(found[Profile.CORE])


def test_connections(server: FakeServer, run: Callable[..., Any]) -> None:
    """A caller's steps share a connection unless the case asks for a new one."""
    running = run(case(check(), check(), OTHER, {**check(), "same_connection": False}))
    server.answer()
    server.answer()
    server.answer("other")
    server.answer(channel=1)

    assert [CaseStatus.PASSED] == statuses(running.result(5))
    assert ["setad", "other", "setad"] == [caller for _, caller in server.opened]


def test_concurrent_calls(server: FakeServer, run: Callable[..., Any]) -> None:
    """Concurrent calls are all pending before one is answered."""
    running = run(case({**check(answer="YES", counts={"YES": 3}), "times": 3}))
    taken = [server.take() for _ in range(3)]
    for each in taken:
        server.end(each)

    assert [CaseStatus.PASSED] == statuses(running.result(5))


def test_parallel_cases(server: FakeServer, run: Callable[..., Any]) -> None:
    """Cases run in parallel except those marked `alone`."""
    finished: list[str] = []
    alone = case(check(), id="alone", alone=True)
    running = run(
        alone, case(check(), id="one"), case(OTHER, id="two"), progress=lambda result: finished.append(result.case.id)
    )
    first, second = server.take(), server.take("other")
    for each in (first, second):
        server.end(each)
    server.answer()
    result = running.result(5)

    assert {"one", "two"} == set(finished[:2])
    assert ["alone"] == finished[2:]
    assert ["alone", "one", "two"] == [result.case.id for result in result.results]


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        (case(check(), target="promissory-empty"), "the run has no instance promissory-empty"),
        (case({**check(), "at": "window-closed"}), "it needs --steering"),
        (case({"deny": "other"}), "it needs --steering"),
        (case({"change": {"data": "notes", "key": "1404000000000017"}}), "it needs --steering"),
        (case({**check(), "caller": "nobody"}), "no certificate nobody"),
    ],
    ids=["instance", "steering", "deny-list", "change", "certificate"],
)
def test_case_that_can_not_run(server: FakeServer, run: Callable[..., Any], lacking: Case, words: str) -> None:
    """A case that can't run does not pass."""
    seen: list[CaseResult] = []
    result = run(lacking, progress=seen.append).result(5)

    assert ([CaseStatus.NOT_RUN], False) == (statuses(result), result.conforms)
    assert words in result.results[0].failures[0].actual
    assert "no case could run" in result.error
    assert 1 == len(seen)


def test_known_failures(server: FakeServer, run: Callable[..., Any]) -> None:
    """Known failures have their own statuses and never conform."""
    failing, passing = case(check(answer="NO"), id="failing"), case(check(answer="YES"), id="passing", alone=True)
    running = run(failing, passing, known={"failing", "passing"})
    server.answer()
    server.answer()
    result = running.result(5)

    assert ([CaseStatus.KNOWN, CaseStatus.STALE], False) == (statuses(result), result.conforms)


def test_time_limit(server: FakeServer, run: Callable[..., Any]) -> None:
    """After the time limit remaining cases are not run."""
    running = run(case(check(), check()), case(check(), id="left", alone=True), limit_seconds=0.3)
    taken = server.take()
    time.sleep(0.4)
    server.end(taken)
    result = running.result(5)

    assert [CaseStatus.NOT_RUN, CaseStatus.NOT_RUN] == statuses(result)
    assert [[(2, "the run's time limit was reached")], [(1, "the run's time limit was reached")]] == [
        [(found.step, found.actual) for found in result.failures] for result in result.results
    ]


def test_failed_preflight(server: FakeServer, run: Callable[..., Any]) -> None:
    """A failed preflight is reported and no case runs."""
    result = run(case(check()), probe=lambda _target: "promissory: unreachable").result(5)

    assert ("promissory: unreachable", [CaseStatus.NOT_RUN]) == (result.error, statuses(result))
    assert [] == server.opened


def test_unsendable_metadata(target: Target) -> None:
    """Metadata that gRPC refuses to send is not a failure of the target."""
    result = runner.run([case({**check(), "metadata": [["UPPER", "x"]]})], target, probe=lambda _target: "")

    assert [CaseStatus.NOT_RUN] == statuses(result)
    assert "gRPC refuses to send this metadata" in result.results[0].failures[0].actual


def test_invalid_steering_folder(pki: Path, tmp_path: Path) -> None:
    """An invalid steering folder is reported."""
    (tmp_path / "offset").write_text("soon")
    target = Target({Instance.PROMISSORY: "127.0.0.1:1"}, pki, tmp_path)

    result = runner.run([case(check())], target, probe=lambda _target: "")

    assert "does not hold a whole number of seconds" in result.error
