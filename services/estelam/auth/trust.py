"""Verification of client certificates: the same for those of a TLS handshake and those that a proxy forwards.

TLS, here or in the proxy, proves that the caller holds the key. Whether the certificate is a client's and its chain is
valid is decided here, once for every face, whose TLS libraries differ in what they accept: key kinds, path lengths,
certificates of authorities. An authority that is removed ends the calls of its callers, also on open connections and
in resumed sessions.
"""

import contextlib
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store

from estelam.auth.certificate import ClientCertificate
from estelam.core.clock import Clock, to_datetime
from estelam.core.errors import Reason, Refusal
from estelam.core.exceptions import problem
from estelam.core.key_types import works_with_tls
from estelam.core.pem import read_certificates
from estelam.core.reload import FileReloader

log = structlog.get_logger()

CACHED_CERTIFICATES = 1024


class ClientTrust:
    """Verifies client certificates by the *authorities* (PEM), which it reads again within a second of a change.

    Raises:
        KeyFileError: the file holds no certificate, or one that can't be read.
        OSError: the file can't be read.
    """

    def __init__(self, authorities: Path, clock: Clock) -> None:
        self._authorities = authorities
        self._clock = clock
        self._reloader = FileReloader(
            lambda: (authorities,), self._load, failed=_log_unreadable, interval_seconds=1.0, monotonic=clock.monotonic
        )
        self._reloader.refresh()

    def verify(self, pem: bytes) -> ClientCertificate:
        """Return the client certificate *pem*, with the period in which its whole chain is valid.

        A certificate is a client's if its key is of a kind that TLS with gRPC accepts, it is not of an authority, and
        its usages, where it states any, include that of TLS clients. Its chain consists of authorities of the file.

        Raises:
            Refusal: CERTIFICATE_UNUSABLE, or CERTIFICATE_EXPIRED if its own period does not include the present.
        """
        self._reloader.refresh()
        return self._reloader.value(pem)

    def is_current(self) -> bool:
        """Return whether the newest state of the authorities is in force."""
        self._reloader.refresh()
        return self._reloader.is_current

    def _load(self) -> Callable[[bytes], ClientCertificate]:
        return _remembered(verifier(read_certificates(self._authorities), self._clock), self._clock)


def _log_unreadable(error: Exception) -> None:
    log.warning("ca_certificates.unreadable", error=type(error).__name__, problem=problem(error))


def _remembered(verify: Callable[[bytes], ClientCertificate], clock: Clock) -> Callable[[bytes], ClientCertificate]:
    """Return *verify*, called once for each certificate that it accepts, and once a second for each other one."""
    accepted = lru_cache(CACHED_CERTIFICATES)(verify)

    @lru_cache(CACHED_CERTIFICATES)
    def outcome(pem: bytes, _second: int) -> ClientCertificate | Reason:
        try:
            return accepted(pem)
        except Refusal as refusal:
            return refusal.reason

    def verified(pem: bytes) -> ClientCertificate:
        found = outcome(pem, clock.micros() // 1_000_000)
        if isinstance(found, Reason):
            raise Refusal(found)
        return found

    return verified


def verifier(
    authorities: Sequence[x509.Certificate], clock: Clock, *, between: Sequence[x509.Certificate] = ()
) -> Callable[[bytes], ClientCertificate]:
    """Return the function that verifies a certificate as `ClientTrust` does, by *authorities*.

    Args:
        authorities: The trusted authorities.
        clock: The clock.
        between: Further authorities, which one of the trusted ones must have issued.
    """
    # Each is trusted, yet those above it bind it: their path lengths, validity and revocation lists.
    below = [one for one in authorities if one.issuer != one.subject and _is_issued_by_any(one, authorities)]
    anchors = Store([one for one in authorities if one not in below] or list(authorities))
    return partial(_verify, anchors, [*below, *between], clock)


def _verify(anchors: Store, between: Sequence[x509.Certificate], clock: Clock, pem: bytes) -> ClientCertificate:
    now = clock.micros()
    policy = PolicyBuilder().store(anchors).time(to_datetime(now))
    policy = policy.extension_policies(ca_policy=_AUTHORITY, ee_policy=_CLIENT)
    try:
        leaf = x509.load_pem_x509_certificate(pem)
        ClientCertificate.of_chain([leaf]).check_validity_period(now)
        if not works_with_tls(leaf):
            raise Refusal(Reason.CERTIFICATE_UNUSABLE)
        return ClientCertificate.of_chain(policy.build_client_verifier().verify(leaf, list(between)).chain)
    except Refusal:
        raise
    except Exception:  # noqa: BLE001 - whatever a caller's certificate makes the parser raise, it can't be used
        raise Refusal(Reason.CERTIFICATE_UNUSABLE) from None


def _is_issued_by_any(certificate: x509.Certificate, authorities: Sequence[x509.Certificate]) -> bool:
    for authority in authorities:
        with contextlib.suppress(Exception):  # a key or a signature of whatever kind: it is not the issuer's
            certificate.verify_directly_issued_by(authority)
            return True
    return False


def _is_client(_policy: Policy, _certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise ValueError("it is not a client certificate")


def _signs_handshakes(_policy: Policy, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.digital_signature:
        raise ValueError("its key may not sign a handshake")


def _is_no_authority(_policy: Policy, _certificate: x509.Certificate, found: x509.BasicConstraints | None) -> None:
    if found is not None and found.ca:
        raise ValueError("it is an authority's")


_ANY = Criticality.AGNOSTIC
# The web PKI profile requires a host name, which an organisation's certificate does not have.
_CLIENT = (
    ExtensionPolicy.permit_all()
    .may_be_present(x509.ExtendedKeyUsage, _ANY, _is_client)
    .may_be_present(x509.KeyUsage, _ANY, _signs_handshakes)
    .may_be_present(x509.BasicConstraints, _ANY, _is_no_authority)
)
_AUTHORITY = ExtensionPolicy.webpki_defaults_ca()
