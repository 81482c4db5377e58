"""Report as JSON with the examiner's signature, which anybody can verify.

The detached signature (`*.sig`) is Ed25519 over the report's bytes, so verification needs no canonical JSON:
`openssl pkeyutl -verify -rawin` verifies it.
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

from conformance.reports.labels import outcome, status_counts
from conformance.results import CaseResult, RunResult
from estelam.core.exceptions import UserFacingError

KIND = "estelam conformance report v1"


class SignatureError(UserFacingError):
    """A report can't be signed, or its signature is invalid; the text is for the user of the report."""


def write(path: Path, run: RunResult, pki: Path) -> None:
    """Write the report of *run* to *path* and its signature with `examiner.key` in *pki* to *path*.sig.

    Raises:
        SignatureError: the examiner's key can't be used.
    """
    key = _private_key(pki / "examiner.key")
    report = json.dumps(_report(run), ensure_ascii=False, indent=2).encode("utf-8", "backslashreplace") + b"\n"
    path.write_bytes(report)
    signature_path(path).write_bytes(key.sign(report))


def verify(path: Path, certificate: Path) -> Mapping[str, Any]:
    """Verify the report in *path* with the examiner's *certificate* and return it.

    Raises:
        SignatureError: a file can't be read, the signature is invalid, or it is not a conformance report.
    """
    try:
        key = load_pem_x509_certificate(certificate.read_bytes()).public_key()
        report, signature = path.read_bytes(), signature_path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise SignatureError(f"{path}: the report, its signature or the certificate can't be read") from error
    if not isinstance(key, Ed25519PublicKey):
        raise SignatureError(f"{certificate}: not an Ed25519 certificate")
    try:
        key.verify(signature, report)
    except InvalidSignature:
        raise SignatureError(f"{path}: not what this examiner signed") from None
    content: Any = json.loads(report)
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise SignatureError(f"{path}: not a conformance report")
    return content


def signature_path(path: Path) -> Path:
    """Return the path of the signature of the report *path*."""
    return path.with_name(f"{path.name}.sig")


def _private_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise SignatureError(f"{path}: the examiner's key can't be read") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(f"{path}: not an Ed25519 key")
    return key


def _report(run: RunResult) -> dict[str, Any]:
    return {
        "kind": KIND,
        "verdict": outcome(run),
        "error": run.error,
        "began": run.began.isoformat(),
        "seconds": round(run.seconds, 3),
        "kit": version("estelam"),
        "cases_sha256": _cases_sha256(run),
        "targets": dict(run.targets),
        "counts": {str(status): count for status, count in status_counts(run).items()},
        "left_out": run.left_out,
        "cases": [_case(result) for result in run.results],
    }


def _cases_sha256(run: RunResult) -> str:
    """Return a hash of all tested cases: reports with the same hash tested the same cases."""
    cases = [result.case.model_dump(mode="json") for result in sorted(run.results, key=lambda one: one.case.id)]
    return sha256(json.dumps(cases, sort_keys=True).encode()).hexdigest()


def _case(result: CaseResult) -> dict[str, Any]:
    return {
        "id": result.case.id,
        "clause": result.case.clause,
        "title": result.case.title.model_dump(),
        "status": result.status,
        "seconds": round(result.seconds, 3),
        "failures": [{"step": one.step, "expected": one.expected, "actual": one.actual} for one in result.failures],
    }
