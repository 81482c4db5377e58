"""Report as JSON with the examiner's signature, which anybody can verify.

The detached signature (`*.sig`) is Ed25519 over the report's bytes, so verification needs no canonical JSON:
`openssl pkeyutl -verify -rawin` verifies it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from conformance.reports.labels import sent_step, status_counts
from conformance.results import CaseResult, RunResult
from estelam.core.clock import to_micros
from estelam.core.exceptions import UserFacingError, describe_error
from estelam.core.files import write_atomic
from estelam.core.keys import VerifyingKey, verifying_keys
from estelam.core.pem import KeyFileError, read_private_key

KIND = "estelam conformance report v1"


class SignatureError(UserFacingError):
    """A report can't be signed, or its signature is invalid; the text is for the user of the report."""


def write(path: Path, run: RunResult, pki: Path) -> None:
    """Write the report of *run* to *path* and its signature with `examiner.key` in *pki* to *path*.sig.

    Raises:
        SignatureError: the examiner's key can't be used.
    """
    report, signature = signed_report(run, pki)
    write_atomic(path, report)
    write_atomic(signature_path(path), signature)


def signed_report(run: RunResult, pki: Path) -> tuple[bytes, bytes]:
    """Return the report of *run* and its signature with `examiner.key` in *pki*.

    Raises:
        SignatureError: the examiner's key can't be used.
    """
    key = _examiner_key(pki / "examiner.key")
    report = json.dumps(report_content(run), ensure_ascii=False, indent=2).encode("utf-8", "backslashreplace") + b"\n"
    return report, key.sign(report)


def verify(path: Path, certificate: Path) -> Mapping[str, Any]:
    """Verify the report in *path* with the examiner's *certificate* and return it.

    Raises:
        SignatureError: a file can't be read, the signature is invalid or made outside the certificate's validity, or
            it is not a conformance report.
    """
    try:
        keys = verifying_keys([certificate]).values()
        report, signature = path.read_bytes(), signature_path(path).read_bytes()
    except (OSError, KeyFileError) as error:
        raise SignatureError(describe_error(error)) from error
    key = next((key for key in keys if _is_signed(report, signature, key)), None)
    if key is None:
        raise SignatureError(f"{path}: not what this examiner signed")
    content: Any = json.loads(report)
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise SignatureError(f"{path}: not a conformance report")
    if problem := key.invalidity(to_micros(datetime.fromisoformat(content["began"]))):
        raise SignatureError(f"{path}: {problem}")
    return content


def _examiner_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = read_private_key(path)
    except (OSError, KeyFileError) as error:
        raise SignatureError(f"the examiner's key: {describe_error(error)}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(f"{path}: not an Ed25519 key")
    return key


def _is_signed(report: bytes, signature: bytes, key: VerifyingKey) -> bool:
    try:
        key.verify(signature, report)
    except InvalidSignature:
        return False
    return True


def signature_path(path: Path) -> Path:
    """Return the path of the signature of the report *path*."""
    return path.with_name(f"{path.name}.sig")


def report_content(run: RunResult) -> dict[str, Any]:
    """Return what the report of *run* says."""
    return {
        "kind": KIND,
        "verdict": run.outcome,
        "profile": run.profile,
        "profiles": {profile: asdict(verdict) for profile, verdict in run.verdicts.items()},
        "error": run.error,
        "began": run.began.isoformat(),
        "seconds": round(run.seconds, 3),
        "kit": version("estelam"),
        "cases_sha256": _cases_sha256(run),
        "targets": dict(run.targets),
        "counts": {str(status): count for status, count in status_counts(run).items()},
        "left_out": run.left_out,
        "not_applicable": run.not_applicable,
        "cut": [case.id for case in run.cut],
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
        "profile": result.case.profile,
        "title": result.case.title.model_dump(),
        "status": result.status,
        "seconds": round(result.seconds, 3),
        "failures": [{**asdict(failure), "sent": sent_step(result.case, failure.step)} for failure in result.failures],
    }
