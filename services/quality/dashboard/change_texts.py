"""Texts of a catalogue change: names in place of slugs and fields, and values as the page's language writes them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from estelam.catalogue.changes import Change
from estelam.catalogue.model import Catalogue, Method, Party, Service
from estelam.presentation.formats import NONE
from quality.report.i18n import Localizer

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBERED = ("grants", "agreements", "denied")
"""Kinds of records that are known by their number rather than by a name."""
_PARTIES = ("consumer", "provider", "party", "member_of")


@dataclass(frozen=True, slots=True)
class ChangeTexts:
    """Words changes by the names of *catalogue*; a slug that it no longer has stays as it is."""

    catalogue: Catalogue
    messages: Mapping[str, str]
    l10n: Localizer

    def title(self, change: Change) -> str:
        """Return what *change* is about: the record's own name or, of an access, its consumer, service and method."""
        record = change.after or change.before or {}
        if "fa" in record and "en" in record:
            return str(record[self.l10n.language])
        names = [self._value(name, record[name]) for name in ("consumer", "service", "party") if name in record]
        if method := record.get("method"):
            service = self.catalogue.service(record["service"])
            found = service.method(method) if service else None
            names.append(self._named(found) if found else method)
        return " · ".join(names)

    def sentence(self, change: Change) -> str:
        """Return what became of the record: its kind, its title, and whether it was added, changed or withdrawn."""
        kind, title = self.messages[f"kind_{change.record.kind}"], _isolated(self.title(change))
        if change.record.kind in _NUMBERED:
            title = f"{_isolated(change.record.key)} ({title})"
        return self.messages[f"change_{change.action}"].format(kind=kind, title=title)

    def details(self, change: Change) -> list[str]:
        """Return a sentence for each value that differs: its name, and what it was before and is after."""
        return [
            self._detail(self._name(path), self._value(path[-1], before), self._value(path[-1], after))
            for path, before, after in change.differences
        ]

    def _detail(self, name: str, before: str, after: str) -> str:
        key = "value_set" if before == NONE else "value_removed" if after == NONE else "value_changed"
        return self.messages[key].format(name=name, before=_isolated(before), after=_isolated(after))

    def ledger(self, service: str) -> str:
        """Return the name of the service that keeps a ledger."""
        return self._value("service", service)

    def _name(self, path: tuple[str, ...]) -> str:
        parts = [
            self.l10n.count(int(part) + 1) if part.isdecimal() else self.messages[f"field_{part}"] for part in path
        ]
        return " · ".join(parts)

    def _value(self, name: str, value: Any) -> str:
        if value is None:
            return NONE
        if isinstance(value, bool):
            return self.messages[f"value_{str(value).lower()}"]
        if isinstance(value, int | float):
            return self.l10n.number(value, 3)
        text = str(value)
        if _DAY.fullmatch(text):
            return self.l10n.day(date.fromisoformat(text))
        named: Party | Service | None = None
        if name in _PARTIES:
            named = self.catalogue.party(text)
        elif name == "service":
            named = self.catalogue.service(text)
        return self._named(named) if named else text

    def _named(self, thing: Party | Service | Method) -> str:
        return thing.fa if self.l10n.persian else thing.en


def _isolated(text: str) -> str:
    """*text* within a line of either direction."""
    return f"\u2068{text}\u2069"
