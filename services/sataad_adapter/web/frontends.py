"""Starts the HTTP frontends that the settings enable, in front of the adapter's inquiry handler."""

import contextlib
from collections.abc import AsyncIterator, Mapping

from estelam.core.clock import Clock
from estelam.core.keys import VerifyingKey
from estelam.pipeline.handler import InquiryHandler
from estelam.web.listener import ListenerLimits, run_listener
from sataad_adapter.methods import VERIFY_NOTE
from sataad_adapter.settings import SetadSettings
from sataad_adapter.web import json_body
from sataad_adapter.web.mtls import mtls_listener
from sataad_adapter.web.rest_api import rest_app
from sataad_adapter.web.ui import OfficerUi, officer_app


@contextlib.asynccontextmanager
async def frontends(
    settings: SetadSettings, handler: InquiryHandler, keys: Mapping[str, VerifyingKey], clock: Clock
) -> AsyncIterator[None]:
    """Serve the enabled frontends within the context.

    Raises:
        ServerError: a port can't be bound, or the certificate can't be used.
    """
    limits = ListenerLimits(
        settings.max_connections, settings.drain_seconds, settings.shares_port, settings.handshake_seconds
    )
    async with contextlib.AsyncExitStack() as stack:
        if settings.api_listen:
            app = rest_app(handler.handler(VERIFY_NOTE, json_body.from_json))
            await stack.enter_async_context(mtls_listener(settings, app, limits))
        if settings.page_listen:
            ui = OfficerUi(
                verify=handler.handler(VERIFY_NOTE),
                certificate=settings.client_certificate.read_bytes(),
                officer_header=settings.page_officer_header,
                keys=keys,
                clock=clock,
            )
            app = officer_app(ui, settings.page_hosts)
            page = run_listener("page", settings.page_listen, app, limits, setting=settings.origin("page_listen"))
            await stack.enter_async_context(page)
        yield
