"""Certificates with properties that the development CA gives none of its own."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes, CertificatePublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from estelam.core.keys import key_fingerprint
from estelam.core.pem import read_certificates, read_private_key

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def certificate_pem(
    pki: Path,
    public_key: CertificatePublicKeyTypes,
    *,
    since: datetime = NOW - DAY,
    until: datetime = NOW + DAY,
    digital_signature: bool | None = True,
    organizations: Sequence[str] = ("99001504616",),
    common_names: Sequence[str] = (),
) -> bytes:
    """Return a certificate of *public_key* by the CA in *pki*; without key usage if *digital_signature* is None."""
    authority, key = read_certificates(pki / "ca.crt")[0], read_private_key(pki / "ca.key")
    named = [x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, each) for each in organizations]
    name = x509.Name([*named, *(x509.NameAttribute(NameOID.COMMON_NAME, each) for each in common_names)])
    builder = (
        x509.CertificateBuilder(authority.subject, name, public_key, x509.random_serial_number(), since, until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)  # type: ignore[arg-type]
    )
    if digital_signature is not None:
        usage = x509.KeyUsage(
            digital_signature=digital_signature,
            content_commitment=not digital_signature,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=False,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)  # type: ignore[arg-type]


def write_authority(
    folder: Path,
    *,
    above: Path | None = None,
    signs_lists: bool = True,
    path_length: int | None = None,
    key: CertificateIssuerPrivateKeyTypes | None = None,
    organization_id: str | None = None,
) -> Path:
    """Write an authority, named after *folder*, to ca.crt and ca.key in it, issued by the one in the folder *above*.

    Without *above* it issues itself.
    """
    folder.mkdir()
    key = key or generate_private_key(SECP256R1())
    named = [x509.NameAttribute(NameOID.COMMON_NAME, folder.name)]
    if organization_id:
        named.append(x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, organization_id))
    name = x509.Name(named)
    issuer = read_certificates(above / "ca.crt")[0].subject if above else name
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=signs_lists,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder(issuer, name, key.public_key(), x509.random_serial_number(), NOW - DAY, NOW + DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(usage, critical=True)
        .sign(read_private_key(above / "ca.key") if above else key, SHA256())  # type: ignore[arg-type]
    )
    (folder / "ca.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "ca.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    return folder


def write_client(
    folder: Path,
    name: str,
    organization_id: str,
    key: CertificateIssuerPrivateKeyTypes,
    *,
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
) -> Path:
    """Write a certificate *name*.crt of *key*, and the key, issued by the authority in *folder*; return its path."""
    issuer, issuer_key = read_certificates(folder / "ca.crt")[0], read_private_key(folder / "ca.key")
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, organization_id)])
    serial = x509.random_serial_number()
    certificate = (
        x509.CertificateBuilder(issuer.subject, subject, key.public_key(), serial, NOW - DAY, NOW + DAY)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .sign(issuer_key, SHA256())  # type: ignore[arg-type]
    )
    path = folder / f"{name}.crt"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    path.with_suffix(".key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def write_flipped(certificate: Path) -> Path:
    """Write *certificate* with its issuer's signature rewritten, and its key, beside it; return its path."""
    path = certificate.with_name(f"flipped {certificate.name}")
    path.write_bytes(flip_signature(certificate.read_bytes()))
    path.with_suffix(".key").write_bytes(certificate.with_suffix(".key").read_bytes())
    return path


def key_sha256(file: Path) -> str:
    """Return the SHA-256 of the public key of the certificate in *file*, as deny lists have it."""
    return key_fingerprint(read_certificates(file)[0].public_key())


def write_retirement(path: Path, certificate: Path, at: datetime, reason: str) -> Path:
    """Write to *path* that the key of *certificate* was retired *at*."""
    row = {"key": key_sha256(certificate), "retired_at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "reason": reason}
    path.write_text(json.dumps({"retired": [row]}), "ascii")
    return path


def concatenate(path: Path, files: Sequence[Path | bytes]) -> Path:
    """Write *files*, or their content, one after the other to *path*."""
    path.write_bytes(b"".join(one if isinstance(one, bytes) else one.read_bytes() for one in files))
    return path


def crl_pem(
    pki: Path,
    revoked: Sequence[Path] = (),
    *,
    since: datetime = NOW - DAY,
    until: datetime | None = NOW + DAY,
    extension: x509.ExtensionType | None = None,
    encoding: Encoding = Encoding.PEM,
) -> bytes:
    """Return a revocation list of the CA in *pki* that names the certificates in the files *revoked*."""
    authority, key = read_certificates(pki / "ca.crt")[0], read_private_key(pki / "ca.key")
    builder = x509.CertificateRevocationListBuilder(authority.subject, since, until)
    for file in revoked:
        serial = read_certificates(file)[0].serial_number
        row = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since).build()
        builder = builder.add_revoked_certificate(row)
    if extension is not None:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(key, SHA256()).public_bytes(encoding)  # type: ignore[arg-type]


def flip_signature(pem: bytes) -> bytes:
    """Return the certificate with its ECDSA P-256 signature (r, s) rewritten as (r, n - s), which is valid as well."""
    certificate = x509.load_pem_x509_certificate(pem)
    r, s = decode_dss_signature(certificate.signature)
    flipped = encode_dss_signature(r, P256_ORDER - s)
    tbs, whole = certificate.tbs_certificate_bytes, certificate.public_bytes(Encoding.DER)
    algorithm = whole[whole.index(tbs) + len(tbs) : -len(certificate.signature) - 3]
    body = tbs + algorithm + bytes((3, len(flipped) + 1, 0)) + flipped
    der = b"\x30\x82" + len(body).to_bytes(2, "big") + body
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
