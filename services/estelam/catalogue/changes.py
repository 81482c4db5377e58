"""Differences between two versions of the catalogue, as notices for the ledger."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from estelam.catalogue.model import Catalogue

# The kinds of record that decide who may call what, and for how long; registries are descriptive and left out.
KEY_FIELDS: Mapping[str, str] = {
    "parties": "slug",
    "services": "slug",
    "grants": "id",
    "agreements": "id",
    "denied": "name",
}


class RecordKey(NamedTuple):
    """Identifies a record: its kind, and its key within that kind."""

    kind: str
    key: str


Snapshot = Mapping[RecordKey, Mapping[str, Any]]
"""Every record that is compared, as JSON values without the empty ones."""


@dataclass(frozen=True, slots=True)
class Change:
    """One record that was added, changed or withdrawn."""

    record: RecordKey
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None

    @property
    def action(self) -> str:
        """`added`, `changed` or `withdrawn`."""
        if self.before is None:
            return "added"
        return "changed" if self.after is not None else "withdrawn"

    @property
    def differences(self) -> list[tuple[tuple[str, ...], Any, Any]]:
        """Path, old and new value of each value that differs; empty for a record that was added or withdrawn."""
        if self.before is None or self.after is None:
            return []
        before, after = dict(_flatten(self.before)), dict(_flatten(self.after))
        return [
            (path, before.get(path), after.get(path)) for path in before | after if before.get(path) != after.get(path)
        ]

    @property
    def details(self) -> list[str]:
        """One line for each value that differs, as the catalogue's files write it."""
        return [f"{'.'.join(path)}: {_text(before)} → {_text(after)}" for path, before, after in self.differences]


def snapshot(catalogue: Catalogue) -> Snapshot:
    """Return the records of *catalogue* whose changes are recorded."""
    return {
        RecordKey(kind, getattr(record, key)): record.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        for kind, key in KEY_FIELDS.items()
        for record in getattr(catalogue, kind)
        if kind != "parties" or record.legal_id or record.member_of
    }


def changes(before: Snapshot, after: Snapshot) -> list[Change]:
    """Return the differences: added and changed records in the order of *after*, then the withdrawn ones."""
    found = [Change(key, before.get(key), record) for key, record in after.items() if before.get(key) != record]
    return found + [Change(key, record, None) for key, record in before.items() if key not in after]


def to_notice(change: Change) -> str:
    """Encode *change* as a notice, the form in which the ledger stores it."""
    notice = {"kind": change.record.kind, "name": change.record.key, "before": change.before, "after": change.after}
    return json.dumps(notice, ensure_ascii=False, separators=(",", ":"))


def from_notice(notice: str) -> Change:
    """Decode a *notice* of the ledger.

    Raises:
        ValueError, TypeError, LookupError: it is none.
    """
    decoded = json.loads(notice)
    kind, name, before, after = (decoded[part] for part in ("kind", "name", "before", "after"))
    records = isinstance(before, dict | None), isinstance(after, dict | None)
    if not all((isinstance(kind, str), isinstance(name, str), *records)):
        raise ValueError("not a notice of a change")
    return Change(RecordKey(kind, name), before, after)


def recorded_snapshot(recorded: Iterable[Change]) -> Snapshot:
    """Return the records after the *recorded* changes, which come oldest first."""
    records: dict[RecordKey, Mapping[str, Any]] = {}
    for change in recorded:
        if change.after is None:
            records.pop(change.record, None)
        else:
            records[change.record] = change.after
    return records


def _flatten(record: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every scalar of *record* with its path."""
    if not isinstance(record, Mapping | list):
        yield path, record
        return
    items = record.items() if isinstance(record, Mapping) else enumerate(record)
    for name, value in items:
        yield from _flatten(value, (*path, str(name)))


def _text(value: Any) -> str:
    return "nothing" if value is None else str(value)
