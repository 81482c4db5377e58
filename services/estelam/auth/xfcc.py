"""What a proxy that ended TLS says of the caller behind it, believed only as far as it can be checked here.

The proxy is Envoy with `forward_client_cert_details: SANITIZE_SET` and nothing but `cert: true` set, so its header has
one form and one element. The proxy vouches for one thing alone: that the caller holds the key of this certificate.
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
from estelam.core.files import FileReloader

log = structlog.get_logger()

HEADER = "x-forwarded-client-cert"

_BODY = r"(?:[0-9A-Za-z]|%0A|%2B|%2F|%3D)+"
_ELEMENT = re.compile(
    rf'Hash=([0-9a-f]{{64}});Cert="(-----BEGIN%20CERTIFICATE-----%0A{_BODY}-----END%20CERTIFICATE-----%0A)"'
)


class XfccVerifier:
    """Reads what named proxies say of their callers, and checks each certificate's chain against the file *trust*."""

    def __init__(self, proxies: Sequence[str], trust: Path, clock: Clock) -> None:
        self._proxies = frozenset(proxies)
        self._trust = trust
        self._clock = clock
        self._reloader = FileReloader(lambda: (trust,), self._load, interval_seconds=1.0, monotonic=clock.monotonic)

    def is_trusted_proxy(self, fingerprint: str) -> bool:
        """Whether the certificate *fingerprint* is a proxy's that may vouch for callers."""
        return fingerprint in self._proxies

    def credential(self, told: Sequence[str | bytes]) -> ClientCertificate:
        """The caller's certificate, as the one header in *told* holds it; in force only while its whole chain is.

        Raises:
            Refusal: CERTIFICATE_UNUSABLE.
        """
        if len(told) != 1 or not isinstance(told[0], str):
            raise Refusal(Reason.CERTIFICATE_UNUSABLE)
        credential = self._reader()(told[0])
        if self.is_trusted_proxy(credential.fingerprint):
            raise Refusal(Reason.CERTIFICATE_UNUSABLE)
        return credential

    def _reader(self) -> Callable[[str], ClientCertificate]:
        """What reads a header by the authorities trusted now; looks for a change of their file once a second."""
        try:
            self._reloader.refresh()
        except (OSError, ValueError) as error:
            if not self._reloader.is_loaded:
                raise
            log.warning("trust.unreadable", error=type(error).__name__)
        return self._reloader.value

    def _load(self) -> Callable[[str], ClientCertificate]:
        store = Store(x509.load_pem_x509_certificates(self._trust.read_bytes()))
        return lru_cache(maxsize=1024)(partial(_verified, store, self._clock))


def _verified(store: Store, clock: Clock, header: str) -> ClientCertificate:
    element = _ELEMENT.fullmatch(header)
    if element is None:
        raise Refusal(Reason.CERTIFICATE_UNUSABLE)
    pem = unquote_to_bytes(element[2])
    credential = parse_certificate(pem)
    if credential.fingerprint != element[1]:
        raise Refusal(Reason.CERTIFICATE_UNUSABLE)
    credential.check_validity_period(now := clock.micros())
    policy = (
        PolicyBuilder().store(store).time(to_datetime(now)).extension_policies(ca_policy=_ISSUER, ee_policy=_CALLER)
    )
    try:
        chain = policy.build_client_verifier().verify(x509.load_pem_x509_certificate(pem), []).chain
    except VerificationError:
        raise Refusal(Reason.CERTIFICATE_UNUSABLE) from None
    return replace(
        credential,
        not_before_micros=max(to_micros(link.not_valid_before_utc) for link in chain),
        not_after_micros=min(to_micros(link.not_valid_after_utc) for link in chain),
    )


def _for_clients(_policy: Policy, _certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise ValueError("the certificate is not for clients")


_ISSUER = ExtensionPolicy.webpki_defaults_ca()
# An organisation's certificate has no host name, which the web's rules would demand.
_CALLER = ExtensionPolicy.permit_all().may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _for_clients)
