"""The numbers about which `estelam dev --sandbox` always answers alike: the list, and the rows that it loads for them.

Most results come from data: a note or a case that is there or not, or the declared coverage. `sandbox_service` does the
rest.
"""

import csv
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from development.sandbox import Sandbox, load_file
from estelam.core.errors import Reason
from estelam.core.exceptions import ServerError
from estelam.core.model_files import load_toml
from estelam.core.parties import Parties
from estelam.loading.feed import Feed
from judiciary import feeds as judiciary_load
from judiciary.repository import Kind, Role
from promissory import feeds as promissory_load
from promissory.repository import State

FILE = Path(__file__).with_suffix(".toml")
TURN_SECONDS = 30
"""How long the answer about an alternating number stays the same."""
FIELDS = ("serial", "national_id", "tracking_id")
"""The fields of requests that hold a number of the sandbox."""

Fault = Literal["quota-exhausted", "overload", "store-down", "provider-down", "late", "bad-receipt", "unspecified"]
"""What happens to an inquiry that no data brings about."""
Result = Literal["YES", "NO", "CHANGES", "BAD_RECEIPT", "UNSPECIFIED"] | Reason
"""How a call ends. CHANGES: YES and NO in turn; BAD_RECEIPT: YES with a receipt that proves nothing."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NoteFacts(_Model):
    """The facts that all notes of the sandbox share, and an agency that is a member of Setad."""

    obligor_id: str
    beneficiary_id: str
    amount_rials: int
    executive_agency_id: str


class SandboxNumber(_Model):
    """A serial, a national id and a tracking id with one result."""

    name: str
    en: str
    fa: str
    serial: str = ""
    national_id: str = ""
    tracking_id: str = ""
    data: Literal["present", "other", "alternating", "absent"]
    """What is loaded: a note or case whose answer is YES; a settled note and no case; both in turn; nothing."""
    coverage: Literal["stale", "undeclared", "unlinked"] | None = None
    """The coverage that the look-up finds declared; None: the sandbox's own."""
    fault: Fault | None = None
    fault_at_setad: Fault | None = None
    """What happens in Setad's adapter, beside what the ministry's reply brings about there."""
    result: Result
    """How each method of the two services ends."""
    verify_note: Result | None = None
    """How VerifyNote ends; None: as `result`."""


class NumberList(_Model):
    """The whole list."""

    note: NoteFacts
    number: tuple[SandboxNumber, ...]

    def by_number(self) -> Mapping[str, SandboxNumber]:
        """Return each entry by its serial, its national id and its tracking id."""
        return {value: each for each in self.number for field in FIELDS if (value := getattr(each, field))}


@cache
def read() -> NumberList:
    """Return the list that the package holds."""
    return NumberList.model_validate(load_toml(FILE, ServerError))


def is_turned(seconds: float) -> bool:
    """Return whether the alternating numbers are answered NO at a time in seconds since 1970."""
    return int(seconds // TURN_SECONDS) % 2 == 1


def load(sandbox: Sandbox, *, turned: bool) -> None:
    """Load the rows of all numbers, as files of changes that were cut now; if *turned*, those whose answer is NO."""
    for service, feed, rows, parties in (
        (sandbox.promissory(), promissory_load.NOTES, _notes(turned=turned), None),
        (sandbox.judiciary(), judiciary_load.CASES, _cases(turned=turned), Parties.REPLACED),
    ):
        path = sandbox.folder / f"sandbox-{feed.name}.csv"
        _write(path, feed, list(rows))
        load_file(service, feed, path, datetime.now(UTC), parties=parties, allow_known_content=True)


class Alternation:
    """Loads the other rows of the alternating numbers whenever their time has come."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._turned: bool | None = None

    def follow(self) -> None:
        """Load the rows of this time, unless they are loaded."""
        turned = is_turned(time.time())
        if turned is not self._turned:
            load(self._sandbox, turned=turned)
            self._turned = turned


def _notes(*, turned: bool) -> Iterator[Mapping[str, str]]:
    facts = read().note
    parties = {
        f"{side}_{name}": value
        for side, person_id, person in (
            ("obligor", facts.obligor_id, "بدهکار نمونه"),
            ("beneficiary", facts.beneficiary_id, "شرکت بازرگانی نمونه محیط آزمایش"),
            ("holder", facts.beneficiary_id, "شرکت بازرگانی نمونه محیط آزمایش"),
        )
        for name, value in (("id", person_id), ("name", person))
    }
    for each in read().number:
        if not each.serial or each.data == "absent":
            continue
        is_settled = each.data == "other" or (each.data == "alternating" and turned)
        yield parties | {
            "serial": each.serial,
            "state": State.SETTLED if is_settled else State.ISSUED,
            "amount_rials": str(facts.amount_rials),
            "remaining_rials": "0" if is_settled else str(facts.amount_rials),
            "issued_on": "2025-04-15",
            "payment_place": "بانک نمونه",
        }


def _cases(*, turned: bool) -> Iterator[Mapping[str, str]]:
    for number, each in enumerate(read().number, 1):
        if each.data in ("absent", "other"):
            continue
        is_no = each.data == "alternating" and turned
        yield {
            "case_number": f"99990000000000{number:02d}",
            "kind": Kind.CIVIL,
            "filed_on": "2025-04-15",
            "registered_at": "2025-04-15T09:30:00+03:30",
            "tracking_id": "" if is_no else each.tracking_id,
            "sayad_id": f"99990000000000{number:02d}",
            "national_id": each.national_id,
            "role": "" if not each.national_id else Role.HOLDER if is_no else Role.DRAWER,
        }


def _write(path: Path, feed: Feed, rows: Sequence[Mapping[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, feed.columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
