"""A look at a service that said nothing: who is there, by TLS alone, so that nobody is blamed for another's fault."""

import asyncio
import ssl
from enum import StrEnum

from estelam.client.channel import ClientIdentity

_CERTIFICATE_EXPIRED, _CERTIFICATE_NOT_YET_VALID = 10, 9  # X509_V_ERR_… of OpenSSL


class There(StrEnum):
    """What a handshake met."""

    NOBODY = "nobody"
    """No connection came about, or no handshake on it."""
    STRANGER = "stranger"
    """Somebody whose certificate is not of the authorities that the services' come from, or of another name."""
    EXPIRED = "expired"
    """The service, outside its certificate's dates."""
    AVERSE = "averse"
    """The service, which closed the connection as soon as it had seen the certificate that it was shown."""
    OPEN = "open"
    """The service, which keeps the connection open."""


async def look(address: str, identity: ClientIdentity, seconds: float) -> There:
    """Who is at *address* (host:port) for whoever shows *identity*."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        async with asyncio.timeout(seconds):
            tls = identity.ssl_context()
            reader, writer = await asyncio.open_connection(host, int(port), ssl=tls, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        dated = error.verify_code in {_CERTIFICATE_EXPIRED, _CERTIFICATE_NOT_YET_VALID}
        return There.EXPIRED if dated else There.STRANGER
    except (OSError, TimeoutError, ValueError):
        return There.NOBODY
    try:
        async with asyncio.timeout(seconds):
            # A server of HTTP/2 speaks first, unless it has turned the certificate away.
            return There.OPEN if await reader.read(1) else There.AVERSE
    except TimeoutError:
        return There.OPEN
    except OSError:
        return There.AVERSE
    finally:
        writer.transport.abort()
