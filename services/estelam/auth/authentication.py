"""Authentication: the one organisation that the client certificate names, with or without a proxy in between."""

from collections.abc import Callable, Iterable, Sequence

from estelam.auth.certificate import ClientCertificate, parse_certificate
from estelam.auth.revocation import Revocation
from estelam.auth.xfcc import HEADER, XfccVerifier
from estelam.core.clock import Clock
from estelam.core.errors import Reason, Refusal
from estelam.core.settings import ServingSettings

Metadata = Iterable[tuple[str, str | bytes]]


class Authenticator:
    """Authenticates callers. *is_denied* tells whether a certificate's fingerprint is on the deny list.

    Raises:
        KeyFileError: a revocation list can't be used.
        OSError: a revocation list can't be read.
    """

    def __init__(self, settings: ServingSettings, *, is_denied: Callable[[str], bool], clock: Clock) -> None:
        self._xfcc = XfccVerifier(settings.trusted_proxies, settings.ca_certificates, clock)
        self._is_denied = is_denied
        self._clock = clock
        self.revocation = Revocation(settings.revocation_lists, settings.ca_certificates, clock)
        """The revocation lists, against which the caller's certificate is checked once the caller is known."""

    def authenticate(self, presented: Sequence[bytes], metadata: Metadata) -> ClientCertificate:
        """Return the certificate *presented* (PEM) on the connection or, behind a trusted proxy, of the XFCC header.

        It names one organisation. TLS has verified the chain. The validity period is checked again here, since a
        connection outlives its handshake. An XFCC header from any but a trusted proxy is an attempt at impersonation.

        Raises:
            Refusal: CERTIFICATE_UNUSABLE or CERTIFICATE_EXPIRED; for the proxy's own certificate also
                CERTIFICATE_DENIED, CERTIFICATE_REVOKED or REVOCATION_UNKNOWN.
        """
        if len(presented) != 1:
            raise Refusal(Reason.CERTIFICATE_UNUSABLE)
        certificate = parse_certificate(presented[0])
        header_values = [value for key, value in metadata if key == HEADER]
        if self._xfcc.is_trusted_proxy(certificate.fingerprint):
            certificate.check_validity_period(self._clock.micros())
            if self._is_denied(certificate.fingerprint):
                raise Refusal(Reason.CERTIFICATE_DENIED)
            self.revocation.check(certificate)
            certificate = self._xfcc.client_certificate(header_values)
        elif header_values:
            raise Refusal(Reason.CERTIFICATE_UNUSABLE)
        certificate.caller()
        certificate.check_validity_period(self._clock.micros())
        return certificate
