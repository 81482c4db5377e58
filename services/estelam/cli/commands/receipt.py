"""Commands of `estelam receipt`: verify saved replies offline, and export their proofs."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from google.protobuf.json_format import MessageToDict

from estelam.cli import output
from estelam.cli.coverage_facts import coverage_facts
from estelam.cli.options import ProofFormat
from estelam.cli.signing_keys import named_keys, named_witnesses, service_keys
from estelam.cli.verdicts import exit_not_valid
from estelam.core import dates
from estelam.core.clock import to_datetime
from estelam.core.escape import visible
from estelam.core.files import write_atomic
from estelam.core.note_keys import NoteKey
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.receipts import receipt
from estelam.receipts.archive import ReceiptRecord, read_archive
from estelam.receipts.problems import InvalidReceipt, ReceiptProblem
from estelam.receipts.proofs import inclusion_text

MAX_PRINTED = 100


def verify(
    file: Path,
    certificate: list[Path] | None,
    retired_keys: Path | None,
    witness_key: list[Path] | None,
    witnesses: int,
    *,
    as_json: bool,
) -> None:
    """Verify every reply of *file*; print each, or the counts alone of more than MAX_PRINTED."""
    count, outcomes, first = 0, Counter[str](), []
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        output.check_readable(file)
        verifiers = _Verifiers(certificate, retired_keys, named_witnesses(witness_key or (), witnesses), witnesses)
        try:
            for item in output.track(read_archive(file), "replies verified", as_json=as_json):
                proven = verifiers.verify(item)
                count += 1
                outcomes[_outcome(proven)] += 1
                if count <= MAX_PRINTED:
                    first.append(_facts(item, proven, as_json=as_json))
        except InvalidReceipt as error:
            exit_not_valid(error, f"{file}, reply {count + 1}", as_json=as_json)
    numbers = {"count": count, "outcomes": dict(outcomes)}
    if count > MAX_PRINTED:
        output.print_record({"valid": True, **numbers}, as_json=as_json, title="VALID")
    elif as_json:
        output.print_record({"valid": True, **numbers, "replies": first}, as_json=True)
    else:
        for facts in first:
            output.print_record(facts, as_json=False, title="VALID")


def export(file: Path, out: Path, form: ProofFormat, *, as_json: bool) -> None:
    """Write the proof of each reply of *file* into the folder *out*."""
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        output.check_readable(file)
        output.check_new_folder(out, "--out")
        count = 0
        try:
            for item in output.track(read_archive(file), "proofs written", as_json=as_json):
                found: pb.Receipt = item.reply.receipt  # type: ignore[attr-defined]
                inquiry_id = UUID(bytes=pb.Entry.FromString(found.entry).inquiry_id)
                text = inclusion_text(found.index, found.inclusion_path, found.checkpoint, entry=found.entry)
                out.mkdir(parents=True, exist_ok=True)
                write_atomic(out / f"{inquiry_id}.{form}", text)
                count += 1
        except ValueError:  # from UUID
            exit_not_valid(InvalidReceipt(ReceiptProblem.DAMAGED), f"{file}, reply {count + 1}", as_json=as_json)
        except InvalidReceipt as error:
            exit_not_valid(error, f"{file}, reply {count + 1}", as_json=as_json)
    output.print_record({"proofs": count, "folder": str(out)}, as_json=as_json)


class _Verifiers:
    """A verifier for each service whose replies the file holds."""

    def __init__(
        self,
        certificates: list[Path] | None,
        retired_keys: Path | None,
        witnesses: Sequence[NoteKey],
        needed: int,
    ) -> None:
        self._named = named_keys(certificates, retired_keys)
        self._retired_keys = retired_keys
        self._witnesses = witnesses
        self._needed = needed
        self._by_area: dict[str, receipt.Verifier] = {}

    def verify(self, item: ReceiptRecord) -> receipt.VerifiedReceipt:
        """Verify *item*."""
        # estelam.AREA.v1 is signed by AREA-receipts.crt; the key of one service proves nothing about another's methods.
        area = item.method.split(".")[1]
        if area not in self._by_area:
            keys = self._named or service_keys(area, self._retired_keys)
            self._by_area[area] = receipt.Verifier(keys, witnesses=self._witnesses, needed=self._needed)
        return self._by_area[area].verify(item.method, item.request, item.reply)


def _facts(item: ReceiptRecord, proven: receipt.VerifiedReceipt, *, as_json: bool) -> dict[str, Any]:
    entry, asked = proven.entry, MessageToDict(item.request, preserving_proto_field_name=True)
    return {
        "method": item.method,
        "caller": entry.caller if as_json else visible(entry.caller),
        "answered_at": to_datetime(entry.answered_at_micros),
        "outcome": _outcome(proven),
        **coverage_facts(item.reply),
        "request": asked if as_json else {name: visible(str(value)) for name, value in asked.items()},
        "ledger": proven.checkpoint.origin,
        "index": proven.index,
        "checkpoint": str(proven.checkpoint),
        "key_id": proven.key_id,
        **_witness_facts(proven, as_json=as_json),
    }


def _witness_facts(proven: receipt.VerifiedReceipt, *, as_json: bool) -> dict[str, Any]:
    found = {each.witness: to_datetime(each.seconds * 1_000_000) for each in proven.cosignatures}
    if as_json:
        return {"cosigned_by": found}
    return {"cosigned_by": "\n".join(f"{name}, {dates.format_second(at)}" for name, at in found.items()) or None}


def _outcome(proven: receipt.VerifiedReceipt) -> str:
    return pb.Outcome.Name(proven.entry.outcome).removeprefix("OUTCOME_")
