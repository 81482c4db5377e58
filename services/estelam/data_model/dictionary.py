"""The data dictionary as rows and as CSV: one bilingual row for each field of each contract."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from estelam.core.escape import spreadsheet_cell
from estelam.data_model.json_schema import json_name
from estelam.data_model.model import Field, Message, Model, sensitivity_levels


@dataclass(frozen=True, slots=True)
class RegistryLabel:
    """A base registry and its custodian, in Persian and in English."""

    fa: str
    en: str
    custodian_fa: str = ""
    custodian_en: str = ""

    @property
    def with_custodian_fa(self) -> str:
        """The name and, if it is known, the custodian's, in Persian."""
        return f"{self.fa} ({self.custodian_fa})" if self.custodian_fa else self.fa

    @property
    def with_custodian_en(self) -> str:
        """The name and, if it is known, the custodian's, in English."""
        return f"{self.en} ({self.custodian_en})" if self.custodian_en else self.en


@dataclass(frozen=True, slots=True)
class Row:
    """One field of the dictionary; the attributes are the columns of the CSV file."""

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
    example: str


def rows(model: Model, registries: Mapping[str, RegistryLabel]) -> Iterator[Row]:
    """Yield a row for each field of *model*; a registry without a label is shown by its slug."""
    for message, field in model.fields():
        yield _row(message, field, registries)


def to_csv(rows: Iterable[Row]) -> str:
    """Return *rows* as CSV (RFC 4180) with a UTF-8 byte order mark, which spreadsheets need to detect the encoding."""
    out = io.StringIO(newline="")
    out.write("\ufeff")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(Row.__dataclass_fields__)
    writer.writerows([spreadsheet_cell(getattr(row, name)) for name in Row.__dataclass_fields__] for row in rows)
    return out.getvalue()


def example_text(field: Field) -> str:
    """Return the example of *field*, a text as it is and other values as JSON; empty if it has none."""
    value = field.example
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _row(message: Message, field: Field, registries: Mapping[str, RegistryLabel]) -> Row:
    doc, level = field.doc, sensitivity_levels()[field.doc.sensitivity]
    labels = [registries.get(slug, RegistryLabel(slug, slug)) for slug in doc.registries]
    return Row(
        field=doc.full_name,
        message=message.doc.full_name,
        name=doc.name,
        json_name=json_name(doc.name),
        type=f"{'repeated ' if field.repeated else ''}{field.type_name}",
        fa=doc.fa,
        meaning_fa=doc.meaning_fa,
        meaning_en=doc.meaning_en,
        registries=" ".join(doc.registries),
        registries_fa="؛ ".join(label.with_custodian_fa for label in labels),
        registries_en="; ".join(label.with_custodian_en for label in labels),
        sensitivity=level.name.removeprefix("SENSITIVITY_"),
        sensitivity_fa=level.fa,
        rules=field.rule_names,
        example=example_text(field),
    )
