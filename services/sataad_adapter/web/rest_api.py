"""The REST API: `POST /v1/notes:verify` is VerifyNote as JSON, through the same inquiry handler as gRPC."""

from dataclasses import replace
from typing import Any

from google.protobuf.json_format import MessageToDict
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from estelam.auth.xfcc import HEADER
from estelam.core.errors import Reason, Refusal
from estelam.core.model import PURPOSE_KEYS
from estelam.core.purpose import encode_header
from estelam.data_model import model, openapi
from estelam.setad.v1 import note_verification_pb2 as pb
from estelam.web.middleware import ErrorBoundary
from estelam.web.query import QueryError, read_query
from sataad_adapter.web import json_body, problem_details
from sataad_adapter.web.request_context import CallRefused, CountedHandler, call_handler

VERIFY = "/v1/notes:verify"
OPENAPI = "/openapi.json"


def _with_own_keys(refusal: Refusal, body: bytes) -> Refusal:
    """Return *refusal* with the caller's own keys, those of *body*, in place of the names of fields."""
    violations = [
        replace(each, field=json_body.key_of(pb.VerifyNoteRequest, each.field, body)) for each in refusal.violations
    ]
    return Refusal(refusal.reason, violations, quota=refusal.quota, retry_seconds=refusal.retry_seconds)


async def _body(request: Request) -> bytes | None:
    """Return the body of *request*; None if the request is malformed in another way than by its body."""
    try:
        read_query(request)
    except QueryError:
        return None
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return None
    return await json_body.read_body(request, json_body.MAX_JSON_BYTES)


def _metadata(request: Request) -> list[tuple[str, str]]:
    """Return the headers that are metadata; the others concern HTTP only."""
    return [
        (key, encode_header(value) if key in PURPOSE_KEYS else value)
        for key, value in request.headers.items()
        if key in {*PURPOSE_KEYS, HEADER}
    ]


def rest_app(verify: CountedHandler) -> ASGIApp:
    """Return the REST application; *verify* is VerifyNote's handler for JSON bodies.

    The listener must require a client certificate and put it into the request's state.
    """

    async def answer(request: Request) -> Response:
        body = await _body(request)
        try:
            reply = await call_handler(
                verify,
                request,
                body,
                certificate=request.state.certificate,
                metadata=_metadata(request),
            )
        except CallRefused as refused:
            return problem_details.response(_with_own_keys(refused.refusal, body or b""), refused.trailer)
        content = MessageToDict(pb.VerifyNoteResponse.FromString(reply.reply))
        return JSONResponse(content, headers=dict(reply.trailer))

    document = JSONResponse(openapi.document(model.load())).body

    async def describe(request: Request) -> Response:
        read_query(request)
        return Response(document, media_type="application/json")

    async def unknown(_request: Request, _error: Any) -> Response:
        return problem_details.response(Refusal(Reason.METHOD_UNKNOWN))

    async def failed(_request: Request, _error: Any) -> Response:
        return problem_details.response(Refusal(Reason.SERVICE_FAILED))

    async def malformed(_request: Request, _error: Any) -> Response:
        return problem_details.response(Refusal(Reason.REQUEST_MALFORMED))

    routes = [Route(VERIFY, answer, methods=["POST"]), Route(OPENAPI, describe)]
    handlers = {404: unknown, 405: unknown, QueryError: malformed, Exception: failed}
    app = Starlette(routes=routes, exception_handlers=handlers)
    return ErrorBoundary(app, problem_details.response(Refusal(Reason.SERVICE_FAILED)))
