"""`POST /v1/notes:verify`: the adapter's one method as JSON, over mTLS, along the same desk's course."""

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
from estelam.data_model import model, openapi
from estelam.pipeline.handler import Handler
from estelam.setad.v1 import note_verification_pb2 as pb
from estelam.web.middleware import ErrorBoundary
from sataad_adapter.web import json_body, problem_details
from sataad_adapter.web.request_context import Declined, bring

VERIFY = "/v1/notes:verify"
OPENAPI = "/openapi.json"
# What else a request says concerns HTTP alone.
_METADATA = frozenset({*PURPOSE_KEYS, HEADER})


def api(verify: Handler) -> ASGIApp:
    """The JSON face. *verify* is the desk's handler that reads JSON; the server demands a client certificate."""

    async def answer(request: Request) -> Response:
        try:
            if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                raise Refusal(Reason.REQUEST_MALFORMED)
            spoken = await bring(
                verify,
                await json_body.body(request, json_body.MAX_JSON_BYTES),
                certificate=request.state.certificate,
                metadata=[(key, value) for key, value in request.headers.items() if key in _METADATA],
            )
        except Declined as declined:
            return problem_details.response(declined.refusal, declined.trailer)
        except Refusal as refusal:
            return problem_details.response(refusal)
        reply = MessageToDict(pb.VerifyNoteResponse.FromString(spoken.reply))
        return JSONResponse(reply, headers=dict(spoken.trailer))

    described = openapi.document(model.load())

    async def describe(_request: Request) -> Response:
        return JSONResponse(described)

    async def unknown(_request: Request, _error: Any) -> Response:
        return problem_details.response(Refusal(Reason.METHOD_UNKNOWN))

    async def failed(_request: Request, _error: Any) -> Response:
        return problem_details.response(Refusal(Reason.SERVICE_FAILED))

    routes = [Route(VERIFY, answer, methods=["POST"]), Route(OPENAPI, describe)]
    app = Starlette(routes=routes, exception_handlers={404: unknown, 405: unknown, Exception: failed})
    return ErrorBoundary(app, problem_details.response(Refusal(Reason.SERVICE_FAILED)))
