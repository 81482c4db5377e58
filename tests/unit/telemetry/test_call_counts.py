"""Counting of calls: each is counted once, by whichever thread replies, and kept in a file of the host."""

import json
import sqlite3
import stat
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from estelam.core.clock import Clock
from estelam.telemetry import call_journal
from estelam.telemetry.call_counts import MINUTE_MICROS, CallCounter
from estelam.telemetry.call_journal import CallJournal

METHOD, CALLER = "estelam.x.v1.X/Check", "99001187852"


class Host:
    """A service that counts, at a time that the test sets, with a file in *folder*."""

    def __init__(self, folder: Path) -> None:
        self.minute = 1000
        self.path = folder / "calls"
        self.clock = replace(Clock(), micros=lambda: self.minute * MINUTE_MICROS)
        self.counter, self.journal = self.worker()

    def worker(self) -> tuple[CallCounter, CallJournal]:
        counter = CallCounter(self.clock)
        return counter, CallJournal(self.path, counter, self.clock)

    def call(self, reason: str = "", seconds: float = 0.02) -> None:
        self.counter.count(METHOD, CALLER, reason, seconds)

    def read(self, after: int = 0) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.journal.read(after))
        return content

    def counted(self) -> Counter[tuple[int, str]]:
        """The calls in the file, by minute and reason."""
        found: Counter[tuple[int, str]] = Counter()
        for _number, minute, method, _caller, reason, _is_probe, latencies in self.read()["rows"]:
            if method:
                found[minute, reason] += sum(count for _bucket, count in latencies)
        return found


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_each_call_is_written_once(host: Host) -> None:
    """Calls of several minutes, flushed several times, are in the file once each, by minute and reason."""
    for minute, reason in ((1000, ""), (1000, "OVERLOADED"), (1001, ""), (1015, ""), (1015, "ANSWER_LATE")):
        host.minute = minute
        for _ in range(3):
            host.call(reason)
            host.journal.flush()

    expected = {(1000, ""): 3, (1000, "OVERLOADED"): 3, (1001, ""): 3, (1015, ""): 3, (1015, "ANSWER_LATE"): 3}
    assert expected == host.counted()
    assert 0o600 == stat.S_IMODE(host.path.stat().st_mode)


def test_threads(host: Host) -> None:
    """Calls that several threads count at the same time, while they are flushed, are all counted."""

    def call_often() -> None:
        for _ in range(5000):
            host.call()

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(call_often) for _ in range(4)]
        while not all(one.done() for one in running):
            host.journal.flush()
    host.journal.flush()

    assert {(1000, ""): 20_000} == host.counted()


def test_workers_share_the_file(host: Host) -> None:
    """Two workers append to one file; a reader goes on from its last number and reads each call once."""
    other, its_journal = host.worker()
    host.call()
    host.journal.flush()
    seen = host.read()["rows"]
    other.count(METHOD, CALLER, "OVERLOADED", 0.1)
    its_journal.flush()
    later = host.read(after=seen[-1][0])["rows"]

    assert {(1000, ""): 1, (1000, "OVERLOADED"): 1} == host.counted()
    assert ["OVERLOADED"] == [row[4] for row in later if row[2]]
    assert host.read()["source"] == json.loads(its_journal.read(None))["source"]


def test_idle_minute_is_marked(host: Host) -> None:
    """A minute without calls has a row that shows that the service counted."""
    host.journal.flush()
    host.minute += 1
    host.journal.flush()
    host.journal.flush()

    assert [1000, 1001] == [row[1] for row in host.read()["rows"]]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:3000]),
        lambda path: path.write_bytes(b"not a database" * 500),
    ],
    ids=["removed", "torn", "overwritten"],
)
def test_damaged_file(host: Host, damage: Callable[[Path], object]) -> None:
    """After its file was lost or damaged the service goes on in a new one, and loses no later call."""
    host.call()
    host.journal.flush()
    first = host.read()["source"]
    damage(host.path)
    host.call("OVERLOADED")
    for _ in range(2):  # the first time the damage is found
        host.journal.flush()

    assert 1 == host.counted()[1000, "OVERLOADED"]
    assert first != host.read()["source"]


def test_file_that_cannot_be_written(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls wait in memory until the file can be written; only beyond a bound those of the oldest minutes are lost."""
    host.path.mkdir()
    host.call()
    host.journal.flush()
    host.path.rmdir()
    host.journal.flush()
    assert {(1000, ""): 1} == host.counted()

    monkeypatch.setattr(call_journal, "MAX_UNWRITTEN", 3)
    host.path.unlink()
    host.path.mkdir()
    for minute in range(1001, 1011):
        host.minute = minute
        host.call()
        host.journal.flush()
    host.path.rmdir()
    host.journal.flush()
    found = host.counted()
    assert 1 == found[1010, ""]
    assert sum(found.values()) < 10


def test_restored_file_repeats_no_number(host: Host) -> None:
    """A file that was restored from a copy gives later rows numbers after those that were lost."""
    host.call()
    host.journal.flush()
    copy = host.path.read_bytes()
    for _ in range(2):
        host.minute += 1
        host.call()
        host.journal.flush()
    last = host.read()["rows"][-1][0]
    host.path.write_bytes(copy)
    host.minute += 1
    host.call()
    host.journal.flush()

    assert {host.minute} == {row[1] for row in host.read(after=last)["rows"]}


def test_counts_are_kept_for_days(host: Host) -> None:
    """Rows that no monitor can still need are removed."""
    host.call()
    host.journal.flush()
    host.minute += call_journal.KEPT_MINUTES + 1
    host.journal.flush()

    assert {host.minute} == {row[1] for row in host.read()["rows"]}


def test_interrupted_append(host: Host) -> None:
    """An append that is interrupted before its commit leaves nothing, and is made again."""
    host.call()
    blocker = sqlite3.connect(host.path, isolation_level=None)
    host.journal.flush()
    blocker.execute("BEGIN IMMEDIATE")
    host.call("OVERLOADED")
    host.journal._counter.count(METHOD, CALLER, "", 0.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(call_journal, "LOCK_SECONDS", 0.05)
        host.journal.flush()
    blocker.execute("ROLLBACK")
    blocker.close()
    host.journal.flush()

    assert {(1000, ""): 2, (1000, "OVERLOADED"): 1} == host.counted()
