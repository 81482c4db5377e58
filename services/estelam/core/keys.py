"""Secret keys of a service: the Ed25519 key that signs checkpoints, and the HMAC keys that pseudonymize subjects."""

import contextlib
import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from pydantic import AfterValidator, BaseModel, ConfigDict

from estelam.core import keyring_file
from estelam.core.exceptions import named_error
from estelam.core.model import Subject
from estelam.core.model_files import MAX_FILE_BYTES, parse_json_model
from estelam.core.pem import KeyFileError, name_text, read_certificates, read_private_key

INSTANT = "%Y-%m-%dT%H:%M:%SZ"


_INSTANT_FORM = re.compile("(19|20|21)[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


def key_fingerprint(public: CertificatePublicKeyTypes) -> str:
    """Return the SHA-256 of the key's SubjectPublicKeyInfo (DER), hexadecimal: the same for all its certificates."""
    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def key_id(public: Ed25519PublicKey) -> str:
    """Return the first 16 digits of the key's fingerprint."""
    return key_fingerprint(public)[:16]


def _is_instant(text: str) -> str:
    with contextlib.suppress(ValueError):
        # Verifiers in other languages compare the text, so a Jalali year is refused and not converted.
        if _INSTANT_FORM.fullmatch(text) and datetime.strptime(text, INSTANT):  # noqa: DTZ007 - the Z is part of the form
            return text
    raise ValueError("give a Gregorian instant in UTC, as 2026-03-21T00:00:00Z")


def _is_fingerprint(text: str) -> str:
    if re.fullmatch("[0-9a-f]{64}", text):
        return text
    raise ValueError("give the key's fingerprint, 64 digits of 0-9 and a-f, as `estelam pki show` prints it")


class Retirement(BaseModel):
    """A signing key that is used no more."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: Annotated[str, AfterValidator(_is_fingerprint)]
    """The key's fingerprint."""
    retired_at: Annotated[str, AfterValidator(_is_instant)]
    """The instant from which on nothing that it signs is valid: YYYY-MM-DDTHH:MM:SSZ."""
    reason: Literal["superseded", "compromised"]
    """Whether another key replaced it, or somebody else may have it."""


class RetirementList(BaseModel):
    """The signing keys that are used no more, as a provider publishes them (JSON)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    retired: tuple[Retirement, ...]

    @classmethod
    def load(cls, path: Path) -> "RetirementList":
        """Read a file.

        Raises:
            KeyFileError: The file is no such list, or names a key twice.
            OSError: The file can't be read.
        """
        with named_error(KeyFileError, f"{path}: can't be read: no file has such a name"), path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES)
        found = parse_json_model(path, content, cls, KeyFileError, "list of retired keys")
        if b"\\" in content:
            raise KeyFileError(f"{path}: has an escape (\\); write each letter as it is")
        keys = [retirement.key for retirement in found.retired]
        if len(set(keys)) != len(keys):
            raise KeyFileError(f"{path}: a key is named twice; keep the row with the earliest time")
        return found


class InvalidityKind(StrEnum):
    """Why the signature of a key is not valid."""

    KEY_RETIRED = "KEY_RETIRED"
    """It states a time from the key's retirement on."""
    KEY_COMPROMISED = "KEY_COMPROMISED"
    """It states an earlier time, but somebody else may have the key, and nothing else proves that time."""
    OUTSIDE_CERTIFICATES = "OUTSIDE_CERTIFICATES"
    """No known certificate of the key was valid at that time; there may be another, as before a renewal."""


@dataclass(frozen=True, slots=True)
class Invalidity:
    """Why the signature of a key is not valid: the kind, and a text with the times."""

    kind: InvalidityKind
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key that verifies signatures, with the periods in which they may have been made."""

    public: Ed25519PublicKey
    periods: tuple[tuple[int, int], ...]
    """The validity of each of its certificates: first and last second since 1970."""
    retirement: Retirement | None = None
    organization_id: str = ""
    """The organizationIdentifier of its newest certificate; empty if that has none, or several."""
    organizations: frozenset[str] = frozenset()
    """The organizationIdentifiers of all its certificates."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pass the key to another process: what `cryptography` has made of its 32 bytes stays in this one."""
        others = (self.periods, self.retirement, self.organization_id, self.organizations)
        return _verifying_key, (self.public.public_bytes_raw(), *others)

    def verify(self, signature: bytes, content: bytes) -> None:
        """Verify the *signature* of *content*, whenever it was made.

        Raises:
            InvalidSignature: It is of another key or other content.
        """
        self.public.verify(signature, content)

    def invalidity(self, micros: int, *, is_time_proven: bool = False) -> Invalidity | None:
        """Return why a signature made at *micros* is not valid, or None if it is.

        Args:
            micros: The time that the signed text states, in microseconds since 1970.
            is_time_proven: Whether something besides the signature proves that time, as a ledger's published head does.
                Without it nothing signed by a compromised key is valid: a thief can state any time.
        """
        seconds = micros // 1_000_000
        if self.retirement is not None and (
            problem := _retirement_problem(self.retirement, _text(seconds), is_time_proven=is_time_proven)
        ):
            return problem
        if any(first <= seconds <= last for first, last in self.periods):
            return None
        at = _text(seconds)
        periods = " and ".join(f"from {_text(first)} to {_text(last)}" for first, last in self.periods)
        if all(last < seconds for _, last in self.periods):
            text = f"the signing certificate was no longer valid at {at}; it was valid {periods}"
        elif all(seconds < first for first, _ in self.periods):
            text = f"the signing certificate was not yet valid at {at}; it is valid {periods}"
        else:
            text = f"the signing certificates were not valid at {at}; they are valid {periods}"
        return Invalidity(InvalidityKind.OUTSIDE_CERTIFICATES, text)


def _verifying_key(public: bytes, *others: Any) -> VerifyingKey:
    return VerifyingKey(Ed25519PublicKey.from_public_bytes(public), *others)


def _retirement_problem(retirement: Retirement, at: str, *, is_time_proven: bool) -> Invalidity | None:
    if at >= retirement.retired_at:
        text = f"the signing key was retired at {retirement.retired_at}, not after {at}"
        return Invalidity(InvalidityKind.KEY_RETIRED, text)
    if retirement.reason == "compromised" and not is_time_proven:
        text = (
            f"the signing key was compromised at {retirement.retired_at}, so a signature that states {at}"
            " proves nothing alone: the provider must show it in its ledger, under an earlier published head"
        )
        return Invalidity(InvalidityKind.KEY_COMPROMISED, text)
    return None


def verifying_keys(certificates: Sequence[Path], retired_keys: Path | None = None) -> dict[str, VerifyingKey]:
    """Return the keys of all signing *certificates* (PEM files) by key id; certificates of authorities are left out.

    Raises:
        KeyFileError: A file holds no certificate of an Ed25519 key, or one that may not sign; or the list of retired
            keys is malformed.
        OSError: A file can't be read.
    """
    keys: dict[str, VerifyingKey] = {}
    for path in certificates:
        signing = [one for one in read_certificates(path) if not _is_authority(one)]
        if not signing:
            raise KeyFileError(f"{path}: holds certificates of authorities only, not a signing certificate")
        for certificate in signing:
            public = _signing_public_key(path, certificate)
            period = (
                int(certificate.not_valid_before_utc.timestamp()),
                int(certificate.not_valid_after_utc.timestamp()),
            )
            known = keys.setdefault(key_id(public), VerifyingKey(public, ()))
            named = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_IDENTIFIER)
            organization_id = str(named[0].value) if len(named) == 1 else ""
            keys[key_id(public)] = replace(
                known,
                periods=(*known.periods, period),
                organization_id=organization_id,
                organizations=known.organizations | ({organization_id} - {""}),
            )
    if retired_keys is not None:
        for retirement in RetirementList.load(retired_keys).retired:
            if (key := keys.get(retirement.key[:16])) and key_fingerprint(key.public) == retirement.key:
                keys[retirement.key[:16]] = replace(key, retirement=retirement)
    return keys


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _signing_public_key(path: Path, certificate: x509.Certificate) -> Ed25519PublicKey:
    public, subject = certificate.public_key(), name_text(certificate.subject)
    if not isinstance(public, Ed25519PublicKey):
        raise KeyFileError(f"{path}: not a certificate of an Ed25519 key: {subject}")
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return public
    if not usage.digital_signature:
        raise KeyFileError(f"{path}: may not sign, its key usage has no digitalSignature: {subject}")
    return public


def _text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime(INSTANT)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The key that signs checkpoints and reports, with the validity of its certificates."""

    key_id: str
    key: Ed25519PrivateKey
    verifying_key: VerifyingKey
    path: Path
    known_keys: Mapping[str, VerifyingKey]
    """The keys of all signing certificates, by key id."""

    @classmethod
    def load(cls, path: Path, certificates: Sequence[Path], retired_keys: Path | None = None) -> "SigningKey":
        """Read an Ed25519 private key from a PEM file, and its validity from the signing *certificates*.

        Raises:
            KeyFileError: The file holds no such key, no certificate is of this key, or another file can't be used.
            OSError: A file can't be read.
        """
        key = read_private_key(path)
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError(f"{path}: not an Ed25519 private key; make one: openssl genpkey -algorithm ed25519")
        name = key_id(key.public_key())
        keys = verifying_keys(certificates, retired_keys)
        if name not in keys:
            known = ", ".join(map(str, certificates))
            raise KeyFileError(f"{path}: no certificate of this key is in {known}; add it to signing_certificates")
        return cls(name, key, keys[name], path, keys)

    def check_validity(self, micros: int) -> None:
        """Check that a signature made at *micros* (microseconds since 1970) would be valid.

        Raises:
            KeyFileError: It would not.
        """
        if problem := self.verifying_key.invalidity(micros):
            raise KeyFileError(f"{self.path}: can't sign: {problem}")

    @property
    def expires_at(self) -> int:
        """The last second, since 1970, in which the key may sign, by its latest certificate and its retirement."""
        last = max(last for _, last in self.verifying_key.periods)
        if (retirement := self.verifying_key.retirement) is None:
            return last
        retired_at = datetime.strptime(retirement.retired_at, INSTANT).replace(tzinfo=UTC)
        return min(last, int(retired_at.timestamp()) - 1)

    def sign(self, content: bytes, micros: int) -> bytes:
        """Return the signature of *content*, which states the time *micros* (microseconds since 1970).

        Raises:
            KeyFileError: The key's certificate is not valid at that time: no verifier would accept the signature.
        """
        self.check_validity(micros)
        return self.key.sign(content)


class HmacKeyring:
    """HMAC-SHA256 keys with their ids, oldest first.

    New entries are hashed with the last key; look-ups use all keys. Of a destroyed key only the date is left.

    Raises:
        KeyFileError: there is no key, or one is shorter than 32 bytes.
    """

    def __init__(self, keys: Mapping[str, bytes], destroyed: Mapping[str, date] | None = None) -> None:
        if not keys or any(len(key) < 32 for key in keys.values()):
            raise KeyFileError("a keyring must hold at least one key, and each key at least 32 bytes")
        self._keys = {name: HMAC(key, SHA256()) for name, key in keys.items()}
        self.ids = list(keys)
        self.destroyed = dict(destroyed or {})
        self.current = self.ids[-1]
        self._current_key = self._keys[self.current]

    @classmethod
    def load(cls, path: Path) -> "HmacKeyring":
        """Read a keyring file.

        Raises:
            KeyFileError: a line is malformed, an id occurs twice, there is no key, or the last one is destroyed.
            OSError: the file can't be read.
        """
        lines = keyring_file.read(path)
        if lines and lines[-1].key is None:
            raise KeyFileError(f"{path}: the last key, which hashes new entries, is destroyed; move another one there")
        return cls(
            {line.key_id: line.key for line in lines if line.key is not None},
            {line.key_id: line.destroyed_on for line in lines if line.destroyed_on is not None},
        )

    def hash(self, subject: Subject) -> bytes:
        """Return the keyed hash of *subject* under the current key, 32 bytes."""
        return _digest(self._current_key, subject)

    def hashes_under_all_keys(self, subject: Subject) -> list[bytes]:
        """Return the keyed hash of *subject* under every key, oldest first, to find it in old entries too."""
        return [_digest(key, subject) for key in self._keys.values()]

    def check_value(self, key_id: str) -> bytes:
        """Return 8 bytes that recognize the key *key_id* and disclose nothing about it or any subject."""
        keyed = self._keys[key_id].copy()
        # No subject is hashed as this text: each has a colon.
        keyed.update(b"estelam key check v1")
        return keyed.finalize()[:8]


def _digest(key: HMAC, subject: Subject) -> bytes:
    keyed = key.copy()
    keyed.update(f"{subject.kind}:{subject.value}".encode())
    return keyed.finalize()


def new_keyring_line(name: str) -> str:
    """Return a line for a keyring file: the id *name* and a new random key."""
    return f"{name} {secrets.token_hex(32)}\n"
