"""The faces that the settings ask for, put together in front of the adapter's desk."""

import contextlib
from collections.abc import AsyncIterator, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from estelam.core.clock import Clock
from estelam.pipeline.handler import InquiryHandler
from estelam.web.listener import ListenerLimits, listening
from sataad_adapter.methods import VERIFY_NOTE
from sataad_adapter.settings import SetadSettings
from sataad_adapter.web import json_body
from sataad_adapter.web.mtls import certified
from sataad_adapter.web.rest_api import api
from sataad_adapter.web.ui import Office, page


@contextlib.asynccontextmanager
async def faces(
    settings: SetadSettings, desk: InquiryHandler, keys: Mapping[str, Ed25519PublicKey], clock: Clock
) -> AsyncIterator[None]:
    """Serve what the settings name, until left.

    Raises:
        ServerError: a port is taken, or the certificate can't be used.
    """
    bounds = ListenerLimits(settings.max_connections, settings.drain_seconds, settings.shares_port)
    async with contextlib.AsyncExitStack() as stack:
        if settings.api_listen:
            app = api(desk.handler(VERIFY_NOTE, json_body.from_json))
            await stack.enter_async_context(certified(settings, app, bounds))
        if settings.page_listen:
            office = Office(
                verify=desk.handler(VERIFY_NOTE),
                certificate=settings.client_certificate.read_bytes(),
                officer_header=settings.page_officer_header,
                keys=keys,
                clock=clock,
            )
            app = page(office, settings.page_hosts)
            await stack.enter_async_context(listening("page", settings.page_listen, app, bounds))
        yield
