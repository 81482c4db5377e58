"""Probes of the services that the catalogue only lists: HTTP, gRPC health or TLS, as the settings say (R4.1).

They need no contract of this project: they show whether the service answers, and nothing of what it answers.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request

import grpc
import structlog
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from estelam.client.channel import ClientIdentity, aio_connections
from estelam.client.web import opener_of
from estelam.core.pem import KeyFileError
from quality.attribution import TransportFailure, attribution_of
from quality.monitor import tls_probe
from quality.records import Probe
from quality.settings import ServiceProbe

log = structlog.get_logger()

_SERVER_ERROR = 500
_HTTPS = 443
_NOTHING = ""


async def run_service_probe(probe: ServiceProbe, *, minute: int, seconds: float) -> Probe | None:
    """Run *probe* with a timeout of *seconds*. Returns None if its files can't be used: then nothing is measured."""
    try:
        reason = await _KINDS[probe.kind](probe, seconds)
    except (KeyFileError, OSError) as error:
        log.error("probe.identity_unusable", consumer="", service=probe.service, error=type(error).__name__)
        return None
    if reason:
        log.warning("probe.failed", method=probe.service, consumer="", reason=reason, error="")
    return Probe(minute, probe.service, "", attribution_of(reason) if reason else None, reason)


def tls_context(probe: ServiceProbe, *, alpn: Sequence[str]) -> ssl.SSLContext:
    """Return the TLS context of *probe*, which offers the protocols *alpn*.

    Raises:
        KeyFileError: a file can't be used.
        OSError: a file can't be read or used.
    """
    if probe.certificate and probe.ca_certificates:
        return _identity(probe).ssl_context(alpn=alpn)
    context = ssl.create_default_context(cafile=probe.ca_certificates)
    if probe.certificate:
        context.load_cert_chain(probe.certificate, probe.private_key)
    context.set_alpn_protocols(list(alpn))
    return context


def _identity(probe: ServiceProbe) -> ClientIdentity:
    files = (probe.certificate, probe.private_key, probe.ca_certificates)
    certificate, private_key, ca_certificates = (Path(file or "") for file in files)
    return ClientIdentity(certificate, private_key, ca_certificates)


async def _http(probe: ServiceProbe, seconds: float) -> str:
    context = tls_context(probe, alpn=("http/1.1",))
    reason = await asyncio.to_thread(_request, probe, context, seconds)
    url = urlsplit(probe.target)
    if reason == TransportFailure.SERVICE_SILENT and url.scheme == "https":
        # It may have closed the connection because it demands another certificate, or one at all.
        found = await tls_probe.probe_tls(url.netloc if url.port else f"{url.netloc}:{_HTTPS}", context, seconds)
        if found is tls_probe.TlsProbeResult.CLIENT_REJECTED:
            return TransportFailure.STATUS_UNEXPLAINED
    return reason


def _request(probe: ServiceProbe, context: ssl.SSLContext, seconds: float) -> str:
    headers = {"content-type": probe.content_type} if probe.body else {}
    request = Request(  # noqa: S310 - the scheme is http or https, by the settings
        probe.target, probe.body.encode() or None, headers, method=probe.method
    )
    try:
        with opener_of(context).open(request, timeout=seconds) as reply:
            return _judged(probe, reply.status)
    except HTTPError as error:
        return _judged(probe, error.code)
    except URLError as error:
        return _transport_failure(error.reason)
    except (OSError, HTTPException):
        return TransportFailure.SERVICE_SILENT


def _judged(probe: ServiceProbe, status: int) -> str:
    if status in probe.expect:
        return _NOTHING
    return TransportFailure.SERVER_ERROR if status >= _SERVER_ERROR else TransportFailure.STATUS_UNEXPLAINED


def _transport_failure(reason: object) -> str:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return tls_probe.BY_RESULT[tls_probe.rejection(reason)]
    if isinstance(reason, ssl.SSLError):
        return TransportFailure.SERVICE_SILENT
    refused = isinstance(reason, ConnectionRefusedError)
    return TransportFailure.CONNECTION_REFUSED if refused else TransportFailure.UNREACHABLE


async def _tls(probe: ServiceProbe, seconds: float) -> str:
    found = await tls_probe.probe_tls(probe.target, tls_context(probe, alpn=()), seconds)
    # A server without HTTP/2 waits for the client, and one that demands a client certificate closes: both are there.
    there = {tls_probe.TlsProbeResult.ACCEPTED, tls_probe.TlsProbeResult.CLIENT_REJECTED}
    return _NOTHING if found in there else tls_probe.BY_RESULT[found]


async def _grpc_health(probe: ServiceProbe, seconds: float) -> str:
    identity = _identity(probe)
    (channel,) = aio_connections(probe.target, identity, 1)
    async with channel:
        stub = HealthStub(channel)  # type: ignore[no-untyped-call]
        try:
            response = await stub.Check(HealthCheckRequest(service=probe.health_service), timeout=seconds)
        except grpc.aio.AioRpcError as error:
            if error.code() in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND}:
                return TransportFailure.STATUS_UNEXPLAINED
            return tls_probe.BY_RESULT[await tls_probe.probe_tls(probe.target, identity.ssl_context(), seconds)]
    return _NOTHING if response.status == HealthCheckResponse.SERVING else TransportFailure.NOT_SERVING


_KINDS: Mapping[str, Callable[[ServiceProbe, float], Awaitable[str]]] = {
    "http": _http,
    "tls": _tls,
    "grpc-health": _grpc_health,
}
