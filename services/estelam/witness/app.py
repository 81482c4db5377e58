"""The HTTP interface of a witness (C2SP tlog-witness)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from estelam.core.clock import Clock
from estelam.core.exceptions import ServerError, describe_error
from estelam.core.note_keys import KeyKind, NoteKey
from estelam.receipts.cosignature import Cosigner
from estelam.web.listener import ListenerLimits, run_listener
from estelam.web.middleware import ErrorBoundary
from estelam.witness.metrics import WitnessMetrics
from estelam.witness.rejections import OtherSize, Rejection
from estelam.witness.settings import WitnessSettings
from estelam.witness.state import WitnessState
from estelam.witness.witness import MAX_BODY, Witness

log = structlog.get_logger()

HEALTH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class WitnessListener:
    """A running witness."""

    port: int
    metrics_port: int


def check_files(settings: WitnessSettings) -> None:
    """Check that a witness can start with the key and the state that *settings* name.

    Raises:
        KeyFileError: the key can't be used.
        ServerError: the state is damaged.
        OSError: a file can't be read.
    """
    Cosigner.load(settings.name, settings.private_key)
    state = _state(settings)
    state.require_folder()
    state.check(each.origin for each in settings.logs)


def _state(settings: WitnessSettings) -> WitnessState:
    return WitnessState(settings.state, settings.kept_state or settings.state.with_name(f"{settings.state.name}.kept"))


@contextlib.asynccontextmanager
async def run_witness(settings: WitnessSettings, clock: Clock) -> AsyncIterator[WitnessListener]:
    """Serve the witness until the context ends.

    Raises:
        KeyFileError: the key can't be used.
        ServerError: the state is damaged or in use, or a port is.
        OSError: a file can't be read.
    """
    state = _state(settings)
    cosigner = Cosigner.load(settings.name, settings.private_key)
    logs = {each.origin: [NoteKey.parse(key, KeyKind.NOTE) for key in each.keys] for each in settings.logs}
    metrics = WitnessMetrics()
    app = create_app(Witness(cosigner, logs, state, clock, metrics))
    with state.single_process_lock():
        state.check(logs)
        for origin in logs:
            last = state.last(origin)
            metrics.set_size(origin, last.size if last else 0)
        metrics.set_serving(healthy=True)
        async with (
            metrics.listener(settings.metrics_listen, setting=settings.origin("metrics_listen")) as shown,
            run_listener(
                "witness", settings.listen, app, ListenerLimits(), setting=settings.origin("listen")
            ) as listener,
        ):
            watch = asyncio.create_task(_watch_state(state, logs, metrics))
            try:
                yield WitnessListener(listener.port, shown.port)
            finally:
                metrics.set_serving(healthy=False)
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)


async def _watch_state(state: WitnessState, origins: Collection[str], metrics: WitnessMetrics) -> None:
    """Set whether the witness is healthy: whether it can read and write its state. Logged whenever that changes."""
    was_healthy = True
    while True:
        problem = await asyncio.to_thread(_problem, state, origins)
        if was_healthy and problem:
            log.error("witness.unhealthy", error=problem)
        elif not was_healthy and not problem:
            log.info("witness.healthy")
        was_healthy = not problem
        metrics.set_serving(healthy=was_healthy)
        await asyncio.sleep(HEALTH_SECONDS)


def _problem(state: WitnessState, origins: Collection[str]) -> str:
    try:
        state.check(origins)
        state.check_writable()
    except (ServerError, OSError) as error:
        return describe_error(error)
    return ""


def create_app(witness: Witness) -> ASGIApp:
    """Return the ASGI application of *witness*."""

    async def add_checkpoint(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            if len(body := body + part) > MAX_BODY:
                break
        try:
            return PlainTextResponse(await asyncio.to_thread(witness.add_checkpoint, body))
        except OtherSize as rejection:
            # Starlette would add a charset to a text type, and clients compare the whole header.
            return Response(f"{rejection.size}\n", rejection.status, {"content-type": "text/x.tlog.size"})
        except Rejection as rejection:
            return PlainTextResponse(f"{rejection}\n", rejection.status)

    app = Starlette(routes=[Route("/add-checkpoint", add_checkpoint, methods=["POST"])])
    return ErrorBoundary(app, PlainTextResponse("the witness failed\n", 500))
