"""The test vectors of `testdata/`, which programs in other languages pass too."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message_factory import GetMessageClass

from conformance import contract
from conformance.case import Step
from estelam.core import validation
from estelam.core.contract import find_method
from estelam.core.keys import verifying_keys
from estelam.core.note_keys import NoteKey
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as cases
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.receipts import checkpoint
from estelam.receipts.problems import InvalidReceipt
from estelam.receipts.receipt import Verifier, canonical
from estelam.rest import json_body
from tools.commands import testdata

DATA: dict[str, Any] = {path.stem: json.loads(path.read_text("utf-8")) for path in testdata.FOLDER.glob("*.json")}
HOLDERS: dict[str, Any] = {
    "serial": notes.CheckNoteRequest,
    "national_id": cases.CheckByNationalIdRequest,
    "tracking_id": cases.CheckByTrackingIdRequest,
    "executive_agency_id": notes.GetNotePartiesRequest,
}


def test_files_are_current() -> None:
    """The command writes the committed files again, byte for byte."""
    committed = {path.name: path.read_text("utf-8") for path in testdata.FOLDER.glob("*.json")}

    assert testdata.files() == committed


def test_identifiers() -> None:
    """Each identifier violates the stated rule, or none."""
    stated, found = [], []
    for each in DATA["identifiers"]["identifiers"]:
        violations = validation.violations(HOLDERS[each["field"]](**{each["field"]: each["value"]}))
        stated.append((each["about"], [each["rule"]] if each["rule"] else []))
        found.append((each["about"], [rule.rule for rule in violations if rule.field == each["field"]]))

    assert stated == found


@pytest.mark.parametrize("vector", DATA["requests"]["requests"], ids=lambda each: each["name"])
def test_requests(vector: dict[str, Any]) -> None:
    """JSON and bytes are the same request, for the service, its JSON face and the conformance kit."""
    kind = GetMessageClass(find_method(vector["method"]).input_type)
    parsed = json_body.from_json(kind, json.dumps(vector["json"]).encode())
    step = Step(call=vector["method"], request=vector["json"])

    assert base64.b64decode(vector["bytes"]) == canonical(parsed) == contract.encode(step, f"/{vector['method']}")


def test_receipts(tmp_path: Path) -> None:
    """A genuine receipt proves its answer, and a spoiled one nothing."""
    certificate = tmp_path / "receipts.crt"
    certificate.write_text(DATA["receipts"]["certificate"], "ascii")
    verifier = Verifier(verifying_keys([certificate]))
    stated, found = [], []
    for vector in DATA["receipts"]["receipts"]:
        described = find_method(vector["method"])
        request, reply = (
            GetMessageClass(kind).FromString(base64.b64decode(vector[name]))
            for name, kind in (("request", described.input_type), ("reply", described.output_type))
        )
        try:
            verifier.verify(vector["method"], request, reply)
            valid = True
        except InvalidReceipt:
            valid = False
        stated.append((vector["name"], vector["valid"]))
        found.append((vector["name"], valid))

    assert stated == found


def test_checkpoints(tmp_path: Path) -> None:
    """A genuine checkpoint is signed by the key, and a spoiled one is not."""
    certificate = tmp_path / "receipts.crt"
    certificate.write_text(DATA["receipts"]["certificate"], "ascii")
    keys = verifying_keys([certificate])
    found = []
    for vector in DATA["checkpoints"]["checkpoints"]:
        try:
            checkpoint.verify(vector["note"], keys)
            found.append(True)
        except InvalidReceipt:
            found.append(False)
    (key,) = keys.values()
    origin = checkpoint.origin_of("promissory", DATA["receipts"]["organization"])

    assert [vector["valid"] for vector in DATA["checkpoints"]["checkpoints"]] == found
    assert DATA["checkpoints"]["verifier_key"] == str(NoteKey(origin, key.public))
