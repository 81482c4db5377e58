"""Serves the JSON API of a service, where its settings name an address for it."""

import contextlib
import math
from collections.abc import AsyncIterator, Hashable, Iterable, Iterator

from starlette.datastructures import Headers
from starlette.types import Scope

from estelam.auth.authentication import Authenticator
from estelam.auth.xfcc import HEADER
from estelam.core.model import Method
from estelam.core.settings import ServingSettings
from estelam.pipeline.handler import InquiryHandler
from estelam.pipeline.pacer import Pacer
from estelam.rest import json_body
from estelam.rest.api import JsonMethod, rest_app
from estelam.rest.mtls import mtls_listener
from estelam.rest.request_context import Count, CountedHandler, Pairs
from estelam.telemetry.call_counts import CallCounter, is_probe, organization
from estelam.web.event_loop import run_in_event_loop
from estelam.web.listener import ListenerLimits
from estelam.web.middleware import PacedRefusals


@contextlib.asynccontextmanager
async def json_api(
    settings: ServingSettings,
    methods: Iterable[Method],
    inquiries: InquiryHandler,
    *,
    authenticator: Authenticator,
    pacer: Pacer,
    calls: CallCounter,
) -> AsyncIterator[None]:
    """Serve *methods* as JSON at `api_listen` within the context; without that setting serve nothing.

    A request that is refused and is no inquiry takes the turn of its caller, as over gRPC.

    Raises:
        ServerError: the port can't be bound, or the certificate can't be used.
    """
    if not settings.api_listen:
        yield
        return

    def delay(scope: Scope) -> float:
        headers = [(HEADER, value) for value in Headers(scope=scope).getlist(HEADER)]
        return pacer.delay(authenticator.owner((scope["state"]["certificate"],), headers), math.inf)

    def served(method: Method) -> JsonMethod:
        handler = inquiries.handler(method, json_body.from_json)
        return JsonMethod.of(method, CountedHandler(handler, call_count(method, calls), authenticator.owner))

    app = PacedRefusals(rest_app([served(method) for method in methods]), delay)
    async with mtls_listener(
        settings, app, listener_limits(settings), lambda certificate: authenticator.owner((certificate,))
    ):
        yield


@contextlib.contextmanager
def run_json_api(
    settings: ServingSettings,
    methods: Iterable[Method],
    inquiries: InquiryHandler,
    *,
    authenticator: Authenticator,
    pacer: Pacer,
    calls: CallCounter,
) -> Iterator[None]:
    """Run `json_api` in an event loop of its own, where the settings name an address for it."""
    if not settings.api_listen:
        yield
        return
    api = json_api(settings, methods, inquiries, authenticator=authenticator, pacer=pacer, calls=calls)
    with run_in_event_loop(api):
        yield


def call_count(method: Method, calls: CallCounter) -> Count:
    """Return what counts the calls of *method* that come by HTTP."""

    def count(owner: Hashable, metadata: Pairs, reason: str, seconds: float) -> None:
        calls.count(method.name, organization(owner), reason, seconds, is_probe=is_probe(metadata))

    return count


def listener_limits(settings: ServingSettings) -> ListenerLimits:
    """Return the limits of a listener for HTTP: those of the gRPC server."""
    return ListenerLimits(
        settings.max_connections, settings.drain_seconds, settings.shares_port, settings.handshake_seconds
    )
