"""TLS contexts of connections that gRPC does not open itself: mutual TLS, with the certificates in PEM files."""

import ssl
from collections.abc import Sequence
from pathlib import Path


def client_context(
    certificate: Path, private_key: Path, ca_certificates: Path, *, alpn: Sequence[str]
) -> ssl.SSLContext:
    """Return a client's context that trusts *ca_certificates* alone and offers the protocols *alpn*.

    Raises:
        OSError: A file can't be read or used (`ssl.SSLError` is one).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca_certificates)
    context.load_cert_chain(certificate, private_key)
    context.set_alpn_protocols(list(alpn))
    return context


def server_context(certificate: Path, private_key: Path, ca_certificates: Path) -> ssl.SSLContext:
    """Return a server's context that requires a client certificate issued under *ca_certificates*.

    Raises:
        OSError: A file can't be read or used (`ssl.SSLError` is one).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    # A resumed session would skip the check against authorities that have changed since.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    context.load_cert_chain(certificate, private_key)
    context.load_verify_locations(ca_certificates)
    return context
