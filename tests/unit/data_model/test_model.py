"""The data reference model: every element is documented, once, with registries of resolution 5."""

import re

import pytest

from estelam.catalogue.loader import read_catalogue
from estelam.data_model import descriptors
from estelam.data_model.model import Enum, Field, Message, Method, load, sensitivity_levels
from estelam.inquiry.v1 import data_model_pb2 as pb
from tools.commands.generate_protos import PROTOS, ROOT

MODEL = load()
FIELDS = [field for _, field in MODEL.fields()]
PERSIAN = re.compile("[\u0600-\u06ff]")
LATIN = re.compile("^[ -~]+$")


def test_model_has_every_field() -> None:
    """The model has every field of every contract."""
    in_contracts = {
        f"{file.package}.{message.name}.{field.name}"
        for file in descriptors.files()
        if file.name != descriptors.MODEL_FILE
        for message in file.message_type
        for field in message.field
    }

    assert in_contracts == {field.doc.full_name for field in FIELDS}


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.doc.full_name)
def test_field_is_documented(field: Field) -> None:
    """Every field has a Persian name, definitions in both languages and a sensitivity level."""
    assert PERSIAN.search(field.doc.fa)
    assert PERSIAN.search(field.doc.meaning_fa)
    assert LATIN.match(field.doc.meaning_en)
    assert field.doc.sensitivity in sensitivity_levels()


def test_other_elements_are_documented() -> None:
    """Every element has a Persian name and an English definition, and every value of an enum a Persian one."""
    elements: list[Message | Enum | Method] = [*MODEL.messages, *MODEL.enums, *MODEL.methods]
    docs = [element.doc for element in elements]
    values = [value for enum in MODEL.enums for value, _ in enum.values] + list(sensitivity_levels().values())
    docs += values

    assert [doc.full_name for doc in values if not PERSIAN.search(doc.meaning_fa)] == []
    assert [doc.full_name for doc in docs if not PERSIAN.search(doc.fa) or not LATIN.match(doc.meaning_en)] == []


def test_registries_exist() -> None:
    """Every registry that a field names is in the catalogue."""
    known = {registry.slug for registry in read_catalogue(ROOT / "catalogue").registries}
    named = {slug for field in FIELDS for slug in field.doc.registries}

    assert {"natural-person-identity", "legal-person-identity", "national-addressing"} <= named
    assert named <= known


def test_definitions_are_unique() -> None:
    """No Persian definition is written twice."""
    text = "".join(path.read_text("utf-8") for path in PROTOS.rglob("*.proto"))
    definitions = re.findall(r'meaning_fa:?\s*=?\s*"([^"]+)"', text)

    assert len(definitions) == len(set(definitions))


def test_same_as() -> None:
    """A field with `same_as` has the name, definition and sensitivity of the field that it names."""
    by_name = {field.doc.full_name: field for field in FIELDS}
    serial, alias = (
        by_name[f"estelam.{name}Request.serial"] for name in ("promissory.v1.CheckNote", "setad.v1.VerifyNote")
    )

    assert alias.doc.fa == serial.doc.fa
    assert alias.doc.meaning_fa == serial.doc.meaning_fa
    assert alias.doc.sensitivity == serial.doc.sensitivity == pb.SENSITIVITY_PERSONAL


def test_identifiers_are_personal() -> None:
    """Every field that identifies a person or a note is SENSITIVITY_PERSONAL."""
    ids = ("serial", "obligor_id", "beneficiary_id", "national_id", "tracking_id", "id", "full_name", "address")

    found = {field.doc.full_name: field.doc.sensitivity for field in FIELDS if field.doc.name in ids}
    assert set(found.values()) == {pb.SENSITIVITY_PERSONAL}
    assert len(found) == 12
