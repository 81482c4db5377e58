"""The JSON face's listener: HTTP over mTLS, whose requests know the certificate of who asks."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

import structlog
from starlette.types import ASGIApp

from estelam.core.exceptions import ServerError
from estelam.core.files import FileReloader
from estelam.core.tls import server_context
from estelam.web.listener import IdleTimeoutProtocol, Listener, ListenerLimits, listening
from sataad_adapter.settings import SetadSettings

log = structlog.get_logger()

LOOK_SECONDS = 1.0


@contextlib.asynccontextmanager
async def certified(settings: SetadSettings, app: ASGIApp, bounds: ListenerLimits) -> AsyncIterator[Listener]:
    """Serve *app* over mTLS where the settings say, under the certificate of the gRPC server.

    Raises:
        ServerError: the port is taken, or the certificate can't be used.
    """
    tls = _Tls(settings)
    serving = listening("api", settings.api_listen, app, bounds, tls=tls.context, http=_Certified, proxy_headers=False)
    async with serving as place:
        watch = asyncio.create_task(tls.watch())
        try:
            yield place
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)


class _Certified(IdleTimeoutProtocol):
    """A connection whose requests know the certificate that it was opened with."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a new connection."""
        super().connection_made(transport)
        certificate = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        self.app_state = {**self.app_state, "certificate": ssl.DER_cert_to_PEM_cert(certificate).encode("ascii")}


class _Tls:
    """The server's certificate and its callers' authorities; changed files count from the next handshake on."""

    def __init__(self, settings: SetadSettings) -> None:
        self._files = (settings.certificate, settings.private_key, settings.ca_certificates)
        try:
            self._reloader = FileReloader(lambda: self._files, self._read)
            self._reloader.refresh()
            self.context = self._read()
        except (OSError, ValueError) as error:
            raise ServerError(f"the server's certificate can't be used: {error}") from error
        self.context.sni_callback = self._begin

    async def watch(self) -> None:
        """Read the files again when they have changed; half a change is not used."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if self._reloader.refresh():
                    log.info("certificate.reloaded")
            except (OSError, ValueError) as error:
                log.warning("certificate.unreadable", error=type(error).__name__)

    def _begin(self, handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        handshake.context = self._reloader.value

    def _read(self) -> ssl.SSLContext:
        return server_context(*self._files)
