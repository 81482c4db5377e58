"""The x-forwarded-client-cert (XFCC) header of a TLS-terminating proxy.

The proxy is Envoy with `forward_client_cert_details: SANITIZE_SET` and only `cert: true` set, so the header has one
form and one element. The proxy is trusted only for proof of key possession: the certificate is verified as any other.
"""

import re
import ssl
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from urllib.parse import unquote_to_bytes

from estelam.core.errors import Reason, Refusal

HEADER = "x-forwarded-client-cert"

_BODY = r"(?:[0-9A-Za-z]|%0A|%2B|%2F|%3D)+"
_ELEMENT = re.compile(
    rf'Hash=([0-9a-f]{{64}});Cert="(-----BEGIN%20CERTIFICATE-----%0A{_BODY}-----END%20CERTIFICATE-----%0A)"'
)


def forwarded_certificate(header_values: Sequence[str | bytes]) -> bytes:
    """Return the certificate (PEM) in the one header value. It is not verified.

    Raises:
        Refusal: CERTIFICATE_UNUSABLE.
    """
    if len(header_values) != 1 or not isinstance(header_values[0], str):
        raise Refusal(Reason.CERTIFICATE_UNUSABLE)
    return _parse(header_values[0])


@lru_cache(maxsize=1024)
def _parse(header: str) -> bytes:
    element = _ELEMENT.fullmatch(header)
    if element is None:
        raise Refusal(Reason.CERTIFICATE_UNUSABLE)
    pem = unquote_to_bytes(element[2])
    try:
        is_hash_right = sha256(ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))).hexdigest() == element[1]
    except ValueError:
        is_hash_right = False
    if not is_hash_right:
        raise Refusal(Reason.CERTIFICATE_UNUSABLE)
    return pem
