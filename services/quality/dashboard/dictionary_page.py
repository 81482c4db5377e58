"""The data dictionary as the dashboard shows it: the messages and enums that match a search and the filters."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from estelam.core.normalize import normalize_identifier, normalize_name
from estelam.data_model.dictionary import RegistryLabel, Row, rows
from estelam.data_model.model import Documentation, Enum, Model, sensitivity_levels

_PREFIX = "SENSITIVITY_"


@dataclass(frozen=True, slots=True)
class Filters:
    """What is looked for; an empty text matches all."""

    search: str = ""
    level: str = ""
    """The name of a sensitivity, as OPEN."""
    registry: str = ""
    """The slug of a base registry."""


@dataclass(frozen=True, slots=True)
class Section:
    """A message with those of its fields that match, or an enum with those of its values."""

    doc: Documentation
    fields: Sequence[Row] = ()
    values: Sequence[tuple[Documentation, int]] = ()


@dataclass(frozen=True, slots=True)
class DictionaryPage:
    """What the page shows, and what it can be filtered by."""

    sections: Sequence[Section]
    levels: Mapping[str, Documentation]
    registries: Mapping[str, RegistryLabel]
    linked: frozenset[str]
    """The full names of the sections, to which types link."""

    @classmethod
    def of(cls, model: Model, labels: Mapping[str, RegistryLabel], filters: Filters) -> "DictionaryPage":
        """Return the page of *model* with the labels of its registries and what *filters* match."""
        levels = {level.name.removeprefix(_PREFIX): level for _, level in sorted(sensitivity_levels().items())}
        slugs = sorted({slug for _, field in model.fields() for slug in field.doc.registries})
        fields = [row for row in rows(model, labels) if _matches(row, model, filters)]
        sections = [
            Section(message.doc, fields=mine)
            for message in model.messages
            if (mine := [row for row in fields if row.message == message.doc.full_name])
        ]
        if not (filters.level or filters.registry):  # values of enums have neither
            sections += [Section(enum.doc, values=found) for enum in model.enums if (found := _values(enum, filters))]
        known = {slug: labels.get(slug, RegistryLabel(slug, slug)) for slug in slugs}
        return cls(sections, levels, known, frozenset(section.doc.full_name for section in sections))


def _matches(row: Row, model: Model, filters: Filters) -> bool:
    if (filters.level and row.sensitivity != filters.level) or (
        filters.registry and filters.registry not in row.registries.split()
    ):
        return False
    message = model.message(row.message)
    texts = [row.field, row.fa, row.meaning_fa, row.meaning_en, row.rules, message.doc.fa if message else ""]
    return _has(texts, filters.search)


def _values(enum: Enum, filters: Filters) -> list[tuple[Documentation, int]]:
    return [
        (doc, number)
        for doc, number in enum.values
        if _has([enum.doc.full_name, enum.doc.fa, doc.name, doc.fa, doc.meaning_fa, doc.meaning_en], filters.search)
    ]


def _has(texts: Iterable[str], search: str) -> bool:
    """Return whether *texts* have every word of *search*, with letters and digits of any keyboard."""
    text = _folded(" ".join(texts))
    return all(word in text for word in _folded(search).split())


def _folded(text: str) -> str:
    return normalize_name(" ".join(map(normalize_identifier, text.split()))).casefold()
