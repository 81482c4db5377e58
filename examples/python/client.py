"""Asks CheckNote about notes: mTLS, deadline, retries, error details, and no answer without a valid receipt.

python client.py TARGET PKI OBLIGOR BENEFICIARY AMOUNT SERIAL...     prints the answer about each serial
python client.py testdata DIR                                        checks this program with the test vectors
"""

import base64
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.x509.oid import NameOID
from google.rpc import error_details_pb2, status_pb2

from estelam.core.clock import CLOCK_TOLERANCE
from estelam.core.keys import verifying_keys
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as cases
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.receipts.own_call import OwnCall
from estelam.receipts.problems import InvalidReceipt
from estelam.receipts.receipt import Verifier

METHOD = "estelam.promissory.v1.PromissoryNoteInquiryService/CheckNote"
DEADLINE_SECONDS, MAX_CALLS = 5.0, 3
RETRIED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


def describe(wire: bytes) -> tuple[str, str, float | None, list[str]]:
    """Return reason, layer, seconds until a retry may help, and the fields that break a rule."""
    info, retry, fields = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
    for detail in status_pb2.Status.FromString(wire).details:
        _ = detail.Unpack(info) or detail.Unpack(retry) or detail.Unpack(fields)
    seconds = retry.retry_delay.ToMilliseconds() / 1000 if retry.HasField("retry_delay") else None
    return info.reason, info.metadata["layer"], seconds, [each.field for each in fields.field_violations]


def wait_seconds(error: Any, trailers: dict[str, Any], retry_after: float | None, calls: int) -> float | None:
    """Return how long to wait before the next call; None: don't call again."""
    if (pushback := trailers.get("grpc-retry-pushback-ms")) is not None:
        return None if int(pushback) < 0 else int(pushback) / 1000
    if error.code() not in RETRIED:
        return None
    return retry_after if retry_after is not None else 0.1 * 2**calls


def ask(stub: Any, note: notes.CheckNoteRequest, verifier: Verifier, caller: str) -> str:
    """Return YES or NO, or why there is no answer."""
    deadline = time.monotonic() + 2 * DEADLINE_SECONDS
    for calls in range(1, MAX_CALLS + 1):
        own = OwnCall(caller, time.time_ns() // 1000)  # sends a nonce, which the receipt must bear
        try:
            reply = stub.CheckNote(note, timeout=DEADLINE_SECONDS, metadata=own.metadata)
        except grpc.RpcError as failed:
            error: Any = failed
            trailers = dict(error.trailing_metadata() or ())
            reason, layer, retry_after, fields = describe(trailers.get("grpc-status-details-bin", b""))
            wait = wait_seconds(error, trailers, retry_after, calls)
            if wait is None or calls == MAX_CALLS or time.monotonic() + wait > deadline:
                named = f" {','.join(fields)}" if fields else ""
                return f"NO ANSWER {reason or error.code().name} {layer or '-'} after {calls} calls{named}"
            time.sleep(wait)
            continue
        if reply.answer not in (ANSWER_YES, ANSWER_NO):  # unspecified is never a NO
            return "NO ANSWER UNSPECIFIED"
        try:
            own.check(verifier.verify(METHOD, note, reply).entry, time.time_ns() // 1000, CLOCK_TOLERANCE)
        except InvalidReceipt:
            return "NO ANSWER BAD_RECEIPT"
        return "YES" if reply.answer == ANSWER_YES else "NO"
    raise AssertionError("the loop returns")


def check_testdata(folder: Path) -> Iterator[str]:
    """Yield what this program finds in the test vectors."""
    receipts = json.loads((folder / "receipts.json").read_text("utf-8"))
    with tempfile.NamedTemporaryFile("w", suffix=".crt") as certificate:
        certificate.write(receipts["certificate"])
        certificate.flush()
        verifier = Verifier(verifying_keys([Path(certificate.name)]))
    for vector in receipts["receipts"]:
        kind = cases if vector["method"].startswith("estelam.judiciary.") else notes
        name = vector["method"].rpartition("/")[2]
        request = getattr(kind, f"{name}Request").FromString(base64.b64decode(vector["request"]))
        reply = getattr(kind, f"{name}Response").FromString(base64.b64decode(vector["reply"]))
        try:
            verifier.verify(vector["method"], request, reply)
            yield f"receipt {vector['name']}: valid"
        except InvalidReceipt:
            yield f"receipt {vector['name']}: invalid"
    for vector in json.loads((folder / "errors.json").read_text("utf-8"))["errors"]:
        reason, layer, seconds, fields = describe(base64.b64decode(vector["status_details"]))
        wait = "-" if seconds is None else round(seconds * 1000)
        yield f"error {reason}: {layer} {wait} {','.join(fields) or '-'}"


def main(target: str, pki: Path, obligor: str, beneficiary: str, amount: str, *serials: str) -> None:
    """Print the answer about each serial."""
    files = [(pki / name).read_bytes() for name in ("ca.crt", "setad.key", "setad.crt")]
    subject = x509.load_pem_x509_certificate(files[2]).subject
    caller = str(subject.get_attributes_for_oid(NameOID.ORGANIZATION_IDENTIFIER)[0].value)
    verifier = Verifier(verifying_keys([pki / "promissory-receipts.crt"]))
    options = [("grpc.enable_retries", 0), ("grpc.enable_http_proxy", 0)]  # this program retries by itself
    with grpc.secure_channel(target, grpc.ssl_channel_credentials(*files), options) as channel:
        stub = PromissoryNoteInquiryServiceStub(channel)
        for serial in serials:
            note = notes.CheckNoteRequest(
                serial=serial, obligor_id=obligor, beneficiary_id=beneficiary, amount_rials=int(amount)
            )
            print(serial, ask(stub, note, verifier, caller), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "testdata":
        print(*check_testdata(Path(sys.argv[2])), sep="\n")
    else:
        main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
