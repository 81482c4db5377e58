"""`estelam data-model export`: the page is self-contained, and the schemas match the messages."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import openapi_spec_validator
import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from google.protobuf.descriptor_pool import Default
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from typer.testing import CliRunner

from estelam.cli.root import application
from estelam.core.errors import Reason
from estelam.core.validation import violations
from estelam.data_model.model import load
from estelam.inquiry.v1 import inquiry_pb2
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.setad.v1 import note_verification_pb2 as setad
from tools.commands.generate_protos import ROOT

OPENAPI = tuple(f"openapi-{area}.json" for area in ("promissory", "judiciary", "setad", "inquiry"))
REQUEST = setad.VerifyNoteRequest(
    serial="1405662607550143",
    obligor_id="9997382919",
    beneficiary_id="99007382912",
    amount_rials=7_382_915_036,
    executive_agency_id="agency-1",
)
PARTY = notes.Party(kind=notes.PERSON_KIND_NATURAL, id="9997382919", full_name="نمونه", postal_code="9902847561")
RECEIPT = inquiry_pb2.Receipt(inquiry_id="id", entry=b"entry", inclusion_path=[b"a", b"b"])
RECEIPT.answered_at.GetCurrentTime()
RESPONSE = setad.VerifyNoteResponse(answer=inquiry_pb2.ANSWER_YES, obligor=PARTY, check_receipt=RECEIPT)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data-model") / "made" / "here"
    command = ["data-model", "export", str(folder), "--catalogue", str(ROOT / "catalogue"), "--json"]
    result = CliRunner().invoke(application(), command)
    assert result.exit_code == 0, result.output
    assert set(json.loads(result.output)) == {"index.html", "dictionary.csv", "schema.json", *OPENAPI}
    return folder


def read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def test_page_has_every_field(exported: Path) -> None:
    """The page has every field, texts in both languages and the names of the registries."""
    page = (exported / "index.html").read_text("utf-8")

    assert [field.doc.full_name for _, field in load().fields() if f'id="{field.doc.full_name}"' not in page] == []
    assert "سریال سفته" in page
    assert "the Treasury&#39;s unique id" in page
    assert "پایگاه ملی هویت اشخاص حقیقی (سازمان ثبت احوال کشور)" in page


def test_page_is_self_contained(exported: Path) -> None:
    """The page loads nothing: it has no external source, link or URL, and its policy forbids them."""
    page = (exported / "index.html").read_text("utf-8")

    assert re.findall(r"(?:src|href)=[\"'](?!#)", page) == []
    assert re.findall(r"url\((?!data:)", page) == []
    assert "default-src &#39;none&#39;" in page


def test_examples() -> None:
    """Each number, text and time has an example that the contract accepts."""
    scalar = [
        (message, field)
        for message, field in load().fields()
        if field.kind != FieldDescriptorProto.TYPE_BYTES and field.type_ref[:7] in {"", "google."}
    ]

    assert [field.doc.full_name for _, field in scalar if field.example is None] == []
    for message, field in scalar:
        kind = GetMessageClass(Default().FindMessageTypeByName(message.doc.full_name))
        example = [field.example] if field.repeated else field.example
        found = violations(ParseDict({field.doc.name: example}, kind()))
        assert [one for one in found if one.field == field.doc.name] == []


def test_csv_has_every_field(exported: Path) -> None:
    """The CSV file has one complete row for each field."""
    with (exported / "dictionary.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))

    assert [row["field"] for row in rows] == [field.doc.full_name for _, field in load().fields()]
    assert all(row["fa"] and row["meaning_fa"] and row["meaning_en"] and row["sensitivity"] for row in rows)


@pytest.mark.parametrize("message", [REQUEST, RESPONSE], ids=["request", "reply"])
def test_messages_match_the_schema(exported: Path, message: Any) -> None:
    """Valid messages match the JSON Schema."""
    schema = read_json(exported / "schema.json") | {"$ref": f"#/$defs/{message.DESCRIPTOR.full_name}"}
    jsonschema.Draft202012Validator.check_schema(schema)

    jsonschema.validate(MessageToDict(message), schema, jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "change",
    [{"serial": "12"}, {"amountRials": "0"}, {"amountRials": "-1"}, {"more": "1"}, {"obligorId": "۹۹۹۷۳۸۲۹۱۹"}],
)
def test_invalid_messages_do_not_match(exported: Path, change: dict[str, str]) -> None:
    """Messages that the contract rejects for their form do not match the JSON Schema."""
    schema = read_json(exported / "schema.json") | {"$ref": "#/$defs/estelam.setad.v1.VerifyNoteRequest"}

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(MessageToDict(REQUEST) | change, schema, jsonschema.Draft202012Validator)


def test_openapi(exported: Path) -> None:
    """The OpenAPI document of each service is valid and describes its methods with every refusal reason."""
    paths = {path for name in OPENAPI for path in read_json(exported / name)["paths"]}
    assert paths == {method.http_path for method in load().methods}
    document = read_json(exported / "openapi-setad.json")
    post = document["paths"]["/v1/notes:verify"]["post"]

    assert list(document["paths"]) == ["/v1/notes:verify"]
    assert post["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("VerifyNoteRequest")
    descriptions = " ".join(response["description"] for code, response in post["responses"].items() if code != "200")
    assert [reason for reason in Reason if reason.value not in descriptions] == []
    openapi_spec_validator.validate(document)


def test_unwritable_folder(tmp_path: Path) -> None:
    """A folder that can't be created exits 1 with one error."""
    (tmp_path / "file").write_text("")
    folder, catalogue = str(tmp_path / "file" / "below"), str(ROOT / "catalogue")
    result = CliRunner().invoke(application(), ["data-model", "export", folder, "--catalogue", catalogue, "--json"])

    assert result.exit_code == 1
    assert set(json.loads(result.output)) == {"error", "reason", "layer", "address", "fields"}
