"""TLS probe of a service that gave no reason: who answers at the address, to attribute the failure."""

import asyncio
import ssl
from enum import StrEnum

from estelam.client.channel import ClientIdentity
from estelam.core.addresses import split

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


async def probe_tls(address: str, identity: ClientIdentity, seconds: float) -> TlsProbeResult:
    """Connect to *address* (host:port) with *identity*, within *seconds* for each step."""
    host, port = split(address)
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return TlsProbeResult.REFUSED
    except (OSError, TimeoutError, ValueError):
        return TlsProbeResult.UNREACHABLE
    try:
        return await _handshake(reader, writer, identity.ssl_context(), host, seconds)
    finally:
        writer.transport.abort()


async def _handshake(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tls: ssl.SSLContext, host: str, seconds: float
) -> TlsProbeResult:
    try:
        async with asyncio.timeout(seconds):
            await writer.start_tls(tls, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        dated = error.verify_code in {_CERTIFICATE_EXPIRED, _CERTIFICATE_NOT_YET_VALID}
        return TlsProbeResult.EXPIRED if dated else TlsProbeResult.UNTRUSTED
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
