"""The JSON API of the mandated services: each method answers and refuses as over gRPC."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import httpx
import openapi_spec_validator
import pytest
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from development.processes import free_ports
from development.sandbox import CHECK_BY_NATIONAL_ID, CHECK_BY_TRACKING_ID, CHECK_NOTE, GET_NOTE_PARTIES, Sandbox
from estelam.core.contract import find_method
from estelam.core.keys import verifying_keys
from estelam.receipts import receipt
from tests.conftest import judiciary_opening, promissory_opening
from tests.integration.setad.adapter_process import https_client_named
from tests.support.service import RunningService

NOTE = {"serial": "1404000000000017", "obligorId": "9990000018", "beneficiaryId": "99000554330"}


class Asked(NamedTuple):
    """A method with its path, a granted caller, a question, and the changes that make its answer NO."""

    method: str
    path: str
    caller: str
    question: dict[str, str]
    other: dict[str, str] | None


CHECK = Asked(
    CHECK_NOTE, "/v1/notes:check", "setad", NOTE | {"amountRials": "2500000000"}, {"amountRials": "2500000001"}
)
PARTIES = Asked(
    GET_NOTE_PARTIES,
    "/v1/notes:getParties",
    "setad",
    {"serial": NOTE["serial"], "executiveAgencyId": "SETAD-0001"},
    None,
)
PERSON = Asked(
    CHECK_BY_NATIONAL_ID,
    "/v1/cases:checkByNationalId",
    "cbi",
    {"nationalId": "9990000050"},
    {"nationalId": "9990000042"},
)
CHEQUE = Asked(
    CHECK_BY_TRACKING_ID,
    "/v1/cases:checkByTrackingId",
    "cbi",
    {"trackingId": "140000000000000001"},
    {"trackingId": "139900000000000001"},
)
METHODS = (CHECK, PARTIES, PERSON, CHEQUE)
each_method = pytest.mark.parametrize("asked", METHODS, ids=lambda asked: asked.method.rpartition("/")[2])


@pytest.fixture(scope="module")
def apis(shared: Sandbox, tmp_path_factory: pytest.TempPathFactory, build: Any) -> Iterator[dict[str, str]]:
    """The URLs of the JSON APIs, by the first word of a path."""
    sandbox = build(shared, tmp_path_factory.mktemp("json") / "suite")
    ports = free_ports("notes", "cases")
    listen = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    with ExitStack() as running:
        running.enter_context(RunningService(promissory_opening(sandbox, api_listen=listen["notes"])))
        running.enter_context(RunningService(judiciary_opening(sandbox, api_listen=listen["cases"])))
        yield {name: f"https://localhost:{port}" for name, port in ports.items()}


def post(
    apis: dict[str, str], shared: Sandbox, asked: Asked, question: dict[str, str], caller: str = "", **headers: str
) -> httpx.Response:
    with https_client_named(shared, caller or asked.caller) as client:
        kind = asked.path.split("/")[2].partition(":")[0]
        return client.post(apis[kind] + asked.path, json=question, headers=headers)


@each_method
def test_method_answers_with_receipt(apis: dict[str, str], shared: Sandbox, asked: Asked) -> None:
    """Each method answers as JSON, with a receipt that proves question and answer, and the caller's own id."""
    if asked is PARTIES:
        post(apis, shared, CHECK, CHECK.question)
    response = post(apis, shared, asked, asked.question, **{"x-inquiry-id": "mine-1"})
    described = find_method(asked.method)
    request = json_format.ParseDict(asked.question, GetMessageClass(described.input_type)())
    reply = json_format.Parse(response.content, GetMessageClass(described.output_type)())
    given = shared.promissory() if asked.path.startswith("/v1/notes") else shared.judiciary()

    assert (200, "application/json", "mine-1") == (
        response.status_code,
        response.headers["content-type"],
        response.headers["x-inquiry-id"],
    )
    assert response.json().get("answer", "ANSWER_YES") == "ANSWER_YES"
    receipt.verify(asked.method, request, reply, verifying_keys(given.signing_certificates))


@pytest.mark.parametrize("asked", [CHECK, PERSON, CHEQUE], ids=lambda asked: asked.method.rpartition("/")[2])
def test_yes_and_no_have_equal_length(apis: dict[str, str], shared: Sandbox, asked: Asked) -> None:
    """A NO has as many bytes as a YES, in its headers too."""
    yes, no = (post(apis, shared, asked, asked.question | change) for change in ({}, asked.other or {}))
    names = ("ratelimit", "ratelimit-policy", "estelam-inquiry-id")
    # The receipt has a hash more when the ledger has doubled since.
    around = [len(each.content) - len(json.dumps(each.json()["receipt"], separators=(",", ":"))) for each in (yes, no)]

    assert ("ANSWER_YES", "ANSWER_NO") == (yes.json()["answer"], no.json()["answer"])
    assert yes.headers.keys() == no.headers.keys()
    assert [len(yes.headers[name]) for name in names] == [len(no.headers[name]) for name in names]
    assert around[0] == around[1]


@each_method
def test_refusals_are_problems(apis: dict[str, str], shared: Sandbox, asked: Asked) -> None:
    """A refusal is a problem with the reason that gRPC gives, and names fields as the caller wrote them."""
    first, *_ = asked.question
    plain = find_method(asked.method).input_type.fields_by_camelcase_name[first].name
    stranger = post(apis, shared, asked, asked.question, "stranger")
    invalid = post(apis, shared, asked, asked.question | {first: "?"})
    others = {key: value for key, value in asked.question.items() if key != first}
    snake = post(apis, shared, asked, others | {plain: "?"})
    unknown = post(apis, shared, asked, asked.question | {"branch": "1"})

    refused = (stranger, invalid, snake, unknown)
    assert {"application/problem+json"} == {each.headers["content-type"] for each in refused}
    assert (403, "NOT_GRANTED") == (stranger.status_code, stranger.json()["reason"])
    for response, field in ((invalid, first), (snake, plain)):
        assert (400, "FIELD_INVALID") == (response.status_code, response.json()["reason"])
        assert {field} == {each["field"] for each in response.json()["violations"]}
    assert (400, "FIELD_UNKNOWN") == (unknown.status_code, unknown.json()["reason"])


def test_each_service_describes_its_own_paths(apis: dict[str, str], shared: Sandbox) -> None:
    """The OpenAPI document of a service is valid and has exactly the service's methods."""
    for kind, url in apis.items():
        with https_client_named(shared, "setad") as client:
            document = client.get(f"{url}/openapi.json").json()
        openapi_spec_validator.validate(document)
        own = {asked.path for asked in METHODS if asked.path.startswith(f"/v1/{kind}")}
        assert own | {"/v1/answers:listChanged"} == set(document["paths"])


def test_other_services_methods_are_unknown(apis: dict[str, str], shared: Sandbox) -> None:
    """A path of another service is METHOD_UNKNOWN."""
    with https_client_named(shared, "setad") as client:
        response = client.post(apis["cases"] + CHECK.path, json=CHECK.question)

    assert (404, "METHOD_UNKNOWN") == (response.status_code, response.json()["reason"])


def test_other_verb(apis: dict[str, str], shared: Sandbox) -> None:
    """A GET of a method's path is 405 and names the verb to use; the body states the same status."""
    with https_client_named(shared, "setad") as client:
        response = client.get(apis["notes"] + CHECK.path)

    assert (405, 405, "POST") == (response.status_code, response.json()["status"], response.headers["allow"])
