"""Loading facts from files: streamed, every row checked, all of a file or nothing, coverage in the same commit."""

from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import BigInteger, Column, Connection, Date, Integer, Table, Text, delete, func, insert, select
from sqlalchemy.exc import DBAPIError

from estelam import coverage
from estelam.clock import CLOCK_TOLERANCE, Clock, to_micros
from estelam.coverage import FACTS, Coverage, coverage_table
from estelam.loading.feed import Declaration, Feed, Loaded, LoadError
from estelam.loading.merging import Merge, former_subject_table
from estelam.loading.reading import Batch, batches
from estelam.loading.rejects import Reject, Rejects
from estelam.loading.staging import Staging, StagingError
from estelam.store import Store

__all__ = ["Declaration", "Feed", "LoadError", "Loaded", "former_subject_table", "load", "load_table"]

# Every load that was committed. Rows carry the number of the load that changed them last.
load_table = Table(
    "load",
    FACTS,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("file", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("loaded_at_micros", BigInteger, nullable=False),
    # The first date that counts after it. None: made before loads remembered this and what they took away.
    Column("covered_since", Date),
)


class _RejectedError(Exception):
    """Ends the transaction of a file with bad rows."""


def load(
    store: Store,
    feed: Feed,
    path: Path,
    *,
    declaration: Declaration,
    first_date: date,
    rejects: Path,
    clock: Clock,
    progress: Callable[[int], None],
    replace: bool = False,
) -> Loaded:
    """Load *path* in one transaction.

    What is on record as the file has it stays untouched, so the same file again changes nothing. A file with any bad
    row changes nothing: each such row is written to *rejects*. *progress* is told bytes read so far. *first_date* is
    what coverage begins with where none was declared before. To *replace* is to take the file for the whole register:
    what it lacks is gone, and coverage may be taken back.

    Raises:
        LoadError: the file or its header can't be read, or would take coverage back.
    """
    rows = 0

    def sound(refused: Rejects) -> Iterator[tuple[Any, dict[str, Any]]]:
        nonlocal rows
        for batch in batches(path, feed.columns):
            numbers, texts, found = _checked(feed, batch)
            refused.add(found)
            rows += len(numbers)
            yield numbers, texts
            progress(batch.read)

    try:
        with Rejects(rejects) as refused, store.transaction() as connection:
            _keep_coverage(connection, declaration, replace=replace, now=clock.now())
            number = (connection.execute(select(func.max(load_table.c.number))).scalar() or 0) + 1
            staging = Staging(connection, feed)
            merge = Merge(connection, feed, staging, number=number, whole=replace or feed.whole)
            staging.fill(sound(refused), keyed=not merge.first)
            refused.add(merge.contradictions())
            if refused.count:
                raise _RejectedError
            if merge.whole and not rows:
                raise LoadError(f"{path}: holds no row; an empty register is not taken for the whole one")
            merge.run()
            _declare(connection, declaration, first_date)
            _record(connection, path.name, number=number, rows=rows, first_date=first_date, clock=clock)
    except _RejectedError:
        return Loaded(0, refused.count, rejects)
    except (DBAPIError, StagingError, OSError) as error:
        raise LoadError(f"the store can't be written: {_fault(error)}; nothing was changed") from error
    finally:
        store.close()  # The connection has carried a load, and may hold on to what was staged.
    return Loaded(rows, 0, None, number)


def _fault(error: DBAPIError | StagingError | OSError) -> str:
    # What PostgreSQL says may quote a row; SQLite's words are constant.
    fault = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(fault, "sqlstate", None) or fault)


def _checked(feed: Feed, batch: Batch) -> tuple[Any, dict[str, Any], list[Reject]]:
    """The rows of *batch* that keep every check, and what was refused, in the order of the file."""
    bad: dict[int, Reject] = {}
    for check in feed.checks:
        doubtful = check.doubtful(batch.columns)
        for place in pc.indices_nonzero(doubtful).to_pylist() if pc.any(doubtful).as_py() else ():
            if place not in bad and (reason := check.reason(batch.columns, place)):
                bad[place] = Reject(batch.numbers[place].as_py(), check.column, reason)
    if not bad:
        return batch.numbers, batch.columns, batch.rejects
    kept = pa.array([place not in bad for place in range(len(batch.numbers))], pa.bool_())
    texts = {name: column.filter(kept) for name, column in batch.columns.items()}
    return batch.numbers.filter(kept), texts, sorted([*batch.rejects, *bad.values()])


def _record(connection: Connection, file: str, *, number: int, rows: int, first_date: date, clock: Clock) -> None:
    covered = coverage.read(connection)
    load = {
        "number": number,
        "file": file,
        "rows": rows,
        "loaded_at_micros": clock.micros(),
        "covered_since": covered.since if covered else first_date,
    }
    connection.execute(insert(load_table).values(load))


def _keep_coverage(connection: Connection, declaration: Declaration, *, replace: bool, now: datetime) -> None:
    if declaration.through and declaration.through > now + CLOCK_TOLERANCE:
        raise LoadError("--through: no feed is loaded up to a time that is yet to come")
    before = coverage.read(connection)
    if before is None or replace:
        return
    if declaration.since and declaration.since > before.since:
        raise LoadError(f"--since: the data is declared complete from {before.since} on; only --replace takes it back")
    if declaration.through and declaration.through < before.through:
        raise LoadError(
            f"--through: the feed is declared loaded up to {_instant(before)}; only --replace takes it back"
        )


def _instant(before: Coverage) -> str:
    return before.through.isoformat(timespec="seconds")


def _declare(connection: Connection, declaration: Declaration, first_date: date) -> None:
    before = coverage.read(connection)
    through = declaration.through or (before.through if before else None)
    if through is None or declaration == Declaration():
        return
    since = declaration.since or (before.since if before else first_date)
    connection.execute(delete(coverage_table))
    connection.execute(insert(coverage_table).values(id=1, since=since, through_micros=to_micros(through)))
