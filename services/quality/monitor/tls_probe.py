"""TLS probe of a service that gave no reason: who answers at the address, to attribute the failure."""

import asyncio
import ssl
from collections.abc import Mapping
from enum import StrEnum

from estelam.core.addresses import split
from quality.attribution import TransportFailure

_CERTIFICATE_EXPIRED, _CERTIFICATE_NOT_YET_VALID = 10, 9  # X509_V_ERR_… of OpenSSL


class TlsProbeResult(StrEnum):
    """Result of the handshake."""

    UNREACHABLE = "unreachable"
    """No connection."""
    REFUSED = "refused"
    """The host refused the connection."""
    FROZEN = "frozen"
    """A connection, and no handshake on it."""
    UNTRUSTED = "untrusted"
    """The server's certificate is not from a trusted authority, or is for another name."""
    EXPIRED = "expired"
    """The service's certificate is trusted, and expired or not yet valid."""
    CLIENT_REJECTED = "client_rejected"
    """The service closed the connection after it received the client certificate."""
    ACCEPTED = "accepted"
    """The service keeps the connection open."""


BY_RESULT: Mapping[TlsProbeResult, TransportFailure] = {
    TlsProbeResult.UNREACHABLE: TransportFailure.UNREACHABLE,
    TlsProbeResult.REFUSED: TransportFailure.CONNECTION_REFUSED,
    TlsProbeResult.FROZEN: TransportFailure.SERVICE_FROZEN,
    TlsProbeResult.UNTRUSTED: TransportFailure.SERVICE_UNPROVEN,
    TlsProbeResult.EXPIRED: TransportFailure.SERVICE_CERTIFICATE_EXPIRED,
    TlsProbeResult.CLIENT_REJECTED: TransportFailure.SERVICE_SILENT,
    TlsProbeResult.ACCEPTED: TransportFailure.SERVICE_SILENT,
}
"""Why a service that gave no reason did not answer, by what its TLS shows."""


async def probe_tls(address: str, tls: ssl.SSLContext, seconds: float) -> TlsProbeResult:
    """Connect to *address* (host:port) with the certificates of *tls*, within *seconds* for each step."""
    host, port = split(address)
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return TlsProbeResult.REFUSED
    except (OSError, TimeoutError, ValueError):
        return TlsProbeResult.UNREACHABLE
    try:
        return await _handshake(reader, writer, tls, host, seconds)
    finally:
        writer.transport.abort()


async def _handshake(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tls: ssl.SSLContext, host: str, seconds: float
) -> TlsProbeResult:
    try:
        async with asyncio.timeout(seconds):
            await writer.start_tls(tls, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        return rejection(error)
    except (OSError, TimeoutError, ValueError):
        return TlsProbeResult.FROZEN
    try:
        async with asyncio.timeout(seconds):
            # An HTTP/2 server sends the first frame, unless it has rejected the client certificate.
            return TlsProbeResult.ACCEPTED if await reader.read(1) else TlsProbeResult.CLIENT_REJECTED
    except TimeoutError:
        return TlsProbeResult.ACCEPTED
    except OSError:
        return TlsProbeResult.CLIENT_REJECTED


def rejection(error: ssl.SSLCertVerificationError) -> TlsProbeResult:
    """What *error* says of the server's certificate."""
    dated = error.verify_code in {_CERTIFICATE_EXPIRED, _CERTIFICATE_NOT_YET_VALID}
    return TlsProbeResult.EXPIRED if dated else TlsProbeResult.UNTRUSTED
