"""Manifest of a data file: which file of which feed it is, when it was cut, and what it must contain.

It is a JSON file beside the data, with the ending `.manifest.json`. Its signature is the Ed25519 signature of its
bytes, 64 bytes in a file with the further ending `.sig`, as `openssl pkeyutl -sign -rawin` writes it.
"""

import hashlib
import io
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from estelam.core import dates
from estelam.core.clock import to_micros
from estelam.core.exceptions import describe_error
from estelam.core.files import open_regular
from estelam.core.keys import verifying_keys
from estelam.core.model_files import parse_json_model
from estelam.core.normalize import normalize_identifier
from estelam.core.parties import Parties
from estelam.core.pem import KeyFileError, read_private_key
from estelam.core.settings import FeedName
from estelam.loading.errors import LoadError
from estelam.loading.feed import Declaration
from estelam.loading.source import open_source

MANIFEST, SIGNATURE = ".manifest.json", ".sig"
MAX_BYTES = 1 << 16
MAX_NUMBER, MAX_ROWS = 2**31 - 1, 2**63 - 1
"""The greatest values that the columns of `facts.load` hold."""


def _since(text: object) -> date:
    return dates.parse_since(str(text), datetime.now(UTC))


def _instant(text: object) -> datetime:
    return dates.parse_instant(str(text))


Since = Annotated[date, BeforeValidator(_since)]


def _whole_number(given: object) -> int:
    if isinstance(given, str) and re.fullmatch("[0-9]{1,19}", plain := normalize_identifier(given)):
        return int(plain)
    if type(given) is int:
        return given
    raise ValueError  # without a text: `_problem` states what is expected


def _lower_case(given: object) -> object:
    """Return a text in lower case: some programs, such as PowerShell, write hexadecimal digits in capitals."""
    return given.lower() if isinstance(given, str) else given


Number = Annotated[int, BeforeValidator(_whole_number)]


class Manifest(BaseModel):
    """The content of a manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    feed: FeedName
    """The name of the feed."""
    number: Number = Field(ge=1, le=MAX_NUMBER)
    """The file's number in the feed; numbers have no gap."""
    kind: Literal["whole", "delta"]
    """whole: all rows of the feed; delta: those that have changed since the file before."""
    cut_at: Annotated[AwareDatetime, BeforeValidator(_instant)]
    """The instant at which the file was cut from the source's register."""
    rows: Number = Field(ge=0, le=MAX_ROWS)
    """The number of rows, without the header."""
    sha256: Annotated[str, BeforeValidator(_lower_case)] = Field(pattern="^[0-9a-f]{64}$")
    """The SHA-256 of the data file."""
    complete_since: Since | None = None
    """The first filing date from which the feed is complete."""
    tracking_since: Since | None = None
    """The first filing date from which the feed links cases to the certificates of their cheques."""
    parties: Parties | None = None
    """Whether the parties of a case in the file are merged with the stored ones, or replace them."""

    @property
    def whole(self) -> bool:
        """Whether the file has all rows of the feed."""
        return self.kind == "whole"

    def declaration(self) -> Declaration:
        """Return what the manifest declares of its file."""
        return Declaration(
            feed=self.feed,
            cut_at=self.cut_at,
            number=self.number,
            whole=self.whole,
            complete_since=self.complete_since,
            tracking_since=self.tracking_since,
            parties=self.parties,
            rows=self.rows,
            sha256=self.sha256,
        )

    def content(self) -> bytes:
        """Return the content of the manifest's file."""
        return self.model_dump_json(indent=1, exclude_none=True).encode() + b"\n"


_EXPECTED: Mapping[str, str] = {
    "feed": "the feed's name, 1 to 64 of 0-9, A-Z, a-z, '.', '_' and '-'",
    "number": f"the file's number in the feed, a whole number from 1 to {MAX_NUMBER}",
    "kind": "whole or delta",
    "cut_at": "an instant with a time zone, as 1405-09-09T12:00+03:30",
    "rows": f"the number of rows, a whole number from 0 to {MAX_ROWS}",
    "sha256": "the SHA-256 of the data file, 64 digits of 0-9 and a-f",
    "complete_since": "a date, as 1400-01-01",
    "tracking_since": "a date, as 1400-01-01",
    "parties": "merged or replaced",
}
"""What each field of a manifest must hold."""


def manifest_path(data: Path) -> Path:
    """Return the path of the manifest of the file *data*."""
    return data.parent / f"{data.name}{MANIFEST}"


def signature_path(manifest: Path) -> Path:
    """Return the path of the signature of the file *manifest*."""
    return manifest.parent / f"{manifest.name}{SIGNATURE}"


def read_manifest(path: Path, signers: Mapping[str, Path], *, taken_feed: str | None = None) -> Manifest:
    """Read the manifest *path*, and verify its signature if *signers* names its feed or *taken_feed*.

    Args:
        path: The manifest.
        signers: The certificate (PEM) whose key signs the manifests of a feed, by the feed's name.
        taken_feed: The feed whose records the file takes over; its signer signs for a feed that has none.

    Raises:
        LoadError: the file can't be read or is no manifest, or it is not signed by the signer of its feed.
        KeyFileError: the signer's certificate can't be used.
    """
    content = _read(path)
    manifest = parse_json_model(path, content, Manifest, LoadError, "manifest", _problems)
    if feed := signed_feed(signers, manifest.feed, taken_feed):
        _verify(path, content, feed, signers[feed], manifest.cut_at)
    return manifest


def signed_feed(signers: Mapping[str, Path], feed: str, taken_feed: str | None) -> str | None:
    """Return the feed whose signer in *signers* must sign a file of *feed* that takes over *taken_feed*; None: none."""
    return next((name for name in (feed, taken_feed) if name in signers), None)


def _problems(invalid: ValidationError) -> str:
    return "; ".join(map(_problem, invalid.errors()))


def _problem(found: Any) -> str:
    """Return which field of a manifest is wrong, and what it must hold."""
    field = str(found["loc"][0]) if found["loc"] else ""
    match found["type"]:
        case "missing":
            return f"{field}: is missing; give {_EXPECTED[field]}"
        case "extra_forbidden":
            return f"{field}: unknown key; the keys are {', '.join(_EXPECTED)}"
        case "json_invalid" | "model_type":
            return "is not a JSON object; write it anew with: estelam load manifest"
        case "value_error" if found["ctx"]["error"].args:
            return f"{field}: {found['ctx']['error']}"
        case _:
            return f"{field}: must be {_EXPECTED[field]}"


def _read(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise LoadError(describe_error(error)) from None
    if len(content) > MAX_BYTES:
        raise LoadError(f"{path}: larger than {MAX_BYTES} bytes, so it is no manifest")
    return content


def _verify(path: Path, content: bytes, feed: str, certificate: Path, cut_at: datetime) -> None:
    signature = signature_path(path)
    if not signature.exists():
        raise LoadError(f"{signature}: no such file; the settings require a signature by the signer of {feed}")
    made = _read(signature)
    for key in verifying_keys([certificate]).values():
        try:
            key.public.verify(made, content)
        except InvalidSignature:
            continue
        if problem := key.invalidity(to_micros(cut_at)):
            raise LoadError(f"{signature}: is not valid: {problem}")
        return
    raise LoadError(f"{signature}: is not the signature of the manifest by the key of {certificate}")


def sign(content: bytes, key: Path) -> bytes:
    """Return the signature of a manifest's *content* by the Ed25519 private key (PEM) in the file *key*.

    Raises:
        KeyFileError: the file holds no such key.
        OSError: the file can't be read.
    """
    signing = read_private_key(key)
    if not isinstance(signing, Ed25519PrivateKey):
        raise KeyFileError(f"{key}: not an Ed25519 private key; make one: openssl genpkey -algorithm ed25519")
    return signing.sign(content)


class FileIdentity(NamedTuple):
    """The content of a file at one time."""

    path: Path
    sha256: str
    """The SHA-256 of the file as it is stored, which its manifest states."""
    content_sha256: str
    """The SHA-256 of its decompressed content, by which it is recognized."""
    version: tuple[int, int, int]

    def is_unchanged(self) -> bool:
        """Return whether the file is still the same."""
        return _version(self.path) == self.version


def identify(path: Path) -> FileIdentity:
    """Return the identity of the file *path*.

    Raises:
        LoadError: the file can't be read.
    """
    try:
        with open_source(path) as source:  # A pipe is refused: the file is read again.
            version = _version(path)
            content = stored = hashlib.file_digest(cast("io.BufferedIOBase", source.file), "sha256").hexdigest()
            if source.is_compressed:
                with path.open("rb") as file:
                    stored = hashlib.file_digest(file, "sha256").hexdigest()
            return FileIdentity(path, stored, content, version)
    except OSError as error:
        raise LoadError(describe_error(error)) from None


def _version(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
