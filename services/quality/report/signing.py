"""Signature of a report. Each file is signed separately, so that one file can be verified on its own."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature

from estelam.core.clock import to_micros
from estelam.core.keys import SigningKey, VerifyingKey
from estelam.receipts.problems import ReceiptProblem, Verdict

CONTEXT = b"estelam.quality.report.v1\0"
SIGNATURE_FILE, FIGURES_FILE = "signature.json", "figures.json"


class ReportSignatureError(Exception):
    """Verification of a report failed.

    Args:
        problem: The file and the reason.
        verdict: Whether the report is not as it was signed, or was not verified.
    """

    def __init__(self, problem: str, verdict: Verdict = Verdict.INVALID) -> None:
        super().__init__(problem)
        self.verdict = verdict


def signed_bytes(name: str, content: bytes) -> bytes:
    """The bytes that are signed for the file *name*: context, name and digest."""
    return CONTEXT + name.encode() + b"\0" + hashlib.sha256(content).digest()


def sign(files: Mapping[str, bytes], signer: SigningKey, issued: datetime) -> bytes:
    """Return the content of the signature file for *files*, by name, of a report *issued* then.

    Raises:
        KeyFileError: the signing certificate is not valid then.
    """
    signed = {
        name: {
            "sha256": hashlib.sha256(content).hexdigest(),
            "signature": signer.sign(signed_bytes(name, content), to_micros(issued)).hex(),
        }
        for name, content in sorted(files.items())
    }
    return json.dumps({"key_id": signer.key_id, "files": signed}, indent=1).encode() + b"\n"


def verify(folder: Path, keys: Mapping[str, VerifyingKey]) -> list[str]:
    """Verify the report in *folder* and return the names of its signed files.

    Raises:
        ReportSignatureError: INVALID: a file is missing, changed or not signed, or the key was retired when the report
            was issued; MALFORMED: the signature can't be read; NOT CHECKED: the key is not one of *keys* (by key id),
            or its known certificates were not valid then, or somebody else may have it.
    """
    try:
        signature = json.loads((folder / SIGNATURE_FILE).read_bytes())
        key, files = keys.get(signature["key_id"]), dict(signature["files"])
        signed = {name: bytes.fromhex(one["signature"]) for name, one in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ReportSignatureError(f"{SIGNATURE_FILE}: missing or damaged", Verdict.MALFORMED) from None
    if key is None:
        raise ReportSignatureError(f"{SIGNATURE_FILE}: signed with a key of no given certificate", Verdict.UNCHECKED)
    if {path.name for path in folder.iterdir()} != {*signed, SIGNATURE_FILE}:
        raise ReportSignatureError("the folder and the signature don't list the same files")
    for name, made in signed.items():
        try:
            key.verify(made, signed_bytes(name, (folder / name).read_bytes()))
        except InvalidSignature:
            raise ReportSignatureError(f"{name}: does not match its signature") from None
    if problem := key.invalidity(_issued_micros(folder)):
        raise ReportSignatureError(f"{SIGNATURE_FILE}: {problem}", ReceiptProblem[problem.kind].verdict)
    return sorted(signed)


def _issued_micros(folder: Path) -> int:
    try:
        return to_micros(datetime.fromisoformat(json.loads((folder / FIGURES_FILE).read_bytes())["issued"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise ReportSignatureError(f"{FIGURES_FILE}: does not state when the report was issued") from None
