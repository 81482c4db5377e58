"""The data dictionary as rows: one for each field of each contract, in both languages; and as CSV."""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from estelam.data_model.json_schema import json_name
from estelam.data_model.model import Field, Message, Model, sensitivity_levels

# A spreadsheet would take such a beginning for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class RegistryLabel:
    """A base registry and its custodian, in Persian and in English."""

    fa: str
    en: str


@dataclass(frozen=True, slots=True)
class Row:
    """One field, with all that the dictionary says of it."""

    field: str
    message: str
    name: str
    json_name: str
    type: str
    fa: str
    meaning_fa: str
    meaning_en: str
    registries: str
    registries_fa: str
    registries_en: str
    sensitivity: str
    sensitivity_fa: str
    rules: str


def rows(model: Model, registries: Mapping[str, RegistryLabel]) -> Iterator[Row]:
    """A row for each field of *model*; a registry that *registries* doesn't know goes by its slug."""
    for message, field in model.fields():
        yield _row(message, field, registries)


def to_csv(found: list[Row]) -> str:
    """*found* as RFC 4180 has it, after a mark by which spreadsheets know UTF-8."""
    out = io.StringIO(newline="")
    out.write("\ufeff")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(Row.__dataclass_fields__)
    writer.writerows([_plain(getattr(row, name)) for name in Row.__dataclass_fields__] for row in found)
    return out.getvalue()


def _row(message: Message, field: Field, registries: Mapping[str, RegistryLabel]) -> Row:
    told, level = field.doc, sensitivity_levels()[field.doc.sensitivity]
    known = [registries.get(slug, RegistryLabel(slug, slug)) for slug in told.registries]
    return Row(
        field=told.full_name,
        message=message.doc.full_name,
        name=told.name,
        json_name=json_name(told.name),
        type=f"{'repeated ' if field.repeated else ''}{field.type_name}",
        fa=told.fa,
        meaning_fa=told.meaning_fa,
        meaning_en=told.meaning_en,
        registries=" ".join(told.registries),
        registries_fa="؛ ".join(registry.fa for registry in known),
        registries_en="; ".join(registry.en for registry in known),
        sensitivity=level.name.removeprefix("SENSITIVITY_"),
        sensitivity_fa=level.fa,
        rules=field.rule_names,
    )


def _plain(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value
