"""A run as JSON, signed: the examiner's word that anybody can check.

The signature, in a file of its own beside the report, is Ed25519 over the report's bytes as they are, so that no
language's serializer has to agree with ours: `openssl pkeyutl -verify -rawin` checks it.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from conformance.reports.labels import counted, outcome
from conformance.results import Result, Verdict
from estelam.core.exceptions import UserFacingError

KIND = "estelam conformance report v1"


class SignatureError(UserFacingError):
    """A report can't be signed, or is not what its examiner signed; the text is for whoever holds it."""


def write(path: Path, verdict: Verdict, pki: Path) -> None:
    """Write *verdict* to *path*, and the signature of the examiner whose key is in *pki* to *path*.sig.

    Raises:
        SignatureError: the examiner's key can't be used.
    """
    key = _private_key(pki / "examiner.key")
    report = json.dumps(_report(verdict), ensure_ascii=False, indent=2).encode("utf-8", "backslashreplace") + b"\n"
    path.write_bytes(report)
    _signature(path).write_bytes(key.sign(report))


def verify(path: Path, certificate: Path) -> Mapping[str, Any]:
    """The report in *path*, which the examiner of *certificate* has signed.

    Raises:
        SignatureError: it is another report, another examiner's, or none.
    """
    try:
        key = load_pem_x509_certificate(certificate.read_bytes()).public_key()
        report, signature = path.read_bytes(), _signature(path).read_bytes()
    except (OSError, ValueError) as error:
        raise SignatureError(f"{path}: the report, its signature or the certificate can't be read") from error
    if not isinstance(key, Ed25519PublicKey):
        raise SignatureError(f"{certificate}: not an Ed25519 certificate")
    try:
        key.verify(signature, report)
    except InvalidSignature:
        raise SignatureError(f"{path}: not what this examiner signed") from None
    found: Any = json.loads(report)
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise SignatureError(f"{path}: not a conformance report")
    return found


def _signature(path: Path) -> Path:
    return path.with_name(f"{path.name}.sig")


def _private_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise SignatureError(f"{path}: the examiner's key can't be read") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(f"{path}: not an Ed25519 key")
    return key


def _report(verdict: Verdict) -> dict[str, Any]:
    return {
        "kind": KIND,
        "verdict": outcome(verdict),
        "trouble": verdict.trouble,
        "began": verdict.began.isoformat(),
        "seconds": round(verdict.seconds, 3),
        "kit": version("estelam"),
        "book_sha256": _book(verdict),
        "targets": dict(verdict.targets),
        "counts": {str(standing): count for standing, count in counted(verdict).items()},
        "left_out": verdict.left_out,
        "cases": [_case(result) for result in verdict.results],
    }


def _book(verdict: Verdict) -> str:
    """One hash of all cases that were examined, word for word: two reports with the same one asked the same."""
    cases = [result.case.model_dump(mode="json") for result in sorted(verdict.results, key=lambda one: one.case.id)]
    return sha256(json.dumps(cases, sort_keys=True).encode()).hexdigest()


def _case(result: Result) -> dict[str, Any]:
    return {
        "id": result.case.id,
        "clause": result.case.clause,
        "title": result.case.title.model_dump(),
        "standing": result.standing,
        "seconds": round(result.seconds, 3),
        "complaints": [{"step": one.step, "expected": one.expected, "seen": one.seen} for one in result.complaints],
    }
