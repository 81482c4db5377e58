"""A report's signature: each file by its digest, so that one page on its own can be shown to be genuine too."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from estelam.core.keys import SigningKey

CONTEXT = b"estelam.quality.report.v1\0"
SIGNATURE_FILE = "signature.json"


class ReportSignatureError(Exception):
    """A report that its signature does not prove; the text says which file and why."""


def signed_bytes(name: str, content: bytes) -> bytes:
    """What is signed of the file *name*."""
    return CONTEXT + name.encode() + b"\0" + hashlib.sha256(content).digest()


def sign(files: Mapping[str, bytes], signer: SigningKey) -> bytes:
    """The signature file of *files*."""
    signed = {
        name: {
            "sha256": hashlib.sha256(content).hexdigest(),
            "signature": signer.key.sign(signed_bytes(name, content)).hex(),
        }
        for name, content in sorted(files.items())
    }
    return json.dumps({"key_id": signer.key_id, "files": signed}, indent=1).encode() + b"\n"


def verify(folder: Path, keys: Mapping[str, Ed25519PublicKey]) -> list[str]:
    """The names of the files in *folder* that were signed; all are whole.

    Raises:
        UnprovenReport: a file is missing, was changed or added, or the key is none of *keys*.
    """
    try:
        signature = json.loads((folder / SIGNATURE_FILE).read_bytes())
        key, files = keys.get(signature["key_id"]), dict(signature["files"])
        signed = {name: bytes.fromhex(one["signature"]) for name, one in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ReportSignatureError(f"{SIGNATURE_FILE}: missing or damaged") from None
    if key is None:
        raise ReportSignatureError(f"{SIGNATURE_FILE}: signed with a key that is not known")
    if {path.name for path in folder.iterdir()} != {*signed, SIGNATURE_FILE}:
        raise ReportSignatureError("a file is missing, or was added")
    for name, made in signed.items():
        try:
            key.verify(made, signed_bytes(name, (folder / name).read_bytes()))
        except InvalidSignature:
            raise ReportSignatureError(f"{name}: not what was signed") from None
    return sorted(signed)
