"""The JSON API of a service: each method at the path that its contract states (google.api.http)."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from google.api import annotations_pb2
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from estelam.auth.xfcc import HEADER
from estelam.core.contract import find_method
from estelam.core.errors import Reason, Refusal
from estelam.core.model import PURPOSE_KEYS, Method
from estelam.core.purpose import encode_header
from estelam.data_model import model, openapi
from estelam.pipeline.metadata import TRACEPARENT
from estelam.receipts.own_call import NONCE
from estelam.rest import json_body, problem_details
from estelam.rest.request_context import CallRefused, CallReply, CountedHandler, call_handler
from estelam.web.middleware import ErrorBoundary, took_turn
from estelam.web.query import QueryError, read_query

OPENAPI = "/openapi.json"


_METADATA = {*PURPOSE_KEYS, NONCE, TRACEPARENT, HEADER}
"""The headers that are metadata; the others concern HTTP only."""
_ANSWER_CHARACTERS = len("ANSWER_YES")


@dataclass(frozen=True, slots=True)
class JsonMethod:
    """A method as the JSON API serves it."""

    path: str
    request: type[Message]
    response: type[Message]
    handler: CountedHandler

    @classmethod
    def of(cls, method: Method, handler: CountedHandler) -> "JsonMethod":
        """Return *method* at the path of its contract, served by *handler* for JSON bodies."""
        described = find_method(method.name)
        path = described.GetOptions().Extensions[annotations_pb2.http].post
        return cls(path, method.request, GetMessageClass(described.output_type), handler)


def _with_own_keys(refusal: Refusal, kind: type[Message], body: bytes) -> Refusal:
    """Return *refusal* with the caller's own keys, those of *body*, in place of the names of fields of *kind*."""
    violations = [replace(each, field=json_body.key_of(kind, each.field, body)) for each in refusal.violations]
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
    return [
        (key, encode_header(value) if key in PURPOSE_KEYS else value)
        for key, value in request.headers.items()
        if key in _METADATA
    ]


def _answered(method: JsonMethod, reply: CallReply) -> Response:
    """Return the response of *reply*; its length does not depend on YES or NO."""
    content = MessageToDict(method.response.FromString(reply.reply))
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    padding = b" " * (_ANSWER_CHARACTERS - len(content.get("answer", "ANSWER_YES")))
    return Response(body + padding, headers=dict(reply.trailer), media_type="application/json")


def _endpoint(method: JsonMethod) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        body = await _body(request)
        took_turn(request)
        try:
            reply = await call_handler(
                method.handler,
                body,
                certificate=request.state.certificate,
                metadata=_metadata(request),
            )
        except CallRefused as refused:
            return problem_details.response(
                _with_own_keys(refused.refusal, method.request, body or b""), refused.trailer
            )
        return _answered(method, reply)

    return answer


def rest_app(methods: Sequence[JsonMethod]) -> ASGIApp:
    """Return the application that serves *methods*, and their OpenAPI description at `/openapi.json`.

    The listener must require a client certificate and put it into the request's state.
    """
    document = JSONResponse(openapi.document(model.load(), {method.path for method in methods})).body

    async def describe(request: Request) -> Response:
        read_query(request)
        return Response(document, media_type="application/json")

    async def unknown(_request: Request, _error: Any) -> Response:
        return problem_details.response(Refusal(Reason.METHOD_UNKNOWN))

    async def other_verb(_request: Request, error: Any) -> Response:
        return problem_details.response(Refusal(Reason.METHOD_UNKNOWN), tuple(error.headers.items()), status=405)

    async def failed(_request: Request, _error: Any) -> Response:
        return problem_details.response(Refusal(Reason.SERVICE_FAILED))

    async def malformed(_request: Request, _error: Any) -> Response:
        return problem_details.response(Refusal(Reason.REQUEST_MALFORMED))

    routes = [Route(method.path, _endpoint(method), methods=["POST"]) for method in methods]
    routes.append(Route(OPENAPI, describe))
    handlers = {404: unknown, 405: other_verb, QueryError: malformed, Exception: failed}
    app = Starlette(routes=routes, exception_handlers=handlers)
    return ErrorBoundary(app, problem_details.response(Refusal(Reason.SERVICE_FAILED)))
