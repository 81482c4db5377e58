"""A fake ministry: replies with valid receipts, which tests change in one place each."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uuid_utils

from conformance.case import Case
from conformance.ministry import receipt_of
from conformance.target import Target
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.core.errors import Refusal
from estelam.core.grpc_status import to_grpc
from estelam.core.keys import SigningKey
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.receipts import checkpoint
from estelam.receipts.receipt import canonical, commitment
from estelam.receipts.tree import Frontier

CHECK_NOTE = "estelam.promissory.v1.PromissoryNoteInquiryService/CheckNote"
SETAD, MINISTRY, JUDICIARY = "99001187852", "99001504616", "99000633527"
NOTE = {"serial": "1404000000000017", "obligor_id": "9990000018", "beneficiary_id": "99000554330"}
REQUEST = {**NOTE, "amount_rials": "2500000000"}
ASKED = notes.CheckNoteRequest(**NOTE, amount_rials=2_500_000_000)

Trailers = tuple[tuple[str, str | bytes], ...]


def fixtures(folder: Path) -> Path:
    """Write minimal certificates and a manifest to *folder* and return the PKI folder."""
    pki = folder / "pki"
    authority = DevCertificateAuthority.create(pki)
    for name, organization in (("setad", SETAD), ("cbi", "99000712713"), ("other", "99000316764")):
        authority.issue(name, [organization])
    authority.issue("server", [MINISTRY], hosts=["127.0.0.1", "localhost"])
    authority.issue_signing("promissory-receipts", MINISTRY)
    authority.issue_signing("judiciary-receipts", JUDICIARY)
    now = "2024-05-01T08:30:00Z"
    facts = {"origin": now, "as_of": now, "since": "2021-03-21", "max_staleness_seconds": 86400}
    (folder / "manifest.json").write_text(json.dumps({**facts, "window_seconds": 86400}))
    return pki


def case(*steps: dict[str, Any], **facts: Any) -> Case:
    """Return a case of the promissory service."""
    defaults = {
        "id": "a.case",
        "clause": "R2.1",
        "profile": "core",
        "title": {"en": "A case", "fa": "یک مورد"},
        "target": "promissory",
    }
    return Case.model_validate({**defaults, "steps": steps, **facts})


RATE_LIMIT: Trailers = (
    ("ratelimit-policy", '"CheckNote";q=20000;w=2'),
    ("ratelimit", '"CheckNote";r=000019999;t=000000001'),
)


def check(**expect: Any) -> dict[str, Any]:
    """Return a step that calls CheckNote."""
    return {"call": "CheckNote", "request": REQUEST, "expect": expect}


@dataclass
class Ministry:
    """Answers CheckNote; each call of `reply` records one entry and signs a checkpoint."""

    target: Target
    tree: Frontier = field(default_factory=Frontier)
    organization: str = ""
    change_entry: Callable[[pb.Entry], object] = field(default=lambda _entry: None)

    def reply(self, request: notes.CheckNoteRequest = ASKED, answer: int = pb.ANSWER_YES) -> notes.CheckNoteResponse:
        """Return a reply with a valid receipt."""
        pki = self.target.pki
        signer = SigningKey.load(pki / "promissory-receipts.key", [pki / "promissory-receipts.crt"])
        salt, now, inquiry_id = os.urandom(16), time.time_ns() // 1000, uuid_utils.uuid7()
        bare = notes.CheckNoteResponse(answer=answer)  # type: ignore[arg-type]
        entry = pb.Entry(
            inquiry_id=inquiry_id.bytes,
            answered_at_micros=now,
            caller=SETAD,
            method=CHECK_NOTE,
            keys_commitment=os.urandom(32),
            outcome=pb.OUTCOME_YES if answer == pb.ANSWER_YES else pb.OUTCOME_NO,
            commitment=commitment(salt, canonical(request), canonical(bare)),
        )
        self.change_entry(entry)
        origin = checkpoint.origin_of("promissory", self.organization or signer.verifying_key.organization_id)
        receipt, self.tree = receipt_of(entry, request, bare, salt, tree=self.tree, signer=signer, origin=origin)
        bare.receipt.CopyFrom(receipt)
        return bare


def trailers(reply: notes.CheckNoteResponse) -> Trailers:
    """Return the trailers of an answer."""
    return (
        ("estelam-inquiry-id", reply.receipt.inquiry_id),
        *RATE_LIMIT,
    )


def refused(refusal: Refusal, *, pushback: str = "-1") -> Trailers:
    """Return the trailers of a refusal."""
    found = tuple(to_grpc(refusal).trailing_metadata or ())
    return (*found, *RATE_LIMIT, ("estelam-inquiry-id", str(uuid_utils.uuid7())), ("grpc-retry-pushback-ms", pushback))
