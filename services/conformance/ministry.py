"""The kit's own ministry, which the adapter's instance `setad-deceived` calls: honest, unless a step orders a lie."""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

import grpc
import uuid_utils

from conformance import fixtures
from conformance.case import Lie, Lies
from conformance.contract import method_names, request_type
from conformance.target import Target
from conformance.target_control import TargetControlError
from estelam.core.errors import Reason, Refusal
from estelam.core.grpc_status import to_grpc
from estelam.core.keys import SigningKey
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.receipts import checkpoint
from estelam.receipts.own_call import NONCE
from estelam.receipts.receipt import canonical, commitment
from estelam.receipts.tree import Frontier, leaf_hash

SLOW_SECONDS = 4.0
SIGNER, OTHER_SIGNER = "ministry-receipts", "unproven-receipts"
_KINDS = {10: notes.PERSON_KIND_NATURAL, 11: notes.PERSON_KIND_LEGAL, 12: notes.PERSON_KIND_FOREIGN}
_OUTCOMES = {pb.ANSWER_YES: pb.OUTCOME_YES, pb.ANSWER_NO: pb.OUTCOME_NO}


class Ministry:
    """Answers the two methods about the fixtures' notes, with receipts of a ledger of its own.

    Args:
        target: The target's fixtures, whose certificates it uses.
        now: Returns the target's time.
    """

    def __init__(self, target: Target, now: Callable[[], datetime]) -> None:
        self._pki = target.pki
        self._caller = target.organization("setad")
        self._now = now
        self._notes = {row["serial"]: row for row in fixtures.rows("notes")}
        self._lies: dict[tuple[str, str], Lie] = {}
        self._tree = Frontier()
        self._lock = threading.Lock()

    def order(self, serial: str, lies: Lies) -> None:
        """Let the ministry tell *lies*, by method, about the note *serial* from now on; about other methods none."""
        with self._lock:
            for method in ("CheckNote", "GetNoteParties"):
                self._lies.pop((serial, method), None)
            self._lies |= {(serial, method): lie for method, lie in lies.items()}

    def reply(self, method: str, wire: bytes, call: Any) -> bytes:
        """Return the reply to a call of *method*, its full name, or end *call* as the lie about its note orders."""
        kind: Any = request_type(f"/{method}")
        request = kind.FromString(wire)
        lie = self._lies.get((request.serial, method.rpartition("/")[2]))
        if lie is Lie.SLOW:
            time.sleep(SLOW_SECONDS)
        elif lie is Lie.LOST:
            call.abort(grpc.StatusCode.UNAVAILABLE, "lost")
        elif lie is Lie.QUOTA_EXHAUSTED:
            call.abort_with_status(to_grpc(Refusal(Reason.QUOTA_EXHAUSTED, retry_seconds=30.0)))
        elif lie is Lie.NOT_A_REPLY:
            return b"\xff" * 16
        reply = self._answer(request, lie)
        if lie is not Lie.NO_RECEIPT:
            proven_request, proven = type(request)(), type(reply)()
            proven_request.CopyFrom(request)
            proven.CopyFrom(reply)
            if lie is Lie.OTHER_QUESTION:
                proven_request.serial = "1404000000000102"
            elif lie is Lie.OTHER_ANSWER:
                proven.answer = pb.ANSWER_NO if reply.answer == pb.ANSWER_YES else pb.ANSWER_YES
            nonce = dict(call.invocation_metadata()).get(NONCE, "")
            reply.receipt.CopyFrom(self._receipt(method, proven_request, proven, nonce, lie))
        wire_reply: bytes = reply.SerializeToString()
        return wire_reply

    def _answer(self, request: Any, lie: Lie | None) -> Any:
        note = self._notes[request.serial]
        if isinstance(request, notes.CheckNoteRequest):
            asked = (request.obligor_id, request.beneficiary_id, str(request.amount_rials), "ISSUED")
            is_yes = asked == tuple(note[key] for key in ("obligor_id", "holder_id", "amount_rials", "state"))
            answer = pb.ANSWER_YES if is_yes else pb.ANSWER_NO
            return notes.CheckNoteResponse(answer=pb.ANSWER_UNSPECIFIED if lie is Lie.NO_ANSWER else answer)
        sides = {"obligor": "obligor", "beneficiary": "holder"}
        if lie is Lie.OTHER_OBLIGOR:
            note = note | {"obligor_id": "9990000026"}
        elif lie is Lie.OTHER_BENEFICIARY:
            note = note | {"holder_id": "9990000042"}
        elif lie is Lie.SWAPPED_PARTIES:
            sides = {"obligor": "holder", "beneficiary": "obligor"}
        obligor, beneficiary = (_party(note, sides[name]) for name in ("obligor", "beneficiary"))
        return notes.GetNotePartiesResponse(obligor=obligor, beneficiary=beneficiary)

    def _receipt(self, method: str, request: Any, bare: Any, nonce: str, lie: Lie | None) -> pb.Receipt:
        name = OTHER_SIGNER if lie is Lie.OTHER_SIGNER else SIGNER
        signer = SigningKey.load(self._pki / f"{name}.key", [self._pki / f"{name}.crt"])
        salt, inquiry_id = os.urandom(16), uuid_utils.uuid7()
        named = next(name for name in method_names("promissory") if (name == method) is not (lie is Lie.OTHER_METHOD))
        committed_salt = os.urandom(16) if lie is Lie.OTHER_COMMITMENT else salt
        with self._lock:
            entry = pb.Entry(
                inquiry_id=inquiry_id.bytes,
                answered_at_micros=int(self._now().timestamp() * 1_000_000),
                caller=self._caller,
                method=named,
                agency=getattr(request, "executive_agency_id", ""),
                keys_commitment=os.urandom(32),
                outcome=_OUTCOMES.get(bare.answer, pb.OUTCOME_NO) if "Check" in method else pb.OUTCOME_DISCLOSED,
                commitment=commitment(committed_salt, canonical(request), canonical(bare)),
                nonce=hashlib.sha256(nonce.encode()).digest() if nonce else b"",
            )
            origin = checkpoint.origin_of("promissory", signer.verifying_key.organization_id)
            receipt, self._tree = receipt_of(entry, request, bare, salt, tree=self._tree, signer=signer, origin=origin)
        return receipt


def receipt_of(
    entry: pb.Entry, request: Any, bare: Any, salt: bytes, *, tree: Frontier, signer: SigningKey, origin: str
) -> tuple[pb.Receipt, Frontier]:
    """Append *entry* to *tree*, and return the receipt of *request* and the *bare* reply, and the grown tree."""
    grown = tree.append([leaf_hash(canonical(entry))])
    head = checkpoint.Checkpoint(origin, grown.size, grown.root)
    receipt = pb.Receipt(
        inquiry_id=str(uuid_utils.UUID(bytes=entry.inquiry_id)),
        request=canonical(request),
        reply=canonical(bare),
        entry=canonical(entry),
        salt=salt,
        index=tree.size,
        inclusion_path=grown.path(tree.size),
        checkpoint=checkpoint.sign(head, signer, entry.answered_at_micros),
    )
    receipt.answered_at.FromMicroseconds(entry.answered_at_micros)
    return receipt, grown.frontier


def _party(note: Mapping[str, str], side: str) -> notes.Party:
    return notes.Party(
        kind=_KINDS[len(note[f"{side}_id"])],
        id=note[f"{side}_id"],
        full_name=note[f"{side}_name"],
        address=note[f"{side}_address"],
        postal_code=note[f"{side}_postal_code"],
    )


@contextmanager
def serving(ministry: Ministry, target: Target) -> Iterator[None]:
    """Serve *ministry* at the address that *target* names for it, if it does.

    Raises:
        TargetControlError: nothing can listen there.
    """
    if target.ministry is None:
        yield
        return
    key, certificate, authority = (
        (target.pki / name).read_bytes() for name in ("promissory-server.key", "promissory-server.crt", "ca.crt")
    )
    server = grpc.server(ThreadPoolExecutor(16, "ministry"), options=[("grpc.so_reuseport", 0)])
    for method in method_names("promissory"):
        service, _, name = method.partition("/")
        handler: Any = grpc.unary_unary_rpc_method_handler(partial(ministry.reply, method))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
    try:
        server.add_secure_port(
            target.ministry,
            grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=True),
        )
    except RuntimeError:
        raise TargetControlError(f"the kit can't listen at {target.ministry}, the address of its ministry") from None
    server.start()
    try:
        yield
    finally:
        server.stop(None).wait()
