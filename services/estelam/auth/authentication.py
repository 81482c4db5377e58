"""Who asks: the one organisation that the caller's certificate names, whether or not a proxy stands between."""

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
    """Tells who asks. *barred* says which certificates the deny-list bars."""

    def __init__(self, settings: ServingSettings, *, barred: Callable[[str], bool], clock: Clock) -> None:
        self._vouchers = XfccVerifier(settings.trusted_proxies, settings.ca_certificates, clock)
        self._barred = barred
        self._clock = clock

    def authenticate(self, context: ServicerContext[Any, Any], metadata: Metadata) -> Caller:
        """The organisation whose trusted certificate this connection was opened with, or a named proxy's was.

        TLS has checked the chain. The dates are checked again here, since a connection outlives its handshake. From
        anyone but a named proxy, a word about somebody else's certificate is an attempt to be somebody else.

        Raises:
            Refusal: CERTIFICATE_UNUSABLE, CERTIFICATE_EXPIRED, or CERTIFICATE_DENIED for the proxy's own.
        """
        presented = list(context.auth_context().get("x509_pem_cert", ()))
        if len(presented) != 1:
            raise Refusal(Reason.CERTIFICATE_UNUSABLE)
        credential = parse_certificate(presented[0])
        told = [value for key, value in metadata if key == HEADER]
        if self._vouchers.is_trusted_proxy(credential.fingerprint):
            credential.check_validity_period(self._clock.micros())
            if self._barred(credential.fingerprint):
                raise Refusal(Reason.CERTIFICATE_DENIED)
            credential = self._vouchers.credential(told)
        elif told:
            raise Refusal(Reason.CERTIFICATE_UNUSABLE)
        caller = credential.caller()
        credential.check_validity_period(self._clock.micros())
        return caller
