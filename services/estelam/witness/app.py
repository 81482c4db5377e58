"""The HTTP interface of a witness (C2SP tlog-witness)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from estelam.core.clock import Clock
from estelam.core.note_keys import KeyKind, NoteKey
from estelam.receipts.cosignature import Cosigner
from estelam.receipts.note import MAX_NOTE
from estelam.web.listener import Listener, ListenerLimits, run_listener
from estelam.web.middleware import ErrorBoundary
from estelam.witness.settings import WitnessSettings
from estelam.witness.state import WitnessState
from estelam.witness.witness import OtherSize, Rejection, Witness

MAX_BODY = 2 * MAX_NOTE


@contextlib.asynccontextmanager
async def run_witness(settings: WitnessSettings, clock: Clock) -> AsyncIterator[Listener]:
    """Serve the witness until the context ends.

    Raises:
        KeyFileError: the key can't be used.
        ServerError: the state is in use, or the port is.
        OSError: a file can't be read.
    """
    state = WitnessState(settings.state, settings.kept_state or settings.state.with_name(f"{settings.state.name}.kept"))
    cosigner = Cosigner.load(settings.name, settings.private_key)
    logs = {each.origin: [NoteKey.parse(key, KeyKind.NOTE) for key in each.keys] for each in settings.logs}
    app = create_app(Witness(cosigner, logs, state, clock))
    setting = settings.origin("listen")
    with state.single_process_lock():
        state.check(logs)
        async with run_listener("witness", settings.listen, app, ListenerLimits(), setting=setting) as listener:
            yield listener


def create_app(witness: Witness) -> ASGIApp:
    """Return the ASGI application of *witness*."""

    async def add_checkpoint(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            if len(body := body + part) > MAX_BODY:
                return PlainTextResponse("too large\n", 413)
        try:
            return PlainTextResponse(await asyncio.to_thread(witness.add_checkpoint, body.decode()))
        except UnicodeDecodeError:
            return PlainTextResponse("malformed: not UTF-8\n", 400)
        except OtherSize as rejection:
            # Starlette would add a charset to a text type, and clients compare the whole header.
            return Response(f"{rejection.size}\n", rejection.status, {"content-type": "text/x.tlog.size"})
        except Rejection as rejection:
            return PlainTextResponse(f"{rejection}\n", rejection.status)

    app = Starlette(routes=[Route("/add-checkpoint", add_checkpoint, methods=["POST"])])
    return ErrorBoundary(app, PlainTextResponse("the witness failed\n", 500))
