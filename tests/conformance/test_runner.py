"""The runner: the synchronous client's calls one by one, with the test in the server's place."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import grpc_testing
import pytest

from conformance import runner
from conformance.case import Case, Instance
from conformance.contract import method_at
from conformance.results import Result, Standing, Verdict
from conformance.target import Target
from estelam.core.errors import Reason, Refusal
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from tests.conformance.fake_ministry import CHECK_NOTE, Ministry, case, check, refused, trailers

OTHER = {**check(receipt=False), "caller": "other"}
DESCRIPTORS = list(notes.DESCRIPTOR.services_by_name.values())


class Office:
    """Plays the server on channels of grpc_testing, one for each that the kit opens."""

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
        """The next call of CheckNote on a caller's channel: its metadata, its bytes, and the way to end it."""
        opened = self.channels[Instance.PROMISSORY, caller]
        with self._new:
            assert self._new.wait_for(lambda: len(opened) > channel, timeout=5)
        taken: tuple[Any, bytes, Any] = opened[channel].take_unary_unary(method_at(f"/{CHECK_NOTE}"))
        return taken

    def answer(self, caller: str = "setad", channel: int = 0) -> None:
        """Take the next call and answer it with a proven YES."""
        self.end(self.take(caller, channel))

    def end(self, taken: tuple[Any, bytes, Any]) -> None:
        """Answer a call with a proven YES."""
        _, wire, call = taken
        reply = self.ministry.reply(notes.CheckNoteRequest.FromString(wire))
        call.send_initial_metadata(())
        call.terminate(reply.SerializeToString(), trailers(reply), grpc.StatusCode.OK, "")

    def refuse(self, refusal: Refusal, code: grpc.StatusCode) -> None:
        """Take the next call and refuse it."""
        self.take()[2].terminate(None, refused(refusal), code, refusal.spec.en)


@pytest.fixture
def office(target: Target) -> Office:
    return Office(target)


@pytest.fixture
def run(office: Office) -> Iterator[Callable[..., Any]]:
    with ThreadPoolExecutor(1) as pool:

        def begin(*cases: Case, **how: Any) -> Any:
            how = {"opener": office.open, "probe": lambda _target: "", **how}
            return pool.submit(runner.run, cases, office.target, **how)

        yield begin


def standings(verdict: Verdict) -> list[Standing]:
    return [result.standing for result in verdict.results]


def test_a_case_whose_every_step_is_as_told_passes(office: Office, run: Callable[..., Any]) -> None:
    running = run(case(check(answer="YES"), check(status=["INVALID_ARGUMENT"], reason=["REQUEST_MALFORMED"])))
    office.answer()
    office.refuse(Refusal(Reason.REQUEST_MALFORMED), grpc.StatusCode.INVALID_ARGUMENT)
    verdict = running.result(5)

    assert ([Standing.PASSED], True) == (standings(verdict), verdict.conforms)
    assert {"promissory": "127.0.0.1:1"} == verdict.targets


def test_the_request_the_metadata_and_the_deadline_are_sent_as_the_case_has_them(
    office: Office, run: Callable[..., Any]
) -> None:
    message = {"hex": "0a02", "padding": 3}
    step = {"call": "CheckNote", "message": message, "metadata": [["x-operator", "me"], ["x-bin", "é"]], "timeout": 2}
    running = run(case(step))
    metadata, wire, call = office.take()
    call.terminate(None, (), grpc.StatusCode.INTERNAL, "")
    running.result(5)

    assert b"\x0a\x02\0\0\0" == wire
    assert {("x-operator", "me"), ("x-bin", "é".encode())} <= set(metadata)


def test_after_a_step_that_failed_no_other_is_taken(office: Office, run: Callable[..., Any]) -> None:
    running = run(case(check(answer="NO"), check(answer="YES")))
    office.answer()
    verdict = running.result(5)

    assert [Standing.FAILED] == standings(verdict)
    assert [(1, "answer NO", "YES")] == [
        (found.step, found.expected, found.seen) for found in verdict.results[0].complaints
    ]


def test_a_callers_steps_share_a_connection_unless_the_case_wants_another(
    office: Office, run: Callable[..., Any]
) -> None:
    running = run(case(check(), check(), OTHER, {**check(), "same_connection": False}))
    office.answer()
    office.answer()
    office.answer("other")
    office.answer(channel=1)

    assert [Standing.PASSED] == standings(running.result(5))
    assert ["setad", "other", "setad"] == [caller for _, caller in office.opened]


def test_calls_at_once_are_all_under_way_before_one_is_answered(office: Office, run: Callable[..., Any]) -> None:
    running = run(case({**check(answer="YES", counts={"YES": 3}), "times": 3}))
    taken = [office.take() for _ in range(3)]
    for each in taken:
        office.end(each)

    assert [Standing.PASSED] == standings(running.result(5))


def test_cases_that_share_no_state_are_under_way_together_and_others_alone(
    office: Office, run: Callable[..., Any]
) -> None:
    finished: list[str] = []
    alone = case(check(), id="alone", alone=True)
    running = run(
        alone, case(check(), id="one"), case(OTHER, id="two"), progress=lambda result: finished.append(result.case.id)
    )
    first, second = office.take(), office.take("other")
    for each in (first, second):
        office.end(each)
    office.answer()
    verdict = running.result(5)

    assert {"one", "two"} == set(finished[:2])
    assert ["alone"] == finished[2:]
    assert ["alone", "one", "two"] == [result.case.id for result in verdict.results]


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        (case(check(), target="promissory-empty"), "no instance promissory-empty was given"),
        (case({**check(), "at": "window-closed"}), "it needs --steering"),
        (case({"bar": "other"}), "it needs --steering"),
        (case({**check(), "caller": "nobody"}), "no certificate nobody"),
    ],
    ids=["instance", "steering", "deny-list", "certificate"],
)
def test_a_case_that_can_not_run_is_no_pass(office: Office, run: Callable[..., Any], lacking: Case, words: str) -> None:
    seen: list[Result] = []
    verdict = run(lacking, progress=seen.append).result(5)

    assert ([Standing.NOT_RUN], False) == (standings(verdict), verdict.conforms)
    assert words in verdict.results[0].complaints[0].seen
    assert "no case could run" in verdict.trouble
    assert 1 == len(seen)


def test_a_known_failure_is_told_apart_and_is_a_failure_where_it_passes(
    office: Office, run: Callable[..., Any]
) -> None:
    failing, passing = case(check(answer="NO"), id="failing"), case(check(answer="YES"), id="passing", alone=True)
    running = run(failing, passing, known={"failing", "passing"})
    office.answer()
    office.answer()
    verdict = running.result(5)

    assert ([Standing.KNOWN, Standing.STALE], False) == (standings(verdict), verdict.conforms)


def test_when_the_runs_time_is_over_the_cases_left_are_not_run(office: Office, run: Callable[..., Any]) -> None:
    running = run(case(check(), check()), case(check(), id="left", alone=True), limit_seconds=0.3)
    taken = office.take()
    time.sleep(0.4)
    office.end(taken)
    verdict = running.result(5)

    assert [Standing.NOT_RUN, Standing.NOT_RUN] == standings(verdict)
    assert [[(2, "the run's time was over")], [(1, "the run's time was over")]] == [
        [(found.step, found.seen) for found in result.complaints] for result in verdict.results
    ]


def test_what_stands_in_the_way_of_all_cases_is_told_and_nothing_is_run(
    office: Office, run: Callable[..., Any]
) -> None:
    verdict = run(case(check()), probe=lambda _target: "promissory: unreachable").result(5)

    assert ("promissory: unreachable", [Standing.NOT_RUN]) == (verdict.trouble, standings(verdict))
    assert [] == office.opened


def test_metadata_that_grpc_would_not_send_is_no_fault_of_the_target(target: Target) -> None:
    verdict = runner.run([case({**check(), "metadata": [["UPPER", "x"]]})], target, probe=lambda _target: "")

    assert [Standing.NOT_RUN] == standings(verdict)
    assert "gRPC does not send such metadata" in verdict.results[0].complaints[0].seen


def test_a_steering_folder_that_can_not_be_used_is_told(pki: Path, tmp_path: Path) -> None:
    (tmp_path / "offset").write_text("soon")
    target = Target({Instance.PROMISSORY: "127.0.0.1:1"}, pki, tmp_path)

    verdict = runner.run([case(check())], target, probe=lambda _target: "")

    assert "does not hold a whole number of seconds" in verdict.trouble
