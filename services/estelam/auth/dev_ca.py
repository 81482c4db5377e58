"""Certificate authority for development and tests; production certificates come from the government's PKI."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from estelam.core.files import PRIVATE_FILE, create_private_folder, write_atomic

PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey

_DOCUMENT_SIGNING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")  # RFC 9336
_CLOCK_SLACK = timedelta(minutes=5)


class DevCertificateAuthority:
    """A certificate authority in a folder: ca.crt, ca.key, and every certificate and key that it issues."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
        key = load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
        if not isinstance(key, EllipticCurvePrivateKey):
            raise TypeError(f"{folder / 'ca.key'}: must be an elliptic-curve key")
        self._key = key

    @classmethod
    def create(
        cls,
        folder: Path,
        name: str = "estelam development CA",
        *,
        since: datetime | None = None,
        lifetime: timedelta = timedelta(days=3650),
    ) -> "DevCertificateAuthority":
        """Create a new authority in *folder*, valid from *since* (default: now)."""
        create_private_folder(folder)
        key = generate_private_key(SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(subject, subject, key.public_key(), key, since or datetime.now(UTC), lifetime)
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(key, SHA256())
        )
        _write(folder, "ca", key, certificate)
        return cls(folder)

    def issue(
        self,
        name: str,
        organization_ids: Sequence[str],
        *,
        hosts: Sequence[str] = (),
        lifetime: timedelta = timedelta(days=365),
        since: datetime | None = None,
        attributes: Sequence[x509.NameAttribute[str]] = (),
        common_name: str = "",
    ) -> Path:
        """Issue a TLS client certificate *name*.crt with its key; with *hosts*, a server certificate too.

        Its subject has *common_name* (default: *name*), *organization_ids* and *attributes*.
        """
        key = generate_private_key(SECP256R1())
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
        builder = self._leaf(
            common_name or name, organization_ids, key.public_key(), since or datetime.now(UTC), lifetime, attributes
        )
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False
            )
        return _write(self.folder, name, key, builder.sign(self._key, SHA256()))

    def issue_for(
        self, request: x509.CertificateSigningRequest, organization_id: str, *, lifetime: timedelta
    ) -> x509.Certificate:
        """Return a TLS client certificate of *organization_id* for the key of *request*, valid for *lifetime* from now.

        Of the request, the key and the common name are taken, and no extension.
        """
        named = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        name, public = str(named[0].value) if named else organization_id, request.public_key()
        builder = self._leaf(name, [organization_id], public, datetime.now(UTC), lifetime)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        return builder.add_extension(usage, critical=False).sign(self._key, SHA256())

    def issue_signing(
        self,
        name: str,
        organization_id: str,
        *,
        lifetime: timedelta = timedelta(days=3650),
        since: datetime | None = None,
    ) -> Path:
        """Issue an Ed25519 certificate *name*.crt with its key, for signing checkpoints and for nothing else."""
        key = Ed25519PrivateKey.generate()
        builder = self._leaf(name, [organization_id], key.public_key(), since or datetime.now(UTC), lifetime)
        builder = builder.add_extension(x509.ExtendedKeyUsage([_DOCUMENT_SIGNING]), critical=True)
        return _write(self.folder, name, key, builder.sign(self._key, SHA256()))

    def _leaf(
        self,
        name: str,
        organization_ids: Sequence[str],
        key: CertificatePublicKeyTypes,
        since: datetime,
        lifetime: timedelta,
        attributes: Sequence[x509.NameAttribute[str]] = (),
    ) -> x509.CertificateBuilder:
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, name),
                *(x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, number) for number in organization_ids),
                *attributes,
            ]
        )
        return (
            _builder(subject, self.certificate.subject, key, self._key, since, lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
        )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: CertificatePublicKeyTypes,
    issuer_key: PrivateKey,
    since: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    # Both key identifiers are required by RFC 5280 4.2.1.1 and 4.2.1.2, and by Python 3.13's strict verification.
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(since - _CLOCK_SLACK)
        .not_valid_after(since + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(folder: Path, name: str, key: PrivateKey, certificate: x509.Certificate) -> Path:
    secret, path = folder / f"{name}.key", folder / f"{name}.crt"
    write_atomic(secret, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), mode=PRIVATE_FILE)
    write_atomic(path, certificate.public_bytes(Encoding.PEM))
    return path
