"""Starts the HTTP frontends that the settings enable, in front of the adapter's inquiry handler."""

import contextlib
import math
from collections.abc import AsyncIterator, Mapping

from starlette.datastructures import Headers
from starlette.types import Scope

from estelam.auth.authentication import Authenticator
from estelam.core.clock import Clock
from estelam.core.keys import VerifyingKey
from estelam.pipeline.handler import InquiryHandler
from estelam.pipeline.pacer import Pacer
from estelam.rest.request_context import CountedHandler
from estelam.rest.serving import call_count, json_api, listener_limits
from estelam.telemetry.call_counts import CallCounter
from estelam.web.listener import run_listener
from estelam.web.middleware import PacedRefusals
from sataad_adapter.methods import VERIFY_NOTE
from sataad_adapter.settings import SetadSettings
from sataad_adapter.web import form
from sataad_adapter.web.agencies import Agencies
from sataad_adapter.web.batch import Batches
from sataad_adapter.web.officer import OfficerUi
from sataad_adapter.web.ui import officer_app


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
        AgencyListError: the file `page_agencies` has another form.
    """

    def page_delay(scope: Scope) -> float:
        officer = Headers(scope=scope).get(settings.page_officer_header) if settings.page_officer_header else None
        return pacer.delay(("page", officer or scope["client"][0]), math.inf)

    api = json_api(settings, [VERIFY_NOTE], handler, authenticator=authenticator, pacer=pacer, calls=calls)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(api)
        if settings.page_listen:
            ui = OfficerUi(
                verify=CountedHandler(
                    handler.handler(VERIFY_NOTE, form.decode_form),
                    call_count(VERIFY_NOTE, calls),
                    authenticator.owner,
                ),
                certificate=settings.client_certificate.read_bytes(),
                officer_header=settings.page_officer_header,
                keys=keys,
                agencies=Agencies(settings.page_agencies, clock),
                clock=clock,
            )
            batches = Batches(ui)
            stack.push_async_callback(batches.close)
            page = PacedRefusals(officer_app(ui, batches, settings.page_hosts), page_delay)
            limits, setting = listener_limits(settings), settings.origin("page_listen")
            await stack.enter_async_context(run_listener("page", settings.page_listen, page, limits, setting=setting))
        yield
