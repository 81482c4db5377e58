"""Reads the fixtures."""

import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from .access import Grant
from .quota import Quota


@dataclass(frozen=True)
class Note:
    """A promissory note."""

    state: str
    obligor_id: str
    obligor_name: str
    obligor_address: str
    obligor_postal_code: str
    beneficiary_id: str
    """The first beneficiary; only the present holder is compared."""
    holder_id: str
    holder_name: str
    holder_address: str
    holder_postal_code: str
    amount_rials: int
    remaining_rials: int


@dataclass(frozen=True)
class CaseRow:
    """One party of a court case, or a case without a known party."""

    case_number: str
    kind: str
    filed_on: date
    registered_at: datetime
    """When it was registered, which is not used."""
    tracking_id: str
    sayad_id: str
    national_id: str
    role: str


@dataclass(frozen=True)
class Coverage:
    """What the court cases cover."""

    since: date
    through: datetime


@dataclass(frozen=True)
class Fixtures:
    """All fixtures of a service."""

    notes: dict[str, Note]
    agencies: frozenset[str]
    cases: tuple[CaseRow, ...]
    coverage: Coverage
    max_staleness: timedelta
    window: timedelta
    grants: tuple[Grant, ...]
    denied: frozenset[str]

    @classmethod
    def read(cls, folder: Path) -> "Fixtures":
        """Read what `estelam conformance fixtures` wrote into *folder*."""
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))

        def rows(name: str) -> list[dict[str, str]]:
            return list(json.loads((folder / "data" / f"{name}.json").read_text("utf-8")))

        return cls(
            notes={row["serial"]: to_note(row) for row in rows("notes")},
            agencies=frozenset(row["agency_id"] for row in rows("agencies")),
            cases=tuple(to_case(row) for row in rows("cases")),
            coverage=Coverage(date.fromisoformat(manifest["since"]), datetime.fromisoformat(manifest["as_of"])),
            max_staleness=timedelta(seconds=manifest["max_staleness_seconds"]),
            window=timedelta(seconds=manifest["window_seconds"]),
            grants=tuple(_grant(row) for row in rows("grants")),
            denied=frozenset(row["key_sha256"] for row in rows("denied")),
        )


def to_note(row: dict[str, str]) -> Note:
    """Return the note in a row of `notes`."""
    numbers = ("amount_rials", "remaining_rials")
    words = {name: row[name] for name in Note.__annotations__ if name not in numbers}
    return Note(**words, amount_rials=int(row["amount_rials"]), remaining_rials=int(row["remaining_rials"]))


def to_case(row: dict[str, str]) -> CaseRow:
    """Return the party of a case in a row of `cases`."""
    return CaseRow(
        case_number=row["case_number"],
        kind=row["kind"],
        filed_on=date.fromisoformat(row["filed_on"]),
        registered_at=datetime.fromisoformat(row["registered_at"]),
        tracking_id=row["tracking_id"],
        sayad_id=row["sayad_id"],
        national_id=row["national_id"],
        role=row["role"],
    )


def _grant(row: dict[str, str]) -> Grant:
    return Grant(
        organization=row["organization_id"],
        method=row["method"],
        since=date.fromisoformat(row["since"]),
        until=date.fromisoformat(row["until"]) if row["until"] else None,
        quota=Quota(float(row["rate"]), int(row["burst"]), int(row["miss_cost"])),
        required_metadata=tuple(row["required_metadata"].split()),
    )
