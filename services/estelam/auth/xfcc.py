"""Verifies the x-forwarded-client-cert (XFCC) header of a TLS-terminating proxy.

The proxy is Envoy with `forward_client_cert_details: SANITIZE_SET` and only `cert: true` set, so the header has one
form and one element. The proxy is trusted only for proof of key possession; chain, validity and deny list are checked
here.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from urllib.parse import unquote_to_bytes

import structlog
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError

from estelam.auth.certificate import ClientCertificate, parse_certificate
from estelam.core.clock import Clock, to_datetime, to_micros
from estelam.core.errors import Reason, Refusal
from estelam.core.pem import KeyFileError, read_certificates
from estelam.core.reload import FileReloader

log = structlog.get_logger()

HEADER = "x-forwarded-client-cert"

_BODY = r"(?:[0-9A-Za-z]|%0A|%2B|%2F|%3D)+"
_ELEMENT = re.compile(
    rf'Hash=([0-9a-f]{{64}});Cert="(-----BEGIN%20CERTIFICATE-----%0A{_BODY}-----END%20CERTIFICATE-----%0A)"'
)


class XfccVerifier:
    """Verifies XFCC headers of trusted *proxies* (by certificate fingerprint) against the authorities in *trust*."""

    def __init__(self, proxies: Sequence[str], trust: Path, clock: Clock) -> None:
        self._proxies = frozenset(proxies)
        self._trust = trust
        self._clock = clock
        self._reloader = FileReloader(lambda: (trust,), self._load, interval_seconds=1.0, monotonic=clock.monotonic)

    def is_trusted_proxy(self, fingerprint: str) -> bool:
        """Whether the certificate with this SHA-256 *fingerprint* belongs to a trusted proxy."""
        return fingerprint in self._proxies

    def client_certificate(self, header_values: Sequence[str | bytes]) -> ClientCertificate:
        """Return the client certificate in the one header value; it is valid only while its whole chain is.

        Raises:
            Refusal: CERTIFICATE_UNUSABLE.
        """
        if len(header_values) != 1 or not isinstance(header_values[0], str):
            raise Refusal(Reason.CERTIFICATE_UNUSABLE)
        certificate = self._current_verifier()(header_values[0])
        if self.is_trusted_proxy(certificate.fingerprint):
            raise Refusal(Reason.CERTIFICATE_UNUSABLE)
        return certificate

    def _current_verifier(self) -> Callable[[str], ClientCertificate]:
        """Return the function that verifies a header by the current authorities; checks their file once a second."""
        try:
            self._reloader.refresh()
        except (OSError, KeyFileError) as error:
            if not self._reloader.is_loaded:
                raise
            log.warning("ca_certificates.unreadable", error=type(error).__name__)
        return self._reloader.value

    def _load(self) -> Callable[[str], ClientCertificate]:
        store = Store(list(read_certificates(self._trust)))
        return lru_cache(maxsize=1024)(partial(_verify_header, store, self._clock))


def _verify_header(store: Store, clock: Clock, header: str) -> ClientCertificate:
    element = _ELEMENT.fullmatch(header)
    if element is None:
        raise Refusal(Reason.CERTIFICATE_UNUSABLE)
    pem = unquote_to_bytes(element[2])
    certificate = parse_certificate(pem)
    if certificate.fingerprint != element[1]:
        raise Refusal(Reason.CERTIFICATE_UNUSABLE)
    certificate.check_validity_period(now := clock.micros())
    policy = (
        PolicyBuilder()
        .store(store)
        .time(to_datetime(now))
        .extension_policies(ca_policy=_CA_POLICY, ee_policy=_CLIENT_POLICY)
    )
    try:
        chain = policy.build_client_verifier().verify(x509.load_pem_x509_certificate(pem), []).chain
    except VerificationError:
        raise Refusal(Reason.CERTIFICATE_UNUSABLE) from None
    return replace(
        certificate,
        not_before_micros=max(to_micros(link.not_valid_before_utc) for link in chain),
        not_after_micros=min(to_micros(link.not_valid_after_utc) for link in chain),
    )


def _require_client_usage(_policy: Policy, _certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise ValueError("the certificate is not a client certificate")


_CA_POLICY = ExtensionPolicy.webpki_defaults_ca()
# The web PKI profile requires a host name, which an organisation's certificate does not have.
_CLIENT_POLICY = ExtensionPolicy.permit_all().may_be_present(
    x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _require_client_usage
)
