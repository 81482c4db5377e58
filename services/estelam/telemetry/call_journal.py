"""Keeps the counts of calls in a file of the host, beside the store and independent of it, and returns them in order.

All workers of a host append to one SQLite file, every few seconds. Rows are never changed: a reader that has read up to
a number reads on from there, and so counts each call once. A file that can't be written keeps nothing from being
answered: the counts wait in memory.
"""

import contextlib
import json
import secrets
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import structlog

from estelam.core.clock import Clock
from estelam.core.exceptions import problem
from estelam.core.files import create_private_file, make_private
from estelam.telemetry import histogram
from estelam.telemetry.call_counts import MINUTE_MICROS, CallCounter, CallKey

log = structlog.get_logger()

FLUSH_SECONDS: Final = 10.0
LOCK_SECONDS: Final = 5.0
KEPT_MINUTES: Final = 14 * 24 * 60
"""How long counts are kept for a monitor that does not read them."""
MAX_UNWRITTEN: Final = 200_000
"""So many different counts wait for a file that can't be written; beyond that those of the oldest minutes are lost."""
ROWS_PER_READ: Final = 4000
_SETTLED_MINUTES: Final = 10
"""After this time no thread is still counting a call of a minute."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS source (id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS call (
    number INTEGER PRIMARY KEY,
    minute INTEGER NOT NULL,
    method TEXT NOT NULL,
    caller TEXT NOT NULL,
    reason TEXT NOT NULL,
    is_probe INTEGER NOT NULL,
    latencies BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS call_minute ON call (minute);
"""


class CallJournal:
    """The file *path*, to which the counts of *counter* are appended, and from which they are read."""

    def __init__(self, path: Path, counter: CallCounter, clock: Clock) -> None:
        self._path = path
        self._counter = counter
        self._clock = clock
        self._written: Counter[CallKey] = Counter()
        self._last_minute = 0
        self._unmarked: set[int] = set()
        """The minutes in which calls are counted, until that is in the file."""
        self._has_failed = False

    def run(self, stopping: threading.Event) -> None:
        """Append the new counts every few seconds, and once more at the end."""
        while True:
            is_last = stopping.wait(FLUSH_SECONDS)
            self.flush()
            if is_last:
                return

    def flush(self) -> None:
        """Append the new counts; if the file can't be written, they wait for the next time."""
        now = self._clock.micros() // MINUTE_MICROS
        totals = self._counter.totals()
        if now != self._last_minute:
            self._unmarked.add(now)
        try:
            self._append(totals - self._written, now)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the file must not end the counting
            if not self._has_failed:
                log.error("calls.unwritten", error=type(error).__name__, problem=problem(error), path=str(self._path))
            self._has_failed = True
            self._drop_oldest(totals)
            return
        if self._has_failed:
            log.info("calls.written_again")
        self._has_failed = False
        self._written, self._last_minute = totals, now
        self._unmarked.clear()
        self._forget(now - _SETTLED_MINUTES)

    def read(self, after: int | None) -> bytes:
        """Return the rows after number *after*, as JSON; without it, only the id of the file.

        Raises:
            sqlite3.Error, OSError: the file can't be read.
        """
        with self._opened() as connection:
            (source,) = connection.execute("SELECT id FROM source").fetchone()
            query = "SELECT * FROM call WHERE number > ? ORDER BY number LIMIT ?"
            rows = [] if after is None else connection.execute(query, (after, ROWS_PER_READ)).fetchall()
        found = [(*row[:-1], sorted(histogram.unpack(row[-1]).items())) for row in rows]
        content = {"version": 1, "source": source, "now_micros": self._clock.micros(), "rows": found}
        return json.dumps(content | {"more": len(rows) == ROWS_PER_READ}, separators=(",", ":")).encode()

    def _append(self, counts: Counter[CallKey], now: int) -> None:
        latencies: dict[tuple[int, str, str, str, bool], Counter[int]] = {}
        for key, count in counts.items():
            latencies.setdefault(key[:-1], Counter())[key.bucket] += count
        for minute in self._unmarked:  # in which the service counts, even if nobody calls
            latencies[minute, "", "", "", False] = Counter()
        if not latencies:
            return
        with self._opened() as connection:
            (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM call").fetchone()
            # By the time, too: a file that was restored from a copy must not use the numbers of lost rows again.
            first = max(last + 1, self._clock.micros())
            numbered = enumerate(sorted(latencies.items()), first)
            rows = [(number, *key, histogram.pack(some)) for number, (key, some) in numbered]
            connection.executemany("INSERT INTO call VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            connection.execute("DELETE FROM call WHERE minute < ?", (now - KEPT_MINUTES,))

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """Open the file for one transaction: it may have been replaced since the last one."""
        try:
            with self._transaction() as connection:
                yield connection
        except sqlite3.OperationalError:
            raise  # locked, full, or not permitted: it may pass
        except sqlite3.DatabaseError as error:
            aside = self._path.with_name(f"{self._path.name}.damaged")
            with contextlib.suppress(OSError):
                self._path.rename(aside)
            log.error("calls.damaged", problem=problem(error), path=str(aside))
            raise

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        create_private_file(self._path)
        make_private(self._path)
        # No write-ahead log: several workers write, and SQLite before 3.51.3 may damage a log of several writers.
        connection = sqlite3.connect(self._path, timeout=LOCK_SECONDS, isolation_level=None)
        with contextlib.closing(connection):
            connection.execute("PRAGMA synchronous=FULL")
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
                connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}COMMIT;")
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("SELECT count(*) FROM source").fetchone() == (0,):
                connection.execute("INSERT INTO source VALUES (?)", (secrets.token_hex(16),))
            yield connection
            connection.execute("COMMIT")

    def _drop_oldest(self, totals: Mapping[CallKey, int]) -> None:
        waiting = sorted(totals.keys() - self._written.keys())
        if len(waiting) > MAX_UNWRITTEN:
            end = waiting[len(waiting) // 2].minute + 1
            log.error("calls.dropped", count=sum(totals[key] for key in waiting if key.minute < end))
            self._forget(end)

    def _forget(self, end_minute: int) -> None:
        self._counter.forget(end_minute)
        self._written = Counter({key: count for key, count in self._written.items() if key.minute >= end_minute})
