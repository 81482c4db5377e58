"""The REST API: the same answers as gRPC, and refusals as problem details."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from google.protobuf import json_format

from development import sandbox as suite
from development.sandbox import GRANTS, Sandbox
from estelam.core.errors import ERROR_CATALOGUE, Reason
from estelam.core.keys import verifying_keys
from estelam.data_model import openapi
from estelam.receipts import receipt
from estelam.rest import problem_details
from estelam.setad.v1 import note_verification_pb2 as pb
from sataad_adapter.verification import ministry_replies
from tests.guarantees.test_4_authorization import Time
from tests.integration.setad.adapter_process import GENUINE, Adapter, https_client, https_client_named, running_adapter
from tests.support.certificates import key_sha256
from tests.support.service import RunningService


@pytest.fixture
def setad(shared: Sandbox, adapter: Adapter) -> Iterator[httpx.Client]:
    with https_client_named(shared, "setad") as setad:
        setad.base_url = httpx.URL(adapter.api)
        yield setad


def ask(setad: httpx.Client, **changed: object) -> httpx.Response:
    return setad.post("/v1/notes:verify", json=GENUINE | changed)


def test_genuine_note_is_yes(shared: Sandbox, setad: httpx.Client) -> None:
    """A genuine note is answered YES with its parties and valid receipts."""
    response = ask(setad)
    reply = json_format.Parse(response.content, pb.VerifyNoteResponse())
    request = json_format.ParseDict(GENUINE, pb.VerifyNoteRequest())
    keys = verifying_keys(shared.setad().provider_certificates)

    assert (200, "application/json") == (response.status_code, response.headers["content-type"])
    assert ("ANSWER_YES", "9990000018") == (response.json()["answer"], response.json()["obligor"]["id"])
    for proof in ministry_replies(request, reply):
        receipt.verify(*proof, keys)


def test_other_note_is_no(setad: httpx.Client) -> None:
    """A note with a differing fact is answered NO without parties."""
    response = ask(setad, amountRials="1")

    assert (200, "ANSWER_NO") == (response.status_code, response.json()["answer"])
    assert "obligor" not in response.json()


def test_response_headers(setad: httpx.Client) -> None:
    """The response has the inquiry's id, the caller's own id and the quota as headers."""
    headers = setad.post("/v1/notes:verify", json=GENUINE, headers={"x-inquiry-id": "mine-1"}).headers

    assert "mine-1" == headers["x-inquiry-id"]
    assert {"estelam-inquiry-id", "ratelimit", "ratelimit-policy"} <= headers.keys()


def test_client_certificate_is_required(shared: Sandbox, adapter: Adapter, tmp_path: Path) -> None:
    """A client without a certificate of the trusted CA can't connect."""
    foreign = suite.create_sandbox(tmp_path / "other").pki / "setad.crt"

    for certificate in (None, foreign):
        with https_client(shared.pki / "ca.crt", certificate) as rejected, pytest.raises(httpx.TransportError):
            rejected.post(f"{adapter.api}/v1/notes:verify", json=GENUINE)


def test_unauthorized_caller_is_refused_first(shared: Sandbox, adapter: Adapter) -> None:
    """An unauthorized caller is refused before its body is parsed."""
    with https_client_named(shared, "stranger") as stranger:
        response = stranger.post(
            f"{adapter.api}/v1/notes:verify", content=b"{", headers={"content-type": "application/json"}
        )

    assert (403, "NOT_GRANTED") == (response.status_code, response.json()["reason"])
    assert problem_details.MEDIA_TYPE == response.headers["content-type"]


BODIES: list[tuple[bytes, Reason]] = [
    (b"", Reason.REQUEST_MALFORMED),
    (b"[]", Reason.REQUEST_MALFORMED),
    (b'{"serial": 1}', Reason.REQUEST_MALFORMED),
    (b'{"serial": "1", "serial": "2"}', Reason.REQUEST_MALFORMED),
    (b"\xff\xfe", Reason.REQUEST_MALFORMED),
    (b'{"serial": "\\ud800"}', Reason.REQUEST_MALFORMED),
    (b'{"amountRials": 1e999}', Reason.REQUEST_MALFORMED),
    (b"[" * 8000, Reason.REQUEST_MALFORMED),
    (b'{"amountRials": ' + b"9" * 6000 + b"}", Reason.REQUEST_MALFORMED),
    (b'{"branch": "1"}', Reason.FIELD_UNKNOWN),
    (b"{}", Reason.FIELD_INVALID),
    (json.dumps(GENUINE | {"serial": "۱۴۰۴۰۰۰۰۰۰۰۰۰۰۱۷"}).encode(), Reason.FIELD_INVALID),
    (json.dumps({"serial": "1" * 10_000}).encode(), Reason.REQUEST_TOO_LARGE),
    (json.dumps({"serial": "1" * 5000}).encode(), Reason.REQUEST_TOO_LARGE),
    (json.dumps(GENUINE | {"executiveAgencyId": "NOBODY"}).encode(), Reason.AGENCY_NOT_MEMBER),
]


@pytest.mark.parametrize(("body", "reason"), BODIES)
def test_bad_body_is_a_problem(setad: httpx.Client, body: bytes, reason: Reason) -> None:
    """A bad body is answered with problem details of a constant reason and without an answer."""
    response = setad.post("/v1/notes:verify", content=body, headers={"content-type": "application/json"})

    assert (400, reason) == (response.status_code, response.json()["reason"])
    assert "answer" not in response.json()
    assert "estelam-inquiry-id" in response.headers


MISTAKES: list[tuple[dict[str, str], list[str]]] = [
    (GENUINE | {"beneficiaryId": "1"}, ["beneficiaryId"]),
    ({**GENUINE, "beneficiaryId": "", "serial": "1"}, ["serial", "beneficiaryId"]),
    (
        {"serial": "1404000000000017", "obligor_id": "1"},
        ["obligor_id", "beneficiaryId", "amountRials", "executiveAgencyId"],
    ),
    (GENUINE | {"executiveAgencyId": "setad-0001"}, ["executiveAgencyId"]),
]


@pytest.mark.parametrize(("body", "keys"), MISTAKES)
def test_violations_name_the_callers_keys(setad: httpx.Client, body: dict[str, str], keys: list[str]) -> None:
    """A violation names the key that the caller wrote, or would have."""
    violations = setad.post("/v1/notes:verify", json=body).json()["violations"]

    assert keys == [found["field"] for found in violations]


MALFORMED: list[tuple[str, Reason, list[tuple[str, str]]]] = [
    ('{"branch": "1", "note": {}}', Reason.FIELD_UNKNOWN, [("branch", "field.unknown"), ("note", "field.unknown")]),
    ('{"amountRials": 1.5}', Reason.REQUEST_MALFORMED, [("amountRials", "field.digits")]),
    ('{"amount_rials": "25 million"}', Reason.REQUEST_MALFORMED, [("amount_rials", "field.digits")]),
    (
        '{"amountRials": true, "x": 1}',
        Reason.REQUEST_MALFORMED,
        [("amountRials", "field.digits"), ("x", "field.unknown")],
    ),
    *(
        (f'{{"amountRials": {written}}}', Reason.REQUEST_MALFORMED, [("amountRials", "field.digits")])
        for written in (
            *("9007199254740993.0", "9.007199254740993e15", "2500000000E0", "9223372036854775808"),
            *('"9007199254740993.0"', '"1_000"', '"+25"', '"--25"', '"1e3"', '"2,500"', '" 25"', '"۲۵"', '""'),
        )
    ),
    ('{"serial": 1404000000000017}', Reason.REQUEST_MALFORMED, [("serial", "field.text")]),
    ('{"serial": ["1"]}', Reason.REQUEST_MALFORMED, [("serial", "field.text")]),
    ('{"serial": "\\ud800"}', Reason.REQUEST_MALFORMED, [("serial", "field.text")]),
    ('{"obligorId": "1", "obligor_id": "1"}', Reason.REQUEST_MALFORMED, [("obligor_id", "field.repeated")]),
    ('{"\\ud800": 1}', Reason.FIELD_UNKNOWN, [("\\ud800", "field.unknown")]),
    ('{"' + "k" * 200 + '": 1}', Reason.FIELD_UNKNOWN, [("k" * 64, "field.unknown")]),
    (
        "{" + ",".join(f'"{n}": 1' for n in range(900)) + "}",
        Reason.FIELD_UNKNOWN,
        [(f"{n}", "field.unknown") for n in range(20)],
    ),
    ('{"serial": ', Reason.REQUEST_MALFORMED, []),
]


@pytest.mark.parametrize(("body", "reason", "violations"), MALFORMED)
def test_unreadable_keys_are_named(
    setad: httpx.Client, body: str, reason: Reason, violations: list[tuple[str, str]]
) -> None:
    """A refusal of JSON that is no request names each key that is wrong, as the caller wrote it, and all that lack."""
    problem = setad.post("/v1/notes:verify", content=body, headers={"content-type": "application/json"}).json()
    found = [(each["field"], each["rule"]) for each in problem.get("violations", [])]
    lacking = [key for key in GENUINE if violations and key not in re.sub("_(.)", lambda m: m[1].upper(), body)]

    assert reason == problem["reason"]
    assert violations == found[: len(violations)]
    assert lacking[: 20 - len(violations)] == [key for key, _ in found[len(violations) :]]


def test_all_wrong_keys_are_named(setad: httpx.Client) -> None:
    """Beside an unknown key and one of a wrong type, those that break a rule of the contract are named."""
    body = {**GENUINE, "serial": "1", "amountRials": 1.5, "branch": "x"}
    problem = setad.post("/v1/notes:verify", json=body).json()

    assert [("amountRials", "field.digits"), ("branch", "field.unknown"), ("serial", "string.note_serial")] == [
        (found["field"], found["rule"]) for found in problem["violations"]
    ]


def test_violations_are_described(setad: httpx.Client) -> None:
    """A violation has the contract's message in English and the rule's text in Persian."""
    violations = setad.post("/v1/notes:verify", json=GENUINE | {"serial": "1"}).json()["violations"]

    texts = {"description": "must be 16 ASCII digits", "description_fa": "باید ۱۶ رقم باشد"}
    assert [{"field": "serial", "rule": "string.note_serial", **texts}] == violations


def test_wrong_content_type_path_or_method(setad: httpx.Client) -> None:
    """A wrong content type, path or HTTP method is answered with problem details."""
    form = setad.post("/v1/notes:verify", data=GENUINE)
    read = setad.get("/v1/notes:verify")
    elsewhere = [setad.post("/v1/notes"), setad.get("/")]

    assert (400, "REQUEST_MALFORMED") == (form.status_code, form.json()["reason"])
    assert (405, "METHOD_UNKNOWN", "POST") == (read.status_code, read.json()["reason"], read.headers["allow"])
    assert {(404, "METHOD_UNKNOWN")} == {(found.status_code, found.json()["reason"]) for found in elsewhere}


def test_a_query_is_refused(setad: httpx.Client) -> None:
    """A parameter in the address, which no resource has, is refused: it would be ignored."""
    answers = setad.post("/v1/notes:verify?serial=1404000000000017", json=GENUINE), setad.get("/openapi.json?v=1")

    for response in answers:
        assert (400, "REQUEST_MALFORMED") == (response.status_code, response.json()["reason"])


def test_invalid_header_is_named(setad: httpx.Client) -> None:
    """An invalid purpose header is refused and named among the violations."""
    response = setad.post("/v1/notes:verify", json=GENUINE, headers={"x-operator": "100%"})

    assert (400, "METADATA_MALFORMED") == (response.status_code, response.json()["reason"])
    assert ["x-operator"] == [found["field"] for found in response.json()["violations"]]


def test_unreachable_ministry(shared: Sandbox, offline: Adapter) -> None:
    """An unreachable ministry is a 503 without an answer and with Retry-After."""
    with https_client_named(shared, "setad") as setad:
        response = setad.post(f"{offline.api}/v1/notes:verify", json=GENUINE)

    assert (503, "PROVIDER_UNAVAILABLE") == (response.status_code, response.json()["reason"])
    assert "1" == response.headers["retry-after"]


def test_denied_certificate_on_open_connection(sandbox: Sandbox, promissory: RunningService) -> None:
    """A certificate that is denied meanwhile is refused on a connection that it has open."""
    time = Time()
    with (
        running_adapter(sandbox, promissory.address, time.clock) as adapter,
        https_client_named(sandbox, "setad") as setad,
    ):
        setad.get(f"{adapter.api}/openapi.json")
        suite.write_access(sandbox, GRANTS, rate=10, burst=10, denied=[key_sha256(sandbox.pki / "setad.crt")])
        time.seconds += 2
        response = setad.post(f"{adapter.api}/v1/notes:verify", json=GENUINE)

    assert (401, "CERTIFICATE_DENIED") == (response.status_code, response.json()["reason"])


def test_openapi_document(setad: httpx.Client) -> None:
    """The OpenAPI document names the path, every field and every status."""
    described = setad.get("/openapi.json").json()
    operation = described["paths"]["/v1/notes:verify"]["post"]

    assert set(GENUINE) == set(described["components"]["schemas"]["estelam.setad.v1.VerifyNoteRequest"]["properties"])
    assert {"200", *map(str, openapi.HTTP_STATUS.values())} == set(operation["responses"])


def test_every_reason_has_an_http_status() -> None:
    """Every refusal's gRPC status maps to an HTTP status."""
    assert {spec.status for spec in ERROR_CATALOGUE.values()} <= set(openapi.HTTP_STATUS)
