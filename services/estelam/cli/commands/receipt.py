"""Commands of `estelam receipt`: verify saved replies offline, and export their proofs."""

from pathlib import Path
from uuid import UUID

from estelam.cli import output
from estelam.cli.options import ProofFormat
from estelam.cli.signing_keys import named_witnesses
from estelam.cli.verdicts import exit_not_valid
from estelam.cli.verified_replies import VALID, VerifiedReplies, Verifiers
from estelam.core.files import write_atomic
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.receipts.archive import read_archive
from estelam.receipts.problems import InvalidReceipt, ReceiptProblem
from estelam.receipts.proofs import inclusion_text

_PDF = b"%PDF-"


def verify(
    file: Path,
    certificate: list[Path] | None,
    retired_keys: Path | None,
    witness_key: list[Path] | None,
    witnesses: int,
    *,
    as_json: bool,
) -> None:
    """Verify every reply of *file*, or of those that are attached to a PDF, and print them."""
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        output.check_readable(file)
        verifiers = Verifiers(certificate, retired_keys, named_witnesses(witness_key or (), witnesses), witnesses)
        if _is_pdf(file):
            from estelam.cli.certificate.command import verify_certificate  # noqa: PLC0415 - needs the extra pdf

            verify_certificate(file, verifiers, as_json=as_json)
            return
        verified = VerifiedReplies(as_json=as_json)
        try:
            for item in output.track(read_archive(file), "replies verified", as_json=as_json):
                verified.add(item, verifiers.verify(item))
        except InvalidReceipt as error:
            exit_not_valid(error, f"{file}, reply {verified.count + 1}", as_json=as_json)
    verified.print(VALID)


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


def _is_pdf(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(_PDF)) == _PDF
