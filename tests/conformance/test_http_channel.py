"""The kit's transport for JSON APIs: what applies to them, and what it takes for an answer or a refusal."""

import json
from typing import Any

import pytest

from conformance import case_loader, http_channel
from conformance.client import CallResult
from conformance.error_checks import ReceivedRefusal
from estelam.core.errors import Reason, Refusal, Violation
from estelam.rest import problem_details

PATH = "/estelam.promissory.v1.PromissoryNoteInquiryService/CheckNote"


class Response:
    """An HTTP response, as http.client gives it."""

    def __init__(self, status: int, media_type: str = "application/problem+json", **headers: str) -> None:
        self.status = status
        self._headers = {"content-type": media_type} | {key.replace("_", "-"): each for key, each in headers.items()}

    def getheader(self, name: str) -> str | None:
        return self._headers.get(name)

    def getheaders(self) -> list[tuple[str, str]]:
        return list(self._headers.items())


def outcome(response: Response, content: Any, body: bytes = b'{"serial": "1"}') -> Any:
    return http_channel._outcome(PATH, body, response, json.dumps(content).encode())  # type: ignore[arg-type]


def test_what_applies() -> None:
    """Cases about framing, bytes and health do not apply, and those about fields, grants and receipts do."""
    applicable = {case.id for case in case_loader.read() if http_channel.is_applicable(case)}
    areas = {case_id.partition(".")[0] for case_id in applicable}

    assert {
        "check-note",
        "national-id",
        "tracking-id",
        "parties",
        "verify-note",
        "fields",
        "callers",
        "receipts",
    } <= areas
    assert not any(case_id.startswith(("health.", "wire.framing")) for case_id in applicable)
    assert "metadata.malformed.inquiry-id-space-check-note" not in applicable


def test_refusal_has_details() -> None:
    """A problem becomes a refusal with reason, fields of the contract and retry, as gRPC has them."""
    refusal = Refusal(Reason.FIELD_INVALID, [Violation("obligorId", "string.person_id.form", "must be digits")])
    found = outcome(Response(400), problem_details.details(refusal))
    received = ReceivedRefusal(CallResult(found.code.name, found.message, trailers=found.trailers))
    late = outcome(Response(503, retry_after="60"), problem_details.details(Refusal(Reason.DATA_STALE)))

    assert (Reason.FIELD_INVALID, {("obligor_id", "string.person_id.form")}) == (received.reason, received.violations)
    assert b"RetryInfo" in dict(late.trailers)["grpc-status-details-bin"]


@pytest.mark.parametrize(
    "response",
    [Response(400), Response(200), Response(503, "text/html"), Response(200, "application/json")],
    ids=["other status", "refusal as OK", "page", "problem as answer"],
)
def test_contradictions_are_no_refusal(response: Response) -> None:
    """A response whose status, type and content contradict one another is neither an answer nor a refusal."""
    found = outcome(response, problem_details.details(Refusal(Reason.DATA_STALE)))

    assert ("UNKNOWN", None) == (found.code.name, found.reply)


def test_field_not_as_sent_is_shown() -> None:
    """A violation that names the field otherwise than the request did is no violation of that field."""
    refusal = Refusal(Reason.FIELD_INVALID, [Violation("obligor_id", "string.person_id.form", "must be digits")])
    found = outcome(Response(400), problem_details.details(refusal))
    received = ReceivedRefusal(CallResult(found.code.name, found.message, trailers=found.trailers))

    assert {'obligor_id (not as in {"serial": "1"})'} == {field for field, _ in received.violations}
