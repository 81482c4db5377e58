"""Stages: the target's clock is taken forward, its receipts are waited for, and the deny-list grows."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conformance import clock_stages
from conformance.case import Instance, Stage
from conformance.client import Channels
from conformance.clock_stages import Timetable
from conformance.target import Target
from conformance.target_control import Steering, SteeringError, half_past_midnight_after

ORIGIN = datetime(2024, 5, 1, 8, 30, tzinfo=UTC)
MAIN = {Instance.PROMISSORY}


@pytest.fixture
def steered(pki: Path, tmp_path: Path) -> Target:
    offset = int((ORIGIN - datetime.now(UTC)).total_seconds())
    (tmp_path / "offset").write_text(f"{offset}\n")
    (tmp_path / "denied").write_text("")
    return Target({Instance.PROMISSORY: "127.0.0.1:1"}, pki, tmp_path)


@pytest.fixture
def timetable(steered: Target, monkeypatch: pytest.MonkeyPatch) -> Iterator[Timetable]:
    monkeypatch.setattr(clock_stages, "READ_SECONDS", 0.0)
    monkeypatch.setattr(Timetable, "_pilot", lambda *_: None)
    with Channels(steered) as channels:
        yield Timetable(steered, channels, [])


def now(target: Target) -> datetime:
    assert target.steering
    return Steering(target.steering).now()


def test_each_stage_is_at_its_time_and_time_goes_forward(steered: Target, timetable: Timetable) -> None:
    seen = {}
    for stage in Stage:
        assert timetable.go_to(stage, MAIN, until=time.monotonic() + 5) == {}
        seen[stage] = now(steered) - ORIGIN
        timetable.ended(stage, [])

    assert seen[Stage.START] < timedelta(seconds=5)
    assert timedelta(0) <= seen[Stage.AFTER_MIDNIGHT] - timedelta(hours=12, minutes=30) < timedelta(seconds=5)
    assert timedelta(0) <= seen[Stage.NEARLY_STALE] - timedelta(hours=23, minutes=59) < timedelta(seconds=5)
    assert timedelta(0) <= timedelta(days=1) - seen[Stage.WINDOW_OPEN] < timedelta(seconds=30)
    assert timedelta(seconds=30) <= seen[Stage.WINDOW_CLOSED] - timedelta(days=1) < timedelta(seconds=40)


def test_the_window_is_counted_from_the_first_answer_and_to_the_last(steered: Target, timetable: Timetable) -> None:
    timetable.go_to(Stage.START, MAIN, until=0)
    timetable.ended(Stage.START, [ORIGIN + timedelta(minutes=5), ORIGIN + timedelta(minutes=9)])
    assert timetable.go_to(Stage.WINDOW_CLOSED, MAIN, until=0) == {}

    assert now(steered) >= ORIGIN + timedelta(days=1, minutes=9, seconds=30)


def test_fixtures_of_an_earlier_day_are_too_late(steered: Target, timetable: Timetable) -> None:
    assert steered.steering
    (steered.steering / "offset").write_text(f"{int((ORIGIN - datetime.now(UTC)).total_seconds()) + 86400}")
    with Channels(steered) as channels:
        late = Timetable(steered, channels, []).go_to(Stage.START, MAIN, until=0)

    assert "load fresh fixtures" in late[Instance.PROMISSORY]


def test_a_target_that_does_not_follow_is_told_for_what_it_is(
    timetable: Timetable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock_stages, "FOLLOW_SECONDS", 0.3)
    monkeypatch.setattr(Timetable, "_pilot", lambda *_: object())
    monkeypatch.setattr(Timetable, "_clock_of", lambda *_: ORIGIN)

    late = timetable.go_to(Stage.AFTER_MIDNIGHT, MAIN, until=time.monotonic() + 5)

    assert "does not follow the steering" in late[Instance.PROMISSORY]


def test_certificates_barred_at_once_are_all_on_the_list(steered: Target) -> None:
    assert steered.steering
    steering = Steering(steered.steering)
    wanted = {f"{number:064x}" for number in range(30)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(steering.bar, wanted))

    assert wanted == set((steered.steering / "denied").read_text().split())


def test_a_deny_list_that_is_gone_is_told(steered: Target) -> None:
    assert steered.steering
    (steered.steering / "denied").unlink()

    with pytest.raises(SteeringError, match="can't be read"):
        Steering(steered.steering).bar("00")


def test_half_past_midnight_is_irans() -> None:
    assert datetime(2024, 5, 1, 21, 0, tzinfo=UTC) == half_past_midnight_after(ORIGIN)
