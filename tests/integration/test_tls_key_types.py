"""Which kinds of keys work in a TLS handshake with gRPC: `works_with_tls` says what gRPC does, in both roles."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from estelam.core.key_types import key_type, works_with_tls
from estelam.core.pem import KeyFileError, read_certificates, read_key_pair
from tests.support.certificates import DAY, NOW

Pair = tuple[bytes, bytes]
"""A key and its certificate, both PEM."""

KEYS: dict[str, tuple[bool, Callable[[], CertificateIssuerPrivateKeyTypes]]] = {
    "RSA 2048": (True, lambda: rsa.generate_private_key(65537, 2048)),
    "RSA 3072": (True, lambda: rsa.generate_private_key(65537, 3072)),
    "RSA 4096": (True, lambda: rsa.generate_private_key(65537, 4096)),
    "ECDSA P-256": (True, lambda: ec.generate_private_key(ec.SECP256R1())),
    "ECDSA P-384": (True, lambda: ec.generate_private_key(ec.SECP384R1())),
    "ECDSA P-521": (False, lambda: ec.generate_private_key(ec.SECP521R1())),
    "ECDSA secp256k1": (False, lambda: ec.generate_private_key(ec.SECP256K1())),
    "Ed25519": (False, ed25519.Ed25519PrivateKey.generate),
    "Ed448": (False, ed448.Ed448PrivateKey.generate),
}
AUTHORITIES = ("RSA 2048", "ECDSA P-256", "ECDSA P-384", "ECDSA P-521", "Ed25519")


class Authority:
    """A certificate authority with a key of any kind."""

    def __init__(self, kind: str = "ECDSA P-256") -> None:
        self.key, self._name = KEYS[kind][1](), f"authority {kind}"
        self.pem = self._certificate(self.key, self._name)

    def issue(self, key: CertificateIssuerPrivateKeyTypes) -> Pair:
        """Return *key* and a certificate of it for localhost."""
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return secret, self._certificate(key, "localhost")

    def _certificate(self, key: CertificateIssuerPrivateKeyTypes, name: str) -> bytes:
        issuer, subject = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (self._name, name))
        builder = (
            x509.CertificateBuilder(
                issuer, subject, key.public_key(), x509.random_serial_number(), NOW - DAY, NOW + DAY
            )
            .add_extension(x509.BasicConstraints(ca=name == self._name, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        )
        is_edwards = isinstance(self.key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
        return builder.sign(self.key, None if is_edwards else SHA256()).public_bytes(Encoding.PEM)


class Echo(grpc.GenericRpcHandler):
    """Answers every call."""

    def service(self, _details: object) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda request, _context: request)


@contextmanager
def serving(pair: Pair, trust: bytes) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[Echo()])
    port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([pair], trust, require_client_auth=True))
    server.start()
    try:
        yield f"localhost:{port}"
    finally:
        server.stop(0)


def connects(server: Pair, client: Pair, trust: bytes) -> bool:
    """Whether a call over mTLS gets through."""
    try:
        with serving(server, trust) as address:
            credentials = grpc.ssl_channel_credentials(trust, *client)
            options = [("grpc.enable_http_proxy", 0)]
            with grpc.secure_channel(address, credentials, options=options) as channel:
                echo: Any = channel.unary_unary("/echo/Echo")
                return bool(echo(b"1", timeout=10) == b"1")
    except (grpc.RpcError, RuntimeError):  # the latter: the port can't be opened with this certificate
        return False


def write(folder: Path, pair: Pair) -> tuple[Path, Path]:
    files = folder / "it.crt", folder / "it.key"
    files[0].write_bytes(pair[1])
    files[1].write_bytes(pair[0])
    return files


def check(folder: Path, authority: Authority, pair: Pair) -> tuple[bool, bool, bool]:
    """Whether *pair* works as the server's, as the client's, and by our own rule."""
    good = authority.issue(KEYS["ECDSA P-256"][1]())
    certificate, key = write(folder, pair)
    says = works_with_tls(read_certificates(certificate)[0])
    if says:
        assert pair[1] == read_key_pair(certificate, key).chain_pem
    else:
        with pytest.raises(KeyFileError, match=r"TLS with gRPC does not accept .* keys; use ECDSA P-256"):
            read_key_pair(certificate, key)
    return connects(pair, good, authority.pem), connects(good, pair, authority.pem), says


@pytest.mark.parametrize("kind", KEYS)
def test_kind_of_key(tmp_path: Path, kind: str) -> None:
    """A kind works as a server's and as a client's key, or is refused with the kinds that do."""
    works, generate = KEYS[kind]
    authority = Authority()
    pair = authority.issue(generate())

    assert (works, works, works) == check(tmp_path, authority, pair)
    assert kind == key_type(read_certificates(tmp_path / "it.crt")[0])


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_rsa_pss_key(tmp_path: Path) -> None:
    """A key that is for RSA-PSS alone does not work, and is refused."""
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.pem + authority.issue(authority.key)[0])
    for command in (
        "genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out key.pem",
        "req -new -key key.pem -subj /CN=localhost -addext subjectAltName=DNS:localhost -out request.pem",
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.pem -copy_extensions copy -days 9 -out certificate.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=tmp_path, check=True, capture_output=True)
    pair = (tmp_path / "key.pem").read_bytes(), (tmp_path / "certificate.pem").read_bytes()

    assert (False, False, False) == check(tmp_path, authority, pair)
    assert "RSA-PSS 2048" == key_type(read_certificates(tmp_path / "it.crt")[0])


@pytest.mark.parametrize("kind", AUTHORITIES)
def test_kind_of_authority(kind: str) -> None:
    """An authority's key may be of any kind."""
    authority = Authority(kind)
    pair = authority.issue(KEYS["ECDSA P-256"][1]())

    assert connects(pair, pair, authority.pem)


def test_line_ends_of_windows() -> None:
    """GRPC reads files with the line ends of Windows, and all authorities of a file."""
    authority, other = Authority(), Authority("RSA 2048")
    pair = authority.issue(KEYS["ECDSA P-256"][1]())
    windows = pair[0].replace(b"\n", b"\r\n"), pair[1].replace(b"\n", b"\r\n")

    assert connects(windows, windows, (other.pem + authority.pem).replace(b"\n", b"\r\n"))
