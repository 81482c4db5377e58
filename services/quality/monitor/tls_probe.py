"""A look at a service that said nothing: who is there, by TLS alone, so that nobody is blamed for another's fault."""

import asyncio
import ssl
from enum import StrEnum

from estelam.client.channel import ClientIdentity

_CERTIFICATE_EXPIRED, _CERTIFICATE_NOT_YET_VALID = 10, 9  # X509_V_ERR_… of OpenSSL


class TlsProbeResult(StrEnum):
    """What a handshake met."""

    UNREACHABLE = "nobody"
    """No connection came about, or no handshake on it."""
    UNTRUSTED = "stranger"
    """Somebody whose certificate is not of the authorities that the services' come from, or of another name."""
    EXPIRED = "expired"
    """The service, outside its certificate's dates."""
    CLIENT_REJECTED = "averse"
    """The service, which closed the connection as soon as it had seen the certificate that it was shown."""
    ACCEPTED = "open"
    """The service, which keeps the connection open."""


async def probe_tls(address: str, identity: ClientIdentity, seconds: float) -> TlsProbeResult:
    """Who is at *address* (host:port) for whoever shows *identity*."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        async with asyncio.timeout(seconds):
            tls = identity.ssl_context()
            reader, writer = await asyncio.open_connection(host, int(port), ssl=tls, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        dated = error.verify_code in {_CERTIFICATE_EXPIRED, _CERTIFICATE_NOT_YET_VALID}
        return TlsProbeResult.EXPIRED if dated else TlsProbeResult.UNTRUSTED
    except (OSError, TimeoutError, ValueError):
        return TlsProbeResult.UNREACHABLE
    try:
        async with asyncio.timeout(seconds):
            # A server of HTTP/2 speaks first, unless it has turned the certificate away.
            return TlsProbeResult.ACCEPTED if await reader.read(1) else TlsProbeResult.CLIENT_REJECTED
    except TimeoutError:
        return TlsProbeResult.ACCEPTED
    except OSError:
        return TlsProbeResult.CLIENT_REJECTED
    finally:
        writer.transport.abort()
