"""Secret keys of a service: the Ed25519 key that signs blocks, and the HMAC keys that pseudonymize subjects."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from estelam.core.exceptions import UserFacingError
from estelam.core.model import Subject


class KeyFileError(UserFacingError):
    """A key or certificate file can't be used."""


def key_id(public: Ed25519PublicKey) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of the key's SubjectPublicKeyInfo (DER)."""
    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The key that signs blocks."""

    key_id: str
    key: Ed25519PrivateKey

    @classmethod
    def load(cls, path: Path) -> "SigningKey":
        """Read an Ed25519 private key from a PEM file.

        Raises:
            KeyFileError: the file holds no such key.
            OSError: the file can't be read.
        """
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError(f"{path}: not an Ed25519 private key")
        return cls(key_id(key.public_key()), key)


def verifying_keys(certificates: Sequence[Path]) -> dict[str, Ed25519PublicKey]:
    """Return the public keys of signing *certificates* (PEM files) by key id.

    Raises:
        KeyFileError: a file holds no certificate of an Ed25519 key.
        OSError: a file can't be read.
    """
    keys = {}
    for path in certificates:
        try:
            public = x509.load_pem_x509_certificate(path.read_bytes()).public_key()
        except (ValueError, UnsupportedAlgorithm):
            public = None
        if not isinstance(public, Ed25519PublicKey):
            raise KeyFileError(f"{path}: not a certificate of an Ed25519 key")
        keys[key_id(public)] = public
    return keys


class HmacKeyring:
    """HMAC-SHA256 keys with their ids, oldest first.

    New entries are hashed with the last key; look-ups use all keys. A keyring file has one key on each line: an id, a
    space, 64 hexadecimal digits.

    Raises:
        KeyFileError: there is no key, or one is shorter than 32 bytes.
    """

    def __init__(self, keys: dict[str, bytes]) -> None:
        if not keys or any(len(key) < 32 for key in keys.values()):
            raise KeyFileError("a keyring must hold at least one key, and each key at least 32 bytes")
        self._keys = {name: HMAC(key, SHA256()) for name, key in keys.items()}
        self.ids = list(keys)
        self.current = self.ids[-1]
        self._current_key = self._keys[self.current]

    @classmethod
    def load(cls, path: Path) -> "HmacKeyring":
        """Read a keyring file.

        Raises:
            KeyFileError: a line is malformed, an id occurs twice, or there is no key.
            OSError: the file can't be read.
        """
        try:
            pairs = [line.split() for line in path.read_text("ascii").splitlines() if line.strip()]
            keys = {name: bytes.fromhex(digits) for name, digits in pairs}
        except (UnicodeDecodeError, ValueError) as error:
            raise KeyFileError(f"{path}: each line must be a key id and 64 hexadecimal digits") from error
        if len(keys) != len(pairs):
            raise KeyFileError(f"{path}: a key id occurs twice")
        return cls(keys)

    def hash(self, subject: Subject) -> bytes:
        """Return the keyed hash of *subject* under the current key, 32 bytes."""
        return self._digest(self._current_key, subject)

    def hashes_under_all_keys(self, subject: Subject) -> list[bytes]:
        """Return the keyed hash of *subject* under every key, oldest first, to find it in old entries too."""
        return [self._digest(key, subject) for key in self._keys.values()]

    @staticmethod
    def _digest(key: HMAC, subject: Subject) -> bytes:
        keyed = key.copy()
        keyed.update(f"{subject.kind}:{subject.value}".encode())
        return keyed.finalize()


def new_keyring_line(name: str) -> str:
    """Return a line for a keyring file: the id *name* and a new random key."""
    return f"{name} {secrets.token_hex(32)}\n"
