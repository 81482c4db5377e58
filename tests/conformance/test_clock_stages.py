"""Stages: setting the target's clock, waiting for its receipts, and the deny list."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conformance import clock_stages, runner
from conformance.case import Instance, Stage
from conformance.client import CallResult, Channels
from conformance.clock_stages import StageClock
from conformance.results import Outcome
from conformance.target import Target
from conformance.target_control import TargetControl, TargetControlError, half_past_midnight_after
from estelam.inquiry.v1 import inquiry_pb2 as inquiry
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from tests.conformance.fake_ministry import CHECK_NOTE, case, check

ORIGIN = datetime(2024, 5, 1, 8, 30, tzinfo=UTC)
MAIN = {Instance.PROMISSORY}


@pytest.fixture
def steered_target(pki: Path, tmp_path: Path) -> Target:
    offset = int((ORIGIN - datetime.now(UTC)).total_seconds())
    (tmp_path / "offset").write_text(f"{offset}\n")
    (tmp_path / "denied").write_text("")
    return Target({Instance.PROMISSORY: "127.0.0.1:1"}, pki, tmp_path)


@pytest.fixture
def stage_clock(steered_target: Target, monkeypatch: pytest.MonkeyPatch) -> Iterator[StageClock]:
    monkeypatch.setattr(clock_stages, "READ_SECONDS", 0.0)
    monkeypatch.setattr(StageClock, "_probe", lambda *_: None)
    with Channels(steered_target) as channels:
        yield StageClock(steered_target, channels, [case({**check(), "at": "stale-edge", "edge": 1})])


def now(target: Target) -> datetime:
    assert target.steering
    return TargetControl(target.steering).now()


def test_clock_of_a_reply_without_receipt(steered_target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target whose replies have no receipt shows no clock, and is taken to follow the files."""
    bare = notes.CheckNoteResponse(answer=inquiry.ANSWER_YES).SerializeToString()
    monkeypatch.setattr(clock_stages, "call_method", lambda *_, **__: [CallResult("OK", reply=bare)])
    probe = clock_stages.ClockProbe(Instance.PROMISSORY, "setad", f"/{CHECK_NOTE}", b"")
    with Channels(steered_target) as channels:
        clock = StageClock(steered_target, channels, [])
        steering = TargetControl(steered_target.steering or Path())

        assert "" == clock._wait_for_clock(probe, steering, until=0)


def test_stage_times(steered_target: Target, stage_clock: StageClock) -> None:
    """Each stage is at its time, in order."""
    times: dict[Stage, timedelta] = {}
    for stage in Stage:
        answered = times[Stage.START] + ORIGIN if times else None
        assert stage_clock.go_to(stage, MAIN, until=time.monotonic() + 5, answered=answered) == {}
        times[stage] = now(steered_target) - ORIGIN
        stage_clock.end_stage(stage, [])

    assert timedelta(0) <= times[Stage.START] - timedelta(seconds=60) < timedelta(seconds=5)
    assert timedelta(0) <= times[Stage.AFTER_MIDNIGHT] - timedelta(hours=12, minutes=30) < timedelta(seconds=5)
    assert timedelta(0) <= times[Stage.NEARLY_STALE] - timedelta(hours=23, minutes=59) < timedelta(seconds=5)
    assert timedelta(0) <= timedelta(days=1) - times[Stage.STALE_EDGE] < timedelta(seconds=6)
    window = times[Stage.START] + timedelta(days=1)
    assert timedelta(seconds=20) <= window - times[Stage.WINDOW_OPEN] < timedelta(seconds=31)
    assert timedelta(0) <= window - times[Stage.WINDOW_EDGE] < timedelta(seconds=6)
    assert timedelta(seconds=30) <= times[Stage.WINDOW_CLOSED] - window < timedelta(seconds=40)


def test_window(steered_target: Target, stage_clock: StageClock) -> None:
    """The window is counted from the answers of the first stage, and closes a day after each."""
    stage_clock.go_to(Stage.START, MAIN, until=0)
    assert ORIGIN + timedelta(days=1) == stage_clock.edge_of(Stage.STALE_EDGE, None)
    assert ORIGIN + timedelta(days=1, minutes=5) == stage_clock.edge_of(
        Stage.WINDOW_EDGE, ORIGIN + timedelta(minutes=5)
    )
    stage_clock.end_stage(Stage.START, [ORIGIN + timedelta(minutes=5), ORIGIN + timedelta(minutes=9)])
    assert stage_clock.go_to(Stage.WINDOW_CLOSED, MAIN, until=0) == {}

    assert now(steered_target) >= ORIGIN + timedelta(days=1, minutes=9, seconds=30)


def test_old_fixtures(steered_target: Target) -> None:
    """Fixtures of an earlier day or run end the run before its first call, in one line."""
    assert steered_target.steering
    (steered_target.steering / "offset").write_text(f"{int((ORIGIN - datetime.now(UTC)).total_seconds()) + 86400}")
    result = runner.run([case(check()), case(check(), id="other")], steered_target, probe=lambda _target: "")

    assert "each run needs new fixtures (estelam conformance fixtures DIR)" in result.error
    assert (Outcome.NOT_RUN, []) == (result.outcome, [each for each in result.results if each.failures])


def test_clock_does_not_follow(stage_clock: StageClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target whose clock does not follow is reported."""
    monkeypatch.setattr(clock_stages, "FOLLOW_SECONDS", 0.3)
    monkeypatch.setattr(StageClock, "_probe", lambda *_: object())
    monkeypatch.setattr(StageClock, "_read_clock", lambda *_: ORIGIN)

    late = stage_clock.go_to(Stage.AFTER_MIDNIGHT, MAIN, until=time.monotonic() + 5)

    assert "does not follow `steering/offset`" in late[Instance.PROMISSORY]


def test_concurrent_denials(steered_target: Target) -> None:
    """Concurrent denials are all on the deny list."""
    assert steered_target.steering
    control = TargetControl(steered_target.steering)
    wanted = {f"{number:064x}" for number in range(30)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(control.deny, wanted))

    assert wanted == set((steered_target.steering / "denied").read_text().split())


def test_missing_deny_list(steered_target: Target) -> None:
    """A missing deny list is reported."""
    assert steered_target.steering
    (steered_target.steering / "denied").unlink()

    with pytest.raises(TargetControlError, match="can't be read"):
        TargetControl(steered_target.steering).deny("00")


def test_half_past_midnight() -> None:
    """Half past midnight is by Iran's time."""
    assert datetime(2024, 5, 1, 21, 0, tzinfo=UTC) == half_past_midnight_after(ORIGIN)
