"""`estelam receipt verify-proof`: verifies offline a proof that a service's ledger printed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from estelam.cli import output
from estelam.cli.heads import parse_head
from estelam.cli.signing_keys import named_keys, service_keys
from estelam.cli.verdicts import exit_not_valid
from estelam.core.exceptions import UsageError
from estelam.core.keys import VerifyingKey
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.receipts import checkpoint
from estelam.receipts.archive import read_archive
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.problems import InvalidReceipt, ReceiptProblem
from estelam.receipts.proofs import ConsistencyProof, InclusionProof, parse_proof
from estelam.receipts.tree import is_consistent, leaf_hash, root_from_path


def verify_proof(
    file: Path,
    head: str | None,
    receipt: Path | None,
    certificate: list[Path] | None,
    retired_keys: Path | None,
    *,
    as_json: bool,
) -> None:
    """Verify the proof in *file*: of the entry of a saved reply, or that a ledger continues an earlier head."""
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        proof = _read(file)
        try:
            keys = named_keys(certificate, retired_keys) or _service_keys(proof.note, retired_keys)
            found = _verified_checkpoint(proof.note, keys)
            known = _parse_head(head, found.origin, keys) if head else None
            if isinstance(proof, ConsistencyProof):
                _verify_consistency(proof, found, known)
                facts: dict[str, Any] = {"continues": f"{known[0]}:{known[1].hex()}" if known else None}
            else:
                facts = _verify_inclusion(proof, found, known, receipt)
        except InvalidReceipt as error:
            exit_not_valid(error, str(file), as_json=as_json)
    facts |= {"ledger": found.origin, "checkpoint": str(found)}
    output.print_record({"valid": True, **facts} if as_json else facts, as_json=as_json, title="VALID")


def _read(path: Path) -> ConsistencyProof | InclusionProof:
    output.check_readable(path)
    try:
        return parse_proof(path.read_text("utf-8"))
    except ValueError:
        raise UsageError(
            f"MALFORMED: {path}: is no proof; give one as `ledger prove` prints it or `receipt export` writes it"
        ) from None


def _service_keys(note: str, retired_keys: Path | None) -> dict[str, VerifyingKey]:
    try:
        origin = checkpoint.parse(note).checkpoint.origin
    except ValueError:
        raise InvalidReceipt(ReceiptProblem.DAMAGED) from None
    return service_keys(checkpoint.service_of(origin), retired_keys)


def _verified_checkpoint(note: str, keys: Mapping[str, VerifyingKey]) -> Checkpoint:
    """Return the checkpoint in *note*, signed by a key of the ledger's organisation that nobody else has.

    Raises:
        InvalidReceipt: it is not.
    """
    found, key_id = checkpoint.verify(note, keys)
    key = keys[key_id]
    if checkpoint.organization_of(found.origin) not in key.organizations:
        raise InvalidReceipt(
            ReceiptProblem.OTHER_ORGANIZATION if key.organizations else ReceiptProblem.UNNAMED_ORGANIZATION
        )
    # A checkpoint states no time, so that one of a compromised key may be the thief's.
    if key.retirement and key.retirement.reason == "compromised":
        raise InvalidReceipt(ReceiptProblem.KEY_COMPROMISED)
    return found


def _parse_head(text: str, origin: str, keys: Mapping[str, VerifyingKey]) -> tuple[int, bytes]:
    """Return size and root of a head: SIZE:ROOT, or a file with a checkpoint of the ledger *origin*.

    Raises:
        UsageError: it is neither.
        InvalidReceipt: the checkpoint is not signed by one of *keys*.
    """
    if ":" in text and not Path(text).exists():
        return parse_head("--head", text)
    path = Path(text)
    output.check_readable(path)
    try:
        [note] = checkpoint.parse_all(path.read_text("utf-8"))
    except ValueError:
        raise UsageError(f"--head {path}: give one checkpoint exactly as `ledger checkpoint` prints it") from None
    found, _ = checkpoint.verify(note, keys)
    if found.origin != origin:
        raise UsageError(f"--head {path}: is of the ledger {found.origin}; the proof is of {origin}")
    return found.size, found.root


def _verify_consistency(proof: ConsistencyProof, found: Checkpoint, head: tuple[int, bytes] | None) -> None:
    if head is None:
        raise UsageError(f"--head: give the head of {proof.old} entries that the ledger must continue")
    size, root = head
    if size != proof.old:
        raise UsageError(f"--head: has {size} entries; the proof begins with the head of {proof.old}")
    if not is_consistent(size, root, found.size, found.root, proof.path):
        raise InvalidReceipt(ReceiptProblem.NOT_CONTINUED)


def _verify_inclusion(
    proof: InclusionProof, found: Checkpoint, head: tuple[int, bytes] | None, receipt: Path | None
) -> dict[str, Any]:
    """Verify that the entry is in the ledger of *head*, if given; return what the entry says."""
    if head and head[0] != found.size:
        raise UsageError(f"--head: has {head[0]} entries; the proof is of a checkpoint of {found.size}: use --size")
    if head and head[1] != found.root:
        raise InvalidReceipt(ReceiptProblem.NOT_CONTINUED)
    leaf = _entry_in(receipt, proof.index) if receipt else proof.entry
    if not leaf:
        raise UsageError("--receipt: give the saved reply whose entry the proof is of")
    if root_from_path(leaf_hash(leaf), proof.index, found.size, proof.path) != found.root:
        raise InvalidReceipt(ReceiptProblem.NOT_IN_TREE)
    return {"index": proof.index}


def _entry_in(path: Path, index: int) -> bytes:
    """Return the entry with this *index* of the saved replies in the file *path*.

    Raises:
        UsageError: none has it.
    """
    output.check_readable(path)
    for item in read_archive(path):
        found: pb.Receipt = item.reply.receipt  # type: ignore[attr-defined]
        if found.index == index:
            return found.entry
    raise UsageError(f"--receipt {path}: has no reply with the entry {index}, which the proof is of")
