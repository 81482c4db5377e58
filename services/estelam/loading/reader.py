"""Read data files in batches of text columns, whatever their format, and reject the rows that have no right form."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from estelam.core.exceptions import named_error
from estelam.loading.batch import Batch
from estelam.loading.csv_reader import csv_batches, read_header
from estelam.loading.errors import LoadError
from estelam.loading.feed import Feed
from estelam.loading.formats import ColumnFormat
from estelam.loading.header import NotTheHeaderError, match_header
from estelam.loading.memory import MAX_BYTES, limited_memory
from estelam.loading.parquet_reader import parquet_batches
from estelam.loading.rejects import Reject
from estelam.loading.source import Source, open_source


def batches(path: Path, columns: Mapping[str, ColumnFormat], ignored: Collection[str] = ()) -> Iterator[Batch]:
    """Yield the rows of the file at *path*, which has *columns* and may have *ignored* ones, in any order.

    Raises:
        LoadError: the file can't be read, or its header or format is wrong.
    """
    with _opened(path) as source:
        yield from (parquet_batches if source.is_parquet else csv_batches)(source, columns, ignored)


def present_columns(path: Path, columns: Mapping[str, ColumnFormat], ignored: Collection[str]) -> frozenset[str]:
    """Return those of *columns* that the file at *path* has.

    Raises:
        LoadError: the file can't be read, or its header or format is wrong.
    """
    with _opened(path) as source:
        if source.is_parquet:
            return frozenset(match_header(str(path), pq.read_schema(path).names, columns, ignored).positions)
        header, *_ = read_header(source, columns, ignored)
        return frozenset(header.positions)


def count_rows(path: Path, kinds: Iterable[Feed]) -> int:
    """Return the number of rows of the file at *path*, which may be of any of these *kinds*.

    Raises:
        LoadError: the file can't be read, its header is that of no kind, or a row has no right form.
    """
    feed = _kind(path, list(kinds))
    count = 0
    for batch in batches(path, feed.columns, feed.ignored):
        if batch.rejects:
            raise LoadError(f"{path}: {batch.rejects[0].place()}")
        count += len(batch.numbers)
    return count


def _kind(path: Path, kinds: Sequence[Feed]) -> Feed:
    for feed in kinds:
        try:
            present_columns(path, feed.columns, feed.ignored)
        except NotTheHeaderError:
            continue
        return feed
    known = "; ".join(f"{feed.name}: {','.join(feed.columns)}" for feed in kinds)
    raise LoadError(f"{path}: the first line is not a header with the names of the columns; they are, of {known}")


@contextmanager
def _opened(path: Path) -> Iterator[Source]:
    with named_error(LoadError, f"{path}: is damaged, or has a name in it that is not UTF-8"):
        try:
            with open_source(path) as source, limited_memory() if source.is_parquet else nullcontext():
                yield source
        except MemoryError as error:
            raise LoadError(
                f"{path}: takes more than {MAX_BYTES >> 20:,} MiB of memory to be read; write row groups of fewer rows"
            ) from error
        except (OSError, pa.ArrowException) as error:
            # Without an operating system error, the Parquet reader failed; its message may quote the file.
            cause: str | None = getattr(error, "strerror", None)
            reason = cause.lower() if cause else "is not a valid Parquet file"
            raise LoadError(f"{path}: {reason}") from error


def add_lines(rejects: Iterable[Reject], batches: Iterable[Batch]) -> Iterator[Reject]:
    """Yield *rejects*, which are sorted by row, with the lines of their rows, found in the *batches* of their file."""
    remaining = iter(batches)
    batch: Batch | None = None
    for reject in rejects:
        while batch is None or not batch.holds(reject.row):
            batch = next(remaining)
        yield reject._replace(line=batch.line(reject.row))
