"""Refusals as RFC 9457 problem details, a body that can't be mistaken for an answer."""

import math
from typing import Any

from starlette.responses import JSONResponse

from estelam.core.errors import Refusal
from estelam.data_model import openapi
from estelam.rest.request_context import Pairs

MEDIA_TYPE = "application/problem+json"


def details(refusal: Refusal, status: int | None = None) -> dict[str, Any]:
    """Return the problem details of *refusal*, with texts of the error catalogue only; default *status*: its own."""
    spec = refusal.spec
    problem: dict[str, Any] = {
        "type": f"urn:estelam:refusal:{refusal.reason}",
        "title": "No answer",
        "status": status or openapi.http_status(refusal.reason),
        "detail": spec.en,
        "detail_fa": spec.fa,
        "reason": refusal.reason.value,
        "layer": spec.layer.value,
    }
    if refusal.violations:
        problem["violations"] = [
            {"field": v.field, "rule": v.rule, "description": v.description, "description_fa": v.text.fa}
            for v in refusal.violations
        ]
    if refusal.retry_seconds is not None:
        problem["retry_seconds"] = refusal.retry_seconds
    return problem


def retry_header(refusal: Refusal) -> dict[str, str]:
    """Return the Retry-After header of *refusal*, if it has a retry delay."""
    return {} if refusal.retry_seconds is None else {"retry-after": str(math.ceil(refusal.retry_seconds))}


def response(refusal: Refusal, trailer: Pairs = (), status: int | None = None) -> JSONResponse:
    """Return the HTTP response of *refusal*, with *trailer* as headers; default *status*: that of its reason."""
    headers = {**dict(trailer), **retry_header(refusal)}
    content = details(refusal, status)
    return JSONResponse(content, content["status"], headers=headers, media_type=MEDIA_TYPE)
