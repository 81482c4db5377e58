"""A refusal as HTTP tells it: RFC 9457's problem details, never a body that could be taken for an answer."""

import math
from typing import Any

from starlette.responses import JSONResponse

from estelam.core.errors import Refusal
from estelam.data_model import openapi
from sataad_adapter.web.request_context import Pairs

MEDIA_TYPE = "application/problem+json"


def details(refusal: Refusal) -> dict[str, Any]:
    """What is said of *refusal*, in words of the table alone."""
    words = refusal.spec
    found: dict[str, Any] = {
        "type": f"urn:estelam:refusal:{refusal.reason}",
        "title": "No answer",
        "status": openapi.http_status(refusal.reason),
        "detail": words.en,
        "detail_fa": words.fa,
        "reason": refusal.reason.value,
        "layer": words.layer.value,
    }
    if refusal.violations:
        found["violations"] = [
            {"field": broken.field, "rule": broken.rule, "description": broken.description}
            for broken in refusal.violations
        ]
    if refusal.retry_seconds is not None:
        found["retry_seconds"] = refusal.retry_seconds
    return found


def retry_header(refusal: Refusal) -> dict[str, str]:
    """When to ask again, as HTTP says it."""
    return {} if refusal.retry_seconds is None else {"retry-after": str(math.ceil(refusal.retry_seconds))}


def response(refusal: Refusal, trailer: Pairs = ()) -> JSONResponse:
    """*refusal* as a response."""
    headers = {**dict(trailer), **retry_header(refusal)}
    return JSONResponse(details(refusal), openapi.http_status(refusal.reason), headers=headers, media_type=MEDIA_TYPE)
