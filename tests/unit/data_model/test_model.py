"""The data reference model: nothing goes undescribed, nothing is described twice, every registry is one of R5's."""

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


def test_every_field_on_the_wire_is_in_the_model() -> None:
    there = {
        f"{file.package}.{message.name}.{field.name}"
        for file in descriptors.files()
        if file.name != descriptors.MODEL_FILE
        for message in file.message_type
        for field in message.field
    }

    assert there == {field.doc.full_name for field in FIELDS}


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.doc.full_name)
def test_every_field_has_a_name_and_a_definition_in_both_languages_and_a_sensitivity(field: Field) -> None:
    assert PERSIAN.search(field.doc.fa)
    assert PERSIAN.search(field.doc.meaning_fa)
    assert LATIN.match(field.doc.meaning_en)
    assert field.doc.sensitivity in sensitivity_levels()


def test_every_message_enum_value_and_method_has_its_name_in_persian_and_its_meaning_in_english() -> None:
    described: list[Message | Enum | Method] = [*MODEL.messages, *MODEL.enums, *MODEL.methods]
    told = [found.doc for found in described]
    told += [value for enum in MODEL.enums for value, _ in enum.values] + list(sensitivity_levels().values())

    assert [one.full_name for one in told if not PERSIAN.search(one.fa) or not LATIN.match(one.meaning_en)] == []


def test_every_registry_is_one_of_the_catalogues() -> None:
    known = {registry.slug for registry in read_catalogue(ROOT / "catalogue").registries}
    named = {slug for field in FIELDS for slug in field.doc.registries}

    assert {"natural-person-identity", "legal-person-identity", "national-addressing"} <= named
    assert named <= known


def test_no_definition_in_persian_is_written_twice() -> None:
    text = "".join(path.read_text("utf-8") for path in PROTOS.rglob("*.proto"))
    said = re.findall(r'meaning_fa:?\s*=?\s*"([^"]+)"', text)

    assert len(said) == len(set(said))


def test_a_field_of_the_same_meaning_takes_the_words_of_the_other() -> None:
    by_name = {field.doc.full_name: field for field in FIELDS}
    serial, same = (
        by_name[f"estelam.{name}Request.serial"] for name in ("promissory.v1.CheckNote", "setad.v1.VerifyNote")
    )

    assert same.doc.fa == serial.doc.fa
    assert same.doc.meaning_fa == serial.doc.meaning_fa
    assert same.doc.sensitivity == serial.doc.sensitivity == pb.SENSITIVITY_PERSONAL


def test_what_names_a_person_or_a_note_is_personal_wherever_it_stands() -> None:
    ids = ("serial", "obligor_id", "beneficiary_id", "national_id", "tracking_id", "id", "full_name", "address")

    found = {field.doc.full_name: field.doc.sensitivity for field in FIELDS if field.doc.name in ids}
    assert set(found.values()) == {pb.SENSITIVITY_PERSONAL}
    assert len(found) == 12
