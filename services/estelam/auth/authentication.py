"""Authentication: the one organisation that the client certificate names, with or without a proxy in between."""

from collections.abc import Callable, Iterable
from typing import Any

from grpc.aio import ServicerContext

from estelam.auth.certificate import parse_certificate
from estelam.auth.xfcc import HEADER, XfccVerifier
from estelam.core.clock import Clock
from estelam.core.errors import Reason, Refusal
from estelam.core.model import Caller
from estelam.core.settings import ServingSettings

Metadata = Iterable[tuple[str, str | bytes]]


class Authenticator:
    """Authenticates callers. *is_denied* tells whether a certificate's fingerprint is on the deny list."""

    def __init__(self, settings: ServingSettings, *, is_denied: Callable[[str], bool], clock: Clock) -> None:
        self._xfcc = XfccVerifier(settings.trusted_proxies, settings.ca_certificates, clock)
        self._is_denied = is_denied
        self._clock = clock

    def authenticate(self, context: ServicerContext[Any, Any], metadata: Metadata) -> Caller:
        """Return the organisation named by the connection's certificate or, behind a trusted proxy, by the XFCC header.

        TLS has verified the chain. The validity period is checked again here, since a connection outlives its
        handshake. An XFCC header from anyone but a trusted proxy is an attempt at impersonation.

        Raises:
            Refusal: CERTIFICATE_UNUSABLE, CERTIFICATE_EXPIRED, or CERTIFICATE_DENIED for the proxy's own certificate.
        """
        presented = list(context.auth_context().get("x509_pem_cert", ()))
        if len(presented) != 1:
            raise Refusal(Reason.CERTIFICATE_UNUSABLE)
        certificate = parse_certificate(presented[0])
        header_values = [value for key, value in metadata if key == HEADER]
        if self._xfcc.is_trusted_proxy(certificate.fingerprint):
            certificate.check_validity_period(self._clock.micros())
            if self._is_denied(certificate.fingerprint):
                raise Refusal(Reason.CERTIFICATE_DENIED)
            certificate = self._xfcc.client_certificate(header_values)
        elif header_values:
            raise Refusal(Reason.CERTIFICATE_UNUSABLE)
        caller = certificate.caller()
        certificate.check_validity_period(self._clock.micros())
        return caller
