"""Listener of the JSON API: HTTP over mTLS, which gives each request the client's certificate."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Hashable

import structlog
from starlette.types import ASGIApp

from estelam.core.exceptions import ServerError, describe_error, problem
from estelam.core.pem import KeyFileError
from estelam.core.reload import CREDENTIALS_STILL_SECONDS, FileReloader
from estelam.core.settings import ServingSettings
from estelam.core.tls import server_context
from estelam.web.listener import DeadlineProtocol, Listener, ListenerLimits, run_listener

log = structlog.get_logger()

RELOAD_CHECK_SECONDS = 1.0


@contextlib.asynccontextmanager
async def mtls_listener(
    settings: ServingSettings, app: ASGIApp, limits: ListenerLimits, owner: Callable[[bytes], Hashable]
) -> AsyncIterator[Listener]:
    """Serve *app* over mTLS on the settings' `api_listen`, with the gRPC server's certificate.

    *owner* returns whose share of the connections one with this client certificate (PEM) takes.

    Raises:
        ServerError: the port can't be bound, or the certificate can't be used.
    """
    tls = _ReloadingTls(settings)
    serving = run_listener(
        "api",
        settings.api_listen,
        app,
        limits,
        setting=settings.origin("api_listen"),
        tls=tls.context,
        owner=lambda der: owner(_pem(der)),
        http=_ClientCertificateProtocol,
        proxy_headers=False,
    )
    async with serving as listener:
        reloading = asyncio.create_task(tls.watch())
        try:
            yield listener
        finally:
            reloading.cancel()
            await asyncio.gather(reloading, return_exceptions=True)


class _ClientCertificateProtocol(DeadlineProtocol):
    """A connection that puts the client's certificate (PEM) into each request's state."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Read the client's certificate of a new connection."""
        super().connection_made(transport)
        certificate = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        self.app_state = {**self.app_state, "certificate": _pem(certificate)}


def _log_unreadable(error: Exception) -> None:
    log.warning("certificate.unreadable", error=type(error).__name__, problem=problem(error))


def _pem(der: bytes) -> bytes:
    return ssl.DER_cert_to_PEM_cert(der).encode("ascii")


class _ReloadingTls:
    """TLS context of the server's certificate and the trusted CAs; changed files apply from the next handshake."""

    def __init__(self, settings: ServingSettings) -> None:
        self._files = (settings.certificate, settings.private_key, settings.ca_certificates)
        try:
            self._reloader = FileReloader(
                lambda: self._files, self._load, failed=_log_unreadable, still_seconds=CREDENTIALS_STILL_SECONDS
            )
            self._reloader.refresh()
            self.context = self._load()
        except (OSError, KeyFileError) as error:
            raise ServerError(f"the server's certificate can't be used: {describe_error(error)}") from error
        self.context.sni_callback = self._use_current

    async def watch(self) -> None:
        """Reload the files when they have changed; keep the old context while they don't match each other."""
        while True:
            await asyncio.sleep(RELOAD_CHECK_SECONDS)
            if self._reloader.refresh():
                log.info("certificate.reloaded")

    def _use_current(self, handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        handshake.context = self._reloader.value

    def _load(self) -> ssl.SSLContext:
        return server_context(*self._files)
