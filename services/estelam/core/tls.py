"""TLS contexts of connections that gRPC does not open itself: mutual TLS, with the certificates in PEM files."""

import ssl
from collections.abc import Sequence
from pathlib import Path

from estelam.core.pem import read_key_pair, read_trust


def client_context(
    certificate: Path, private_key: Path, ca_certificates: Path, *, alpn: Sequence[str]
) -> ssl.SSLContext:
    """Return a client's context that trusts *ca_certificates* alone and offers the protocols *alpn*.

    Raises:
        KeyFileError: A file can't be used.
        OSError: A file can't be read or used (`ssl.SSLError` is one).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _load(context, certificate, private_key, ca_certificates)
    context.set_alpn_protocols(list(alpn))
    return context


def server_context(certificate: Path, private_key: Path, ca_certificates: Path) -> ssl.SSLContext:
    """Return a server's context, TLS 1.3 alone, that requires a client certificate issued under *ca_certificates*.

    Raises:
        KeyFileError: A file can't be used.
        OSError: A file can't be read or used (`ssl.SSLError` is one).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an authority of the file need not be a root, as with gRPC
    # A resumed session would skip the check against authorities that have changed since. TLS 1.2 would resume some by
    # their id alone; TLS 1.3 needs tickets, and none are issued.
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    _load(context, certificate, private_key, ca_certificates)
    return context


def _load(context: ssl.SSLContext, certificate: Path, private_key: Path, ca_certificates: Path) -> None:
    # OpenSSL states no file and no reason, uses what it can read of a file of authorities, and asks for a passphrase.
    read_key_pair(certificate, private_key)
    trust = read_trust(ca_certificates)
    context.load_cert_chain(certificate, private_key)
    context.load_verify_locations(cadata=trust.decode("ascii", "ignore"))
