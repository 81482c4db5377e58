"""The adapter's JSON over mTLS: the same desk, the same answers, and problems that no one takes for an answer."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from google.protobuf import json_format

from estelam.core.errors import ERROR_CATALOGUE, Reason
from estelam.core.keys import verifying_keys
from estelam.data_model import openapi
from estelam.receipts import receipt
from estelam.setad.v1 import note_verification_pb2 as pb
from sataad_adapter.verification import replies_of
from sataad_adapter.web import problem_details
from tests.integration.setad.adapter_process import GENUINE, Faces, caller, client, faces
from tests.support.service import RunningService
from tools.env import sandbox as suite
from tools.env.sandbox import GRANTS, Sandbox


@pytest.fixture
def setad(shared: Sandbox, office: Faces) -> Iterator[httpx.Client]:
    with client(shared, "setad") as setad:
        setad.base_url = httpx.URL(office.api)
        yield setad


def ask(setad: httpx.Client, **changed: object) -> httpx.Response:
    return setad.post("/v1/notes:verify", json=GENUINE | changed)


def test_a_genuine_note_is_yes_with_its_parties_and_receipts_that_prove_it(
    shared: Sandbox, setad: httpx.Client
) -> None:
    response = ask(setad)
    reply = json_format.Parse(response.content, pb.VerifyNoteResponse())
    request = json_format.ParseDict(GENUINE, pb.VerifyNoteRequest())
    keys = verifying_keys(shared.setad().provider_certificates)

    assert (200, "application/json") == (response.status_code, response.headers["content-type"])
    assert ("ANSWER_YES", "9990000018") == (response.json()["answer"], response.json()["obligor"]["id"])
    for proof in replies_of(request, reply):
        receipt.verify(*proof, keys)


def test_any_other_note_is_no(setad: httpx.Client) -> None:
    response = ask(setad, amountRials="1")

    assert (200, "ANSWER_NO") == (response.status_code, response.json()["answer"])
    assert "obligor" not in response.json()


def test_the_reply_tells_the_inquirys_id_the_callers_own_and_the_quota(setad: httpx.Client) -> None:
    headers = setad.post("/v1/notes:verify", json=GENUINE, headers={"x-inquiry-id": "mine-1"}).headers

    assert "mine-1" == headers["x-inquiry-id"]
    assert {"estelam-inquiry-id", "ratelimit", "ratelimit-policy"} <= headers.keys()


def test_without_a_certificate_of_the_trusted_authority_nothing_is_said(
    shared: Sandbox, office: Faces, tmp_path: Path
) -> None:
    foreign = suite.create_sandbox(tmp_path / "other").pki / "setad.crt"

    for certificate in (None, foreign):
        with caller(shared.pki / "ca.crt", certificate) as nobody, pytest.raises(httpx.TransportError):
            nobody.post(f"{office.api}/v1/notes:verify", json=GENUINE)


def test_a_stranger_is_refused_before_what_is_asked_is_looked_at(shared: Sandbox, office: Faces) -> None:
    with client(shared, "stranger") as stranger:
        response = stranger.post(
            f"{office.api}/v1/notes:verify", content=b"{", headers={"content-type": "application/json"}
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
def test_what_is_not_answered_is_a_problem_with_a_constant_reason(
    setad: httpx.Client, body: bytes, reason: Reason
) -> None:
    response = setad.post("/v1/notes:verify", content=body, headers={"content-type": "application/json"})

    assert (400, reason) == (response.status_code, response.json()["reason"])
    assert "answer" not in response.json()
    assert "estelam-inquiry-id" in response.headers


def test_another_content_type_path_or_method_is_a_problem_too(setad: httpx.Client) -> None:
    form = setad.post("/v1/notes:verify", data=GENUINE)
    elsewhere = [setad.get("/v1/notes:verify"), setad.post("/v1/notes"), setad.get("/")]

    assert (400, "REQUEST_MALFORMED") == (form.status_code, form.json()["reason"])
    assert {(404, "METHOD_UNKNOWN")} == {(found.status_code, found.json()["reason"]) for found in elsewhere}


def test_a_header_that_the_grant_does_not_allow_is_told(setad: httpx.Client) -> None:
    response = setad.post("/v1/notes:verify", json=GENUINE, headers={"x-operator": "a person"})

    assert (400, "METADATA_MALFORMED") == (response.status_code, response.json()["reason"])
    assert ["x-operator"] == [found["field"] for found in response.json()["violations"]]


def test_a_ministry_that_cannot_be_reached_is_no_answer_and_says_when_to_ask_again(
    shared: Sandbox, cut_off: Faces
) -> None:
    with client(shared, "setad") as setad:
        response = setad.post(f"{cut_off.api}/v1/notes:verify", json=GENUINE)

    assert (503, "PROVIDER_UNAVAILABLE") == (response.status_code, response.json()["reason"])
    assert "1" == response.headers["retry-after"]


def test_a_barred_certificate_is_refused_on_the_connection_that_it_opened(
    sandbox: Sandbox, promissory: RunningService
) -> None:
    fingerprint = x509.load_pem_x509_certificate((sandbox.pki / "setad.crt").read_bytes()).fingerprint(SHA256()).hex()
    with faces(sandbox, promissory.address) as office, client(sandbox, "setad") as setad:
        setad.get(f"{office.api}/openapi.json")
        suite.write_access(sandbox, GRANTS, rate=10, burst=10, denied=[fingerprint])
        response = setad.post(f"{office.api}/v1/notes:verify", json=GENUINE)

    assert (401, "CERTIFICATE_DENIED") == (response.status_code, response.json()["reason"])


def test_the_description_names_the_path_every_field_and_every_status(setad: httpx.Client) -> None:
    described = setad.get("/openapi.json").json()
    operation = described["paths"]["/v1/notes:verify"]["post"]

    assert set(GENUINE) == set(described["components"]["schemas"]["estelam.setad.v1.VerifyNoteRequest"]["properties"])
    assert {"200", *map(str, openapi.HTTP_STATUS.values())} == set(operation["responses"])


def test_every_reason_has_a_status_on_http() -> None:
    assert {words.status for words in ERROR_CATALOGUE.values()} <= set(openapi.HTTP_STATUS)
