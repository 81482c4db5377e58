"""Signature of a report. Each file is signed separately, so that one file can be verified on its own."""

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
    """Verification of a report failed; the text names the file and the reason."""


def signed_bytes(name: str, content: bytes) -> bytes:
    """The bytes that are signed for the file *name*: context, name and digest."""
    return CONTEXT + name.encode() + b"\0" + hashlib.sha256(content).digest()


def sign(files: Mapping[str, bytes], signer: SigningKey) -> bytes:
    """Return the content of the signature file for *files*, by name."""
    signed = {
        name: {
            "sha256": hashlib.sha256(content).hexdigest(),
            "signature": signer.key.sign(signed_bytes(name, content)).hex(),
        }
        for name, content in sorted(files.items())
    }
    return json.dumps({"key_id": signer.key_id, "files": signed}, indent=1).encode() + b"\n"


def verify(folder: Path, keys: Mapping[str, Ed25519PublicKey]) -> list[str]:
    """Verify the report in *folder* and return the names of its signed files.

    Raises:
        UnprovenReport: a file is missing, changed or not signed, or the key is not one of *keys* (by key id).
    """
    try:
        signature = json.loads((folder / SIGNATURE_FILE).read_bytes())
        key, files = keys.get(signature["key_id"]), dict(signature["files"])
        signed = {name: bytes.fromhex(one["signature"]) for name, one in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ReportSignatureError(f"{SIGNATURE_FILE}: missing or damaged") from None
    if key is None:
        raise ReportSignatureError(f"{SIGNATURE_FILE}: signed with an unknown key")
    if {path.name for path in folder.iterdir()} != {*signed, SIGNATURE_FILE}:
        raise ReportSignatureError("the folder and the signature don't list the same files")
    for name, made in signed.items():
        try:
            key.verify(made, signed_bytes(name, (folder / name).read_bytes()))
        except InvalidSignature:
            raise ReportSignatureError(f"{name}: does not match its signature") from None
    return sorted(signed)
