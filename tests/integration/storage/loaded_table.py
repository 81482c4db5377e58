"""The facts of one service, and loads into them."""

import csv
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Table, select

from estelam.core.clock import Clock
from estelam.core.parties import Parties
from estelam.loading.feed import Declaration, Feed, LoadResult, Policy
from estelam.loading.load import load
from estelam.storage import coverage
from estelam.storage.coverage import Coverage
from estelam.storage.facts import former_subject_table, load_table
from estelam.storage.store import AccessMode, Store
from judiciary.repository import case_table

ABSENT = {"sayad_id", "beneficiary_name"}
"""Columns that the files lack, unless others are named."""
START = datetime(2026, 1, 1, tzinfo=UTC)
CIVIL = "CIVIL,2024-05-01,2024-05-01T09:30:00+03:30"
FIRST = f"1,{CIVIL},700,9990000050,DRAWER"
SECOND = f"2,{CIVIL},701,9990000069,DRAWER"
THIRD = f"3,{CIVIL},,9990000018,"
FOURTH = f"4,{CIVIL},702,,"
WHOLE = (FIRST, f"1,{CIVIL},700,99000237578,HOLDER", SECOND, THIRD)
"""Three cases with four parties."""


@dataclass
class LoadedTable:
    """The facts of one service, and loads into them."""

    url: str
    folder: Path
    hours: int = 0
    feeds: set[str] = field(default_factory=set)
    """The feeds of all files so far, which coverage needs unless a policy says otherwise."""

    def load(
        self,
        kind: Feed,
        /,
        *rows: str,
        policy: Mapping[str, Any] | None = None,
        form: Callable[[bytes], bytes] = bytes,
        absent: Collection[str] = ABSENT,
        **declared: Any,
    ) -> LoadResult:
        """Load *rows* as a file of changes that replace the parties of their cases, cut an hour after the last one.

        *form* brings its content into another form.
        """
        self.hours += 1
        path = self.folder / "rows.csv"
        header = ",".join(name for name in kind.columns if name not in absent)
        path.write_bytes(form("\n".join([header, *rows, ""]).encode()))
        what: dict[str, Any] = {
            "feed": kind.name,
            "cut_at": START + timedelta(hours=self.hours),
            "whole": kind.full_snapshot,
        }
        if kind.is_dated:
            what["parties"] = Parties.REPLACED
        self.feeds.add(declared.get("feed", kind.name))
        allowed: dict[str, Any] = {"required_feeds": tuple(sorted(self.feeds)), "change_limit": 1}
        with closing(Store(self.url, facts=AccessMode.WRITE)) as store:
            return load(
                store,
                kind,
                path,
                declared=Declaration(**(what | declared)),
                policy=Policy(**(allowed | dict(policy or {}))),
                rejects=self.folder / "rejects.csv",
                clock=Clock(),
                progress=lambda _bytes: None,
            )

    def rows(self, table: Table, *columns: str) -> set[tuple[Any, ...]]:
        with closing(Store(self.url)) as store, store.transaction() as connection:
            found = connection.execute(select(*(table.c[name] for name in columns))).all()
        assert len(found) == len(set(found))
        return {tuple(row) for row in found}

    def changed(self) -> set[tuple[Any, ...]]:
        """Return each party of each case with the number of the load that changed it last."""
        return self.rows(case_table, "case_number", "national_id", "load_number")

    def former(self) -> set[tuple[Any, ...]]:
        return self.rows(former_subject_table, "load_number", "kind", "value")

    def loads(self) -> list[Any]:
        """Return every column of every load, in order."""
        with closing(Store(self.url)) as store, store.transaction() as connection:
            return list(connection.execute(select(load_table).order_by(load_table.c.number)))

    def coverage(self) -> Coverage | None:
        with closing(Store(self.url)) as store, store.transaction() as connection:
            return coverage.read_coverage(connection)

    def rejects(self) -> Sequence[str]:
        """Return row, line, column and reason of each rejected row."""
        with (self.folder / "rejects.csv").open(encoding="utf-8", newline="") as file:
            return [",".join(row[:4]) for row in csv.reader(file)][1:]
