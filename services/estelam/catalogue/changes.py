"""What has changed from one catalogue to the next, as notices: each says what a record was and what it is now."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from estelam.catalogue.model import Catalogue

# What bears on who may ask what, and for how long yet; names and registries are only described.
KEY_FIELDS: Mapping[str, str] = {
    "parties": "slug",
    "services": "slug",
    "grants": "id",
    "agreements": "id",
    "denied": "certificate",
}


class RecordKey(NamedTuple):
    """Which record it is."""

    kind: str
    key: str


Snapshot = Mapping[RecordKey, Mapping[str, Any]]
"""Every record that notices are given of, without what is left empty."""


@dataclass(frozen=True, slots=True)
class Change:
    """One record that is new, is not what it was, or is gone."""

    record: RecordKey
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None

    @property
    def action(self) -> str:
        """What has become of it."""
        if self.before is None:
            return "added"
        return "changed" if self.after is not None else "withdrawn"

    @property
    def details(self) -> list[str]:
        """What is different in a changed record, value by value; a new one and one that is gone are so as a whole."""
        if self.before is None or self.after is None:
            return []
        before, after = dict(_values(self.before)), dict(_values(self.after))
        keys = [key for key in before | after if before.get(key) != after.get(key)]
        return [f"{key}: {_told(before.get(key))} → {_told(after.get(key))}" for key in keys]


def snapshot(catalogue: Catalogue) -> Snapshot:
    """All of *catalogue* that notices are given of."""
    return {
        RecordKey(kind, getattr(record, key)): record.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        for kind, key in KEY_FIELDS.items()
        for record in getattr(catalogue, kind)
        if kind != "parties" or record.legal_id or record.member_of
    }


def changes(before: Snapshot, after: Snapshot) -> list[Change]:
    """What is different: new and changed records in their order, then those that are gone."""
    found = [Change(name, before.get(name), record) for name, record in after.items() if before.get(name) != record]
    return found + [Change(name, record, None) for name, record in before.items() if name not in after]


def to_notice(change: Change) -> str:
    """*change* as the ledger keeps it."""
    told = {"kind": change.record.kind, "name": change.record.key, "before": change.before, "after": change.after}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def from_notice(notice: str) -> Change:
    """What a *notice* of the ledger says."""
    told = json.loads(notice)
    return Change(RecordKey(told["kind"], told["name"]), told["before"], told["after"])


def recorded_snapshot(noted: Iterable[str]) -> Snapshot:
    """What the records are after all notices, oldest first."""
    found: dict[RecordKey, Mapping[str, Any]] = {}
    for change in map(from_notice, noted):
        if change.after is None:
            found.pop(change.record, None)
        else:
            found[change.record] = change.after
    return found


def _values(record: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of *record*, by its dotted place."""
    if not isinstance(record, Mapping | list):
        yield key, record
        return
    items = record.items() if isinstance(record, Mapping) else enumerate(record)
    for name, value in items:
        yield from _values(value, f"{key}.{name}" if key else str(name))


def _told(value: Any) -> str:
    return "nothing" if value is None else str(value)
