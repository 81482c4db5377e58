"""A file in any form that can mean one thing only loads the same facts; any other is refused and leaves nothing."""

import csv
import gzip
import io
import os
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from sqlalchemy import select

from development.files import SAMPLES
from development.sandbox import Sandbox
from estelam.core.clock import Clock
from estelam.core.dates import format_jalali
from estelam.loading.errors import LoadError
from estelam.loading.feed import Declaration, Feed, LoadResult, Policy
from estelam.loading.load import load
from estelam.storage.store import AccessMode, Store
from judiciary.feeds import CASES
from promissory.feeds import NOTES
from tests.conftest import both_engines_in_full

ROWS = 30
CUT_AT = datetime(2024, 1, 1, tzinfo=UTC)
PERSIAN_DIGITS = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
ARABIC_DIGITS = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
ARABIC_LETTERS = str.maketrans("یک", "يك")
TEXTS = {"obligor_name", "obligor_address", "holder_name", "holder_address", "payment_place", "registered_at"}
DATES = {"filed_on", "issued_on", "due_on"}
WORDS = {"state", "kind", "role"}
CODES = {"serial", "obligor_id", "holder_id", "amount_rials", "tracking_id", "national_id", "case_number"}

Table = list[list[str]]


@dataclass(frozen=True)
class FeedInStore:
    """A feed, the store of its service, and loads of sample rows into it."""

    feed: Feed
    url: str
    folder: Path

    def sample(self) -> Table:
        """Header and first rows of the feed's sample file."""
        with (SAMPLES / f"{self.feed.name}.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.reader(file))[: ROWS + 1]

    def load(self, content: bytes, name: str = "rows.csv", *, clock: Clock | None = None) -> LoadResult:
        (self.folder / name).write_bytes(content)
        return self.load_path(self.folder / name, clock=clock)

    def load_path(self, path: Path, *, clock: Clock | None = None) -> LoadResult:
        with closing(Store(self.url, facts=AccessMode.WRITE)) as store:
            return load(
                store,
                self.feed,
                path,
                declared=Declaration(feed=self.feed.name, cut_at=CUT_AT),
                policy=Policy((self.feed.name,), change_limit=1, allow_known_content=True),
                rejects=self.folder / "rejects.csv",
                clock=clock or Clock(),
                progress=lambda _bytes: None,
            )

    def facts(self) -> set[tuple[Any, ...]]:
        columns = [self.feed.table.c[name] for name in self.feed.columns]
        with closing(Store(self.url)) as store, store.transaction() as connection:
            return {tuple(row) for row in connection.execute(select(*columns))}

    def left_over(self) -> list[str]:
        """Files that a load has left beside its data and in the folder of the store."""
        store = Path(self.url.removeprefix("sqlite:///"))
        found = [*self.folder.iterdir(), *(store.iterdir() if store.is_dir() else ())]
        return [path.name for path in found if "loading" in path.name or "rejects" in path.name]


@pytest.fixture(params=["notes", "cases"])
def target(request: pytest.FixtureRequest, sandbox: Sandbox, tmp_path: Path) -> FeedInStore:
    folder = tmp_path / "data"
    folder.mkdir()
    if request.param == "notes":
        return FeedInStore(NOTES, sandbox.promissory().store, folder)
    return FeedInStore(CASES, sandbox.judiciary().store, folder)


def written(rows: Table, separator: str = ",", line_end: str = "\n") -> bytes:
    """*rows* as CSV."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, lineterminator=line_end).writerows(rows)
    return text.getvalue().encode()


def mapped(rows: Table, columns: set[str], change: Callable[[str], str]) -> Table:
    """*rows* with the non-empty cells of *columns* changed."""
    header, *others = rows
    return [
        header,
        *(
            [change(cell) if cell and name in columns else cell for name, cell in zip(header, row, strict=True)]
            for row in others
        ),
    ]


def jalali(day: str) -> str:
    return format_jalali(date.fromisoformat(day)).replace("-", "/").translate(PERSIAN_DIGITS)


FORMS: dict[str, Callable[[Table], bytes]] = {
    "gzip": lambda rows: gzip.compress(written(rows)),
    "semicolons": lambda rows: written(rows, ";"),
    "tabs and CRLF": lambda rows: written(rows, "\t", "\r\n"),
    "CR": lambda rows: written(rows, line_end="\r"),
    "byte order mark": lambda rows: b"\xef\xbb\xbf" + written(rows),
    "blank lines": lambda rows: b"\n" + written(rows[:5]) + b"\n  \n" + written(rows[5:]) + b"\n\n",
    "trailing commas": lambda rows: written(rows, line_end=",,\n"),
    "all quoted": lambda rows: re.sub(rb"([^,\n]+)", rb'"\1"', written(rows)),
    "another order": lambda rows: written([row[::-1] for row in rows]),
    "header": lambda rows: written([[f" {name.upper().replace('_', ' ')}\u200f" for name in rows[0]], *rows[1:]]),
    "Persian digits": lambda rows: written(mapped(rows, CODES, lambda cell: cell.translate(PERSIAN_DIGITS))),
    "Arabic digits": lambda rows: written(mapped(rows, CODES, lambda cell: cell.translate(ARABIC_DIGITS))),
    "Arabic letters": lambda rows: written(mapped(rows, TEXTS, lambda cell: cell.translate(ARABIC_LETTERS))),
    "blanks": lambda rows: written(mapped(rows, TEXTS | DATES | WORDS | CODES, lambda cell: f"\u00a0 {cell}\u2003")),
    "Jalali dates": lambda rows: written(mapped(rows, DATES, jalali)),
}


@pytest.mark.parametrize("form", FORMS)
def test_equivalent_forms(target: FeedInStore, form: str) -> None:
    """A file in another form, encoding of digits or calendar loads the same facts; a second load changes nothing."""
    rows = target.sample()
    assert target.load(FORMS[form](rows)).rows == ROWS
    found = target.facts()

    assert target.load(written(rows)).rows == ROWS
    assert found == target.facts()
    assert len(found) == ROWS
    assert not target.left_over()


REFUSED: dict[str, tuple[Callable[[Table], bytes], str]] = {
    "empty": (lambda _rows: b"", "is empty"),
    "blank": (lambda _rows: b"\n\n", "is empty"),
    "no header": (lambda rows: written(rows[1:]), "line 1: is not a header with the names of the columns"),
    "missing column": (lambda rows: written([row[1:] for row in rows]), "line 1: the header lacks"),
    "unknown column": (lambda rows: written([[*row, "colour"] for row in rows]), "unknown column colour"),
    "column twice": (lambda rows: written([[*row, row[0]] for row in rows]), "line 1: the header has twice"),
    "UTF-16": (lambda rows: written(rows).decode().encode("utf-16"), "is in UTF-16, not UTF-8"),
    "Windows-1256": (
        lambda rows: written([rows[0], ["آرش شيرين"] * len(rows[0])]).decode().encode("cp1256"),
        ": reads like Windows-1256, not UTF-8; convert it with: iconv -f WINDOWS-1256",
    ),
    "workbook": (lambda _rows: b"PK\x03\x04\x14\x00\x06\x00", "is a ZIP archive or an Excel workbook"),
    "open quote": (lambda rows: written(rows) + b'"' + written(rows[1:]), f"line {ROWS + 2}: a quoted field"),
    "cut off": (lambda rows: written(rows)[:-4], f"line {ROWS + 1}: the file ends within this row"),
    "gzip cut off": (lambda rows: gzip.compress(written(rows))[:-9], "the gzip data is cut off"),
    "Parquet cut off": (lambda rows: b"PAR1" + written(rows), "is not a valid Parquet file"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_refused_forms(target: FeedInStore, form: str) -> None:
    """A file that can't be read rightly is refused with its fault and line, and leaves nothing behind."""
    make, message = REFUSED[form]

    with pytest.raises(LoadError, match=re.escape(message)):
        target.load(make(target.sample()))

    assert not target.facts()
    assert not target.left_over()


def test_pipe(target: FeedInStore) -> None:
    """A pipe is refused without waiting for a writer."""
    os.mkfifo(target.folder / "rows.csv")

    with pytest.raises(LoadError, match="is a pipe"):
        target.load_path(target.folder / "rows.csv")
    assert not target.left_over()


NO_VALID_ROW: dict[str, tuple[Callable[[Table], list[bytes]], str]] = {
    "short row": (lambda rows: [written(rows[:1]), b"1\n"], "1,2,,WRONG_NUMBER_OF_FIELDS"),
    "long row": (lambda rows: [written([rows[0], [*rows[1], ""]])], "1,2,,WRONG_NUMBER_OF_FIELDS"),
    "not UTF-8": (lambda rows: [written(rows[:1]), b"\xff" + written(rows[1:2])], ",NOT_UTF8"),
    "zeros": (lambda rows: [written(rows[:1]), b"\n", b"\x00" * 500, b"\n"], "1,3,,WRONG_NUMBER_OF_FIELDS"),
    "words": (lambda rows: [written([rows[0], ["x"] * len(rows[0])])], "1,2,"),
}


@both_engines_in_full
@pytest.mark.parametrize("form", NO_VALID_ROW)
def test_no_row_survives(target: FeedInStore, form: str) -> None:
    """A file without a valid row is rejected with the row's line, and leaves the list of rejected rows only."""
    make, reason = NO_VALID_ROW[form]

    assert target.load(b"".join(make(target.sample()))).rejected == 1

    assert reason in (target.folder / "rejects.csv").read_text("utf-8").splitlines()[1]
    assert not target.facts()
    assert target.left_over() == ["rejects.csv"]


@both_engines_in_full
def test_rejects_before_a_fault(target: FeedInStore) -> None:
    """Where a file is refused after some rows were rejected, their list is not left behind: it is incomplete."""
    rows = target.sample()

    with pytest.raises(LoadError, match="a quoted field"):
        target.load(written([*rows, rows[1][:-1]]) + b'"open\n' * 10_000)
    assert not target.left_over()


@both_engines_in_full
def test_header_alone(target: FeedInStore) -> None:
    """A file without rows, as a day without changes gives, is loaded and changes nothing."""
    assert target.load(written(target.sample()[:1]) + b"\n\n").rows == 0
    assert not target.left_over()


def test_parquet(target: FeedInStore) -> None:
    """Parquet with dates, integers, dictionaries and nulls loads the facts of the CSV file."""
    header, *rows = target.sample()
    texts = {name: pa.array([cell or None for cell in cells]) for name, *cells in zip(header, *rows, strict=True)}
    dates = {name: texts[name].cast(pa.date32()) for name in texts.keys() & DATES}
    words = {name: texts[name].dictionary_encode() for name in texts.keys() & WORDS}
    amounts = {name: texts[name].cast(pa.int64()) for name in texts if name.endswith("_rials")}
    columns = texts | dates | words | amounts
    parquet.write_table(pa.table(columns), target.folder / "rows.parquet")
    assert target.load_path(target.folder / "rows.parquet").rows == ROWS
    found = target.facts()

    target.load(written([header, *rows]))

    assert found == target.facts()


def test_optional_columns(sandbox: Sandbox, tmp_path: Path) -> None:
    """A notes file may lack addresses and postal codes, and may have columns that are ignored."""
    target = FeedInStore(NOTES, sandbox.promissory().store, tmp_path)
    header, *rows = target.sample()
    kept = [place for place, name in enumerate(header) if not name.endswith(("address", "postal_code"))]
    shorter = [[row[place] for place in kept] for row in (header, *rows)]
    ignored = [["transferable", "Guarantor ID"], *([["1", "\ufffd"]] * ROWS)]

    assert target.load(written([[*row, *more] for row, more in zip(shorter, ignored, strict=True)])).rows == ROWS

    places = [place for place, name in enumerate(NOTES.columns) if name.endswith(("address", "postal_code"))]
    assert {row[place] for row in target.facts() for place in places} == {""}


def test_the_clock_decides_what_is_past(target: FeedInStore) -> None:
    """A filing or issue date is compared with the clock that the load is given."""
    name = "issued_on" if target.feed is NOTES else "filed_on"
    rows = mapped(target.sample()[:2], {name}, lambda _cell: "2024-05-02")

    def at(*day: int) -> Clock:
        micros = int(datetime(*day, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[arg-type, misc]
        return Clock(lambda: micros)

    assert target.load(written(rows), clock=at(2024, 4, 30, 20, 29)).rejected == 1
    assert (target.folder / "rejects.csv").read_text("utf-8").splitlines()[1].startswith(f"1,2,{name},AFTER_TODAY,")
    assert target.load(written(rows), clock=at(2024, 4, 30, 20, 31)).rows == 1
