"""Kinds of public keys, and which are accepted for TLS: those that gRPC takes (measured with 1.85, in both roles)."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import PublicKeyAlgorithmOID

_CURVES = {SECP256R1.name: "P-256", SECP384R1.name: "P-384", "secp521r1": "P-521"}
MIN_RSA_BITS = 2048
TLS_CURVES = (SECP256R1.name, SECP384R1.name)


def key_type(certificate: x509.Certificate) -> str:
    """Return the kind of the certificate's key as people name it: RSA 2048, ECDSA P-256, Ed25519."""
    oid = certificate.public_key_algorithm_oid
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return oid.dotted_string
    if isinstance(key, RSAPublicKey):
        return f"{'RSA-PSS' if oid == PublicKeyAlgorithmOID.RSASSA_PSS else 'RSA'} {key.key_size}"
    if isinstance(key, EllipticCurvePublicKey):
        return f"ECDSA {_CURVES.get(key.curve.name, key.curve.name)}"
    return type(key).__name__.removeprefix("_").removesuffix("PublicKey")


def works_with_tls(certificate: x509.Certificate) -> bool:
    """Whether a TLS handshake with gRPC accepts the certificate's kind of key, and it is no RSA key below 2048 bits."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False
    return certificate.public_key_algorithm_oid != PublicKeyAlgorithmOID.RSASSA_PSS and is_tls_key(key)


def is_tls_key(key: CertificatePublicKeyTypes) -> bool:
    """Whether certificates of *key* work with TLS, unless one declares it a key for RSA-PSS alone."""
    if isinstance(key, RSAPublicKey):
        return key.key_size >= MIN_RSA_BITS
    return isinstance(key, EllipticCurvePublicKey) and key.curve.name in TLS_CURVES
