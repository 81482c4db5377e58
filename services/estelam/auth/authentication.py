"""Authentication: the one organisation that the client certificate names, with or without a proxy in between."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from cryptography import x509

from estelam.auth.certificate import ClientCertificate
from estelam.auth.kept_lists import kept_lists_path
from estelam.auth.revocation import Revocation
from estelam.auth.trust import CACHED_CERTIFICATES, ClientTrust
from estelam.auth.xfcc import HEADER, forwarded_certificate
from estelam.core.clock import Clock
from estelam.core.errors import Reason, Refusal
from estelam.core.keys import key_fingerprint
from estelam.core.settings import ServingSettings

Metadata = Iterable[tuple[str, str | bytes]]


class Authenticator:
    """Authenticates callers. *is_denied* tells whether a certificate is on the deny list.

    Raises:
        KeyFileError: the authorities or a revocation list can't be used.
        OSError: a file can't be read.
    """

    def __init__(
        self, settings: ServingSettings, *, is_denied: Callable[[ClientCertificate], bool], clock: Clock
    ) -> None:
        self.trust = ClientTrust(settings.ca_certificates, clock)
        """The authorities of client certificates."""
        self._proxy_keys = frozenset(settings.trusted_proxy_keys)
        self._is_denied = is_denied
        self._clock = clock
        self.revocation = Revocation(
            settings.revocation_lists, settings.ca_certificates, clock, kept=kept_lists_path(settings)
        )
        """The revocation lists."""

    def authenticate(self, presented: Sequence[bytes], metadata: Metadata) -> ClientCertificate:
        """Return the certificate *presented* (PEM) on the connection or, behind a trusted proxy, of the XFCC header.

        It names one organisation. It is verified again for each call, since a connection outlives its handshake. An
        XFCC header from any but a trusted proxy is an attempt at impersonation.

        Raises:
            Refusal: CERTIFICATE_UNUSABLE or CERTIFICATE_EXPIRED; for the proxy's own certificate also
                CERTIFICATE_DENIED, CERTIFICATE_REVOKED or REVOCATION_UNKNOWN.
        """
        if len(presented) != 1:
            raise Refusal(Reason.CERTIFICATE_UNUSABLE)
        certificate = self._verify(presented[0])
        header_values = _forwarded(metadata)
        if certificate.key in self._proxy_keys:
            self.check_revocation(certificate)
            certificate = self._verify(forwarded_certificate(header_values))
            if certificate.key in self._proxy_keys:
                raise Refusal(Reason.CERTIFICATE_UNUSABLE)
        elif header_values:
            raise Refusal(Reason.CERTIFICATE_UNUSABLE)
        certificate.caller()
        return certificate

    def owner(self, presented: Sequence[bytes], metadata: Metadata = ()) -> str:
        """Return whose share of connections, calls and refusals those with these credentials take.

        It is the organisation, however many certificates it has. A caller who is not authenticated, or whose
        certificate is denied or revoked, is known by the certificate's public key: the holder of a certificate can
        rewrite its issuer's signature, and so have several of one key.
        """
        try:
            certificate = self.authenticate(presented, metadata)
            self.check_revocation(certificate)
            return certificate.caller().organization_id
        except Refusal:
            key = _public_key(b"".join(presented))
        if key in self._proxy_keys and (values := _forwarded(metadata)):
            try:
                return _public_key(forwarded_certificate(values))
            except Refusal:
                pass
        return key

    def is_proxy(self, presented: Sequence[bytes]) -> bool:
        """Whether the certificate *presented* (PEM) is a trusted proxy's, whose connections many callers share."""
        return _public_key(b"".join(presented)) in self._proxy_keys

    def check_revocation(self, certificate: ClientCertificate) -> None:
        """Check that *certificate* is neither denied nor revoked.

        Raises:
            Refusal: CERTIFICATE_DENIED, CERTIFICATE_REVOKED, or REVOCATION_UNKNOWN if that can't be decided.
        """
        if self._is_denied(certificate):
            raise Refusal(Reason.CERTIFICATE_DENIED)
        self.revocation.check(certificate)

    def _verify(self, pem: bytes) -> ClientCertificate:
        certificate = self.trust.verify(pem)
        certificate.check_validity_period(self._clock.micros())
        return certificate


def _forwarded(metadata: Metadata) -> list[str | bytes]:
    return [value for key, value in metadata if key == HEADER]


@lru_cache(CACHED_CERTIFICATES)
def _public_key(pem: bytes) -> str:
    """Return the SHA-256 of the public key of a certificate; an empty text if it has none that can be read."""
    try:
        return key_fingerprint(x509.load_pem_x509_certificate(pem).public_key())
    except Exception:  # noqa: BLE001 - the errors of a damaged certificate are of many classes
        return ""
