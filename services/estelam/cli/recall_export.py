"""Lists of recalled answers as a table, CSV or JSON; collected on disk, and complete before any is printed."""

import contextlib
import csv
import json
import sqlite3
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import IO, Any, Self

import typer

from estelam.cli import output
from estelam.cli.options import Format
from estelam.core.escape import spreadsheet_cell, visible_json
from estelam.ledger.recall import Recalled
from estelam.storage.store import StoreError

COLUMNS = Recalled._fields
MAX_TABLE_ROWS = 1000


class Lists:
    """Answers by caller, oldest first, in a temporary file that is removed with this object."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")
        columns = ", ".join(f'"{column}"' for column in COLUMNS)
        self._database.execute(f'CREATE TABLE answer ({columns}, PRIMARY KEY (caller, "index")) WITHOUT ROWID')

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def fill(self, answers: Iterable[Recalled]) -> None:
        """Add *answers*; of an answer that is added twice, the first counts.

        Raises:
            StoreError: the temporary folder is full.
        """
        places = ", ".join("?" * len(COLUMNS))
        try:
            self._database.executemany(f"INSERT OR IGNORE INTO answer VALUES ({places})", answers)  # noqa: S608 - constants
        except sqlite3.Error as error:
            raise StoreError(
                f"{tempfile.gettempdir()}: the temporary folder has no room for the answers; free some, or set TMPDIR"
            ) from error

    def counts(self) -> Mapping[str, int]:
        """Return the number of answers of each caller's list."""
        return dict(self._database.execute("SELECT caller, count(*) FROM answer GROUP BY caller"))

    def show(self, form: Format) -> None:
        """Print all answers as one list."""
        if form is not Format.TABLE:
            _write(sys.stdout, form, self._rows())
            return
        at = COLUMNS.index("answered_at")
        rows = [
            (*row[:at], datetime.fromisoformat(row[at]), *row[at + 1 :]) for row in self._rows(limit=MAX_TABLE_ROWS)
        ]
        if rows:
            output.print_rows(COLUMNS, rows, as_json=False)
        if len(rows) == MAX_TABLE_ROWS < sum(self.counts().values()):
            typer.echo(f"the table shows {MAX_TABLE_ROWS} answers; --out DIR writes all", err=True)

    def write_each(self, folder: Path, form: Format) -> Mapping[str, int]:
        """Write each caller's list into *folder*, all lists or none; return the number of answers of each file.

        Raises:
            UsageError: the folder is not empty.
        """
        form = Format.CSV if form is Format.TABLE else form
        counts = self.counts()
        with _all_or_nothing(folder) as draft:
            for caller in counts:
                with (draft / f"{caller}.{form}").open("x", encoding="utf-8", newline="") as file:
                    _write(file, form, self._rows(caller))
        return {str(folder / f"{caller}.{form}"): count for caller, count in counts.items()}

    def _rows(self, caller: str | None = None, limit: int = -1) -> Iterator[tuple[Any, ...]]:
        query = 'SELECT * FROM answer WHERE :caller IS NULL OR caller = :caller ORDER BY caller, "index" LIMIT :limit'
        return iter(self._database.execute(query, {"caller": caller, "limit": limit}))


@contextlib.contextmanager
def _all_or_nothing(folder: Path) -> Iterator[Path]:
    """Yield a folder that replaces *folder* once the block ends without an error.

    It must be empty: another recall's lists must not be sent with these.
    """
    output.check_new_folder(folder, "--out")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as beside:
        draft = Path(beside, "draft")
        draft.mkdir()
        yield draft
        draft.replace(folder)


def _write(file: IO[str], form: Format, rows: Iterator[Sequence[Any]]) -> None:
    if form is Format.CSV:
        csv.writer(file, lineterminator="\n").writerows([*map(spreadsheet_cell, row)] for row in chain([COLUMNS], rows))
        return
    separator = "[\n"
    for row in rows:
        file.write(separator + visible_json(json.dumps(dict(zip(COLUMNS, row, strict=True)), ensure_ascii=False)))
        separator = ",\n"
    file.write("[]\n" if separator == "[\n" else "\n]\n")
