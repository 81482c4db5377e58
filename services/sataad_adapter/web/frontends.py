"""Starts the HTTP frontends that the settings enable, in front of the adapter's inquiry handler."""

import contextlib
import math
from collections.abc import AsyncIterator, Mapping

from starlette.datastructures import Headers
from starlette.types import Scope

from estelam.auth.authentication import Authenticator
from estelam.auth.xfcc import HEADER
from estelam.core.clock import Clock
from estelam.core.keys import VerifyingKey
from estelam.pipeline.handler import InquiryHandler
from estelam.pipeline.pacer import Pacer
from estelam.telemetry.call_counts import CallCounter, is_probe, organization
from estelam.web.listener import ListenerLimits, run_listener
from estelam.web.middleware import PacedRefusals
from sataad_adapter.methods import VERIFY_NOTE
from sataad_adapter.settings import SetadSettings
from sataad_adapter.web import form, json_body
from sataad_adapter.web.mtls import mtls_listener
from sataad_adapter.web.request_context import CountedHandler, Pairs
from sataad_adapter.web.rest_api import rest_app
from sataad_adapter.web.ui import OfficerUi, officer_app


@contextlib.asynccontextmanager
async def frontends(
    settings: SetadSettings,
    handler: InquiryHandler,
    authenticator: Authenticator,
    pacer: Pacer,
    keys: Mapping[str, VerifyingKey],
    calls: CallCounter,
    clock: Clock,
) -> AsyncIterator[None]:
    """Serve the enabled frontends within the context.

    A request that is refused and is no inquiry takes the turn of its caller, as over gRPC: of the client certificate's
    owner or, on the pages, of the officer.

    Raises:
        ServerError: a port can't be bound, or the certificate can't be used.
    """
    limits = ListenerLimits(
        settings.max_connections, settings.drain_seconds, settings.shares_port, settings.handshake_seconds
    )

    def api_delay(scope: Scope) -> float:
        headers = [(HEADER, value) for value in Headers(scope=scope).getlist(HEADER)]
        return pacer.delay(authenticator.owner((scope["state"]["certificate"],), headers), math.inf)

    def page_delay(scope: Scope) -> float:
        officer = Headers(scope=scope).get(settings.page_officer_header) if settings.page_officer_header else None
        return pacer.delay(("page", officer or scope["client"][0]), math.inf)

    def count(certificate: bytes, metadata: Pairs, reason: str, seconds: float) -> None:
        caller = organization(authenticator.owner((certificate,), metadata))
        calls.count(VERIFY_NOTE.name, caller, reason, seconds, is_probe=is_probe(metadata))

    async with contextlib.AsyncExitStack() as stack:
        if settings.api_listen:
            api = PacedRefusals(
                rest_app(CountedHandler(handler.handler(VERIFY_NOTE, json_body.from_json), count)), api_delay
            )
            await stack.enter_async_context(
                mtls_listener(settings, api, limits, lambda certificate: authenticator.owner((certificate,)))
            )
        if settings.page_listen:
            ui = OfficerUi(
                verify=CountedHandler(handler.handler(VERIFY_NOTE, form.decode_form), count),
                certificate=settings.client_certificate.read_bytes(),
                officer_header=settings.page_officer_header,
                keys=keys,
                clock=clock,
            )
            page = PacedRefusals(officer_app(ui, settings.page_hosts), page_delay)
            await stack.enter_async_context(
                run_listener("page", settings.page_listen, page, limits, setting=settings.origin("page_listen"))
            )
        yield
