"""Verification of a ledger in ranges finds the same as in one, in one process and in several."""

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import count
from typing import Any

import pytest
from sqlalchemy import update

from development.sandbox import Sandbox
from estelam.core.clock import Clock
from estelam.ledger import verify
from estelam.ledger.errors import LedgerCorruptError
from estelam.ledger.range_processes import LedgerLocation, verify_in_processes
from estelam.ledger.tables import checkpoint_table, entry_table
from estelam.ledger.verified_ranges import Place, Range, Snapshot, VerifiedRange
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.tree import Frontier
from estelam.storage.store import Store, StoreError
from tests.conftest import both_engines
from tests.integration.storage.test_ledger import CHANGES, Writer

pytestmark = [both_engines, pytest.mark.slow]

COMMITS = 3


@pytest.fixture
def writer(sandbox: Sandbox) -> Iterator[Writer]:
    """A ledger of some commits of two entries each."""
    writer = Writer(sandbox)
    with closing(writer.store):
        for _ in range(COMMITS):
            writer.write(1, 2)
        yield writer


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of one commit each, which several processes verify."""
    monkeypatch.setattr(verify, "RANGE_ENTRIES", 2)
    monkeypatch.setattr(verify, "MIN_RANGES", 1)


def in_processes(writer: Writer, sandbox: Sandbox) -> list[Checkpoint]:
    location = LedgerLocation(sandbox.promissory().store, "promissory", None, 0, writer.keys)
    with writer.store.transaction() as connection:
        return list(
            verify.verify_ledger(connection, writer.keys, in_processes=partial(verify_in_processes, location, 2))
        )


@pytest.mark.parametrize("change", CHANGES)
def test_same_fault(writer: Writer, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """Whatever was changed, ranges end with the fault that all at once end with."""
    with writer.store.transaction() as connection:
        CHANGES[change](connection)
    found = []
    for entries in (1 << 16, 4, 2, 1):
        monkeypatch.setattr(verify, "RANGE_ENTRIES", entries)
        with pytest.raises(LedgerCorruptError) as caught:
            writer.heads()
        found.append(str(caught.value))

    assert [found[0]] * 4 == found


@pytest.mark.usefixtures("cut")
def test_processes(writer: Writer, sandbox: Sandbox) -> None:
    """Several processes verify the commits in their order, and end with the first fault, however many there are."""
    heads = in_processes(writer, sandbox)
    entry, size = entry_table.c["index"], checkpoint_table.c.size
    with writer.store.transaction() as connection:
        connection.execute(update(checkpoint_table).where(size == 6).values(frontier=bytes(64)))
        connection.execute(update(entry_table).where(entry == 3).values(subject_2=7))
    with pytest.raises(LedgerCorruptError, match="the commit after entry 2: the index keys of entry 3 do not match"):
        in_processes(writer, sandbox)

    assert [*range(2, 2 * COMMITS + 1, 2)] == [head.size for head in heads]


@pytest.mark.usefixtures("cut")
def test_ledger_that_grows_meanwhile(writer: Writer, sandbox: Sandbox) -> None:
    """What is appended, or annulled, while processes verify does not make the ledger invalid."""
    location = LedgerLocation(sandbox.promissory().store, "promissory", None, 0, writer.keys)
    other = Writer(sandbox)

    def verify_later(ranges: Sequence[Range]) -> Iterator[VerifiedRange]:
        with closing(other.store):
            other.write(3)
            other.annul(1)
        return verify_in_processes(location, 2, ranges)

    reader = Store(sandbox.promissory().store)
    with closing(reader), reader.transaction() as connection:
        heads = list(verify.verify_ledger(connection, writer.keys, in_processes=verify_later))

    assert 2 * COMMITS == heads[-1].size


@pytest.mark.usefixtures("cut")
def test_checkpoint_between_ranges(writer: Writer) -> None:
    """A range that does not begin where the one before has ended ends the verification, whatever each has found."""
    with writer.store.transaction() as connection:
        first, second, *_ = verify._ranges(connection, Frontier())
        assert first.end == second.start.tree.size
        other = Place(Frontier(2, (bytes(32),)), second.start.origin)

        def forged(ranges: Sequence[Range]) -> Iterator[VerifiedRange]:
            for found in map(Snapshot(connection, writer.keys, (), 0).verify, ranges):
                found.end = other if found.end.tree.size == first.end else found.end
                yield found

        with pytest.raises(LedgerCorruptError, match="the checkpoint of 2 entries was changed while it was verified"):
            list(verify.verify_ledger(connection, writer.keys, in_processes=forged))


def test_process_that_dies(writer: Writer, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends early is an error that says nothing of the ledger: it is not valid, and not invalid."""
    monkeypatch.setattr(verify, "RANGE_ENTRIES", 1)
    for _ in range(60):
        writer.write(1)
    location = LedgerLocation(sandbox.promissory().store, "promissory", None, 0, writer.keys)
    with writer.store.transaction() as connection:
        *ranges, _ = verify._ranges(connection, Frontier())
    with closing(verify_in_processes(location, 1, ranges)) as found:
        assert next(found).commits
        for process in multiprocessing.active_children():
            process.kill()

        with pytest.raises(StoreError, match="the ledger is not verified"):
            list(found)


def test_store_that_a_process_cannot_read(writer: Writer, sandbox: Sandbox) -> None:
    """A process that can't read the store ends the verification with that error."""
    location = LedgerLocation("sqlite:////nowhere/at/all", "promissory", None, 0, writer.keys)
    with writer.store.transaction() as connection:
        ranges = list(verify._ranges(connection, Frontier()))

    with pytest.raises(Exception, match="unable to open"):
        list(verify_in_processes(location, 1, ranges))


def test_clock_steps_are_read_at_once(writer: Writer) -> None:
    """Checkpoints are read as often for a clock that was set back at every commit as for one that never was."""
    counts: list[int] = []
    now, steps = Clock().micros(), count(step=1000)
    for commits in (1, 20):
        for _ in range(commits):
            writer.ledger._clock = Clock(micros=lambda: now - 1_000_000 * len(counts) - next(steps))
            writer.write(1)
        with writer.store.transaction() as connection:
            statements: list[str] = []
            driver: Any = connection.connection.driver_connection
            if connection.dialect.name != "sqlite":
                pytest.skip("statements are counted on SQLite")
            driver.set_trace_callback(statements.append)
            assert list(verify.verify_ledger(connection, writer.keys))
            driver.set_trace_callback(None)
        counts.append(sum("checkpoint" in statement for statement in statements))

    assert counts[0] == counts[1]
