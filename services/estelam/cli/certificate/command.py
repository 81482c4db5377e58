"""`estelam receipt certificate`: writes verified replies as a PDF with their receipts attached; and reads it."""

from pathlib import Path

from estelam.cli import output
from estelam.cli.certificate import certificate as certificates
from estelam.cli.options import PaperLanguage
from estelam.cli.signing_keys import named_witnesses
from estelam.cli.verdicts import exit_not_valid
from estelam.cli.verified_replies import VALID, VerifiedReplies, Verifiers
from estelam.core.files import write_atomic
from estelam.receipts.archive import read_archive
from estelam.receipts.problems import InvalidReceipt, ReceiptProblem


def certify(
    file: Path,
    out: Path,
    language: PaperLanguage,
    certificate: list[Path] | None,
    retired_keys: Path | None,
    witness_key: list[Path] | None,
    witnesses: int,
    *,
    force: bool,
    as_json: bool,
) -> None:
    """Verify every reply of *file*, and write their certificate to *out*; nothing is written unless all are valid."""
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        output.check_readable(file)
        output.check_writable(out, "--out", force=force)
        verifiers = Verifiers(certificate, retired_keys, named_witnesses(witness_key or (), witnesses), witnesses)
        replies: list[certificates.Proven] = []
        try:
            for item in read_archive(file):
                replies.append((item, verifiers.verify(item)))
                certificates.check_count(len(replies))
        except InvalidReceipt as error:
            exit_not_valid(error, f"{file}, reply {len(replies) + 1}", as_json=as_json)
        write_atomic(out, certificates.make(replies, language), durable=True)
    output.print_record({"replies": len(replies), "file": str(out)}, as_json=as_json)


def verify_certificate(file: Path, verifiers: Verifiers, *, as_json: bool) -> None:
    """Verify the replies that are attached to the PDF *file* and print them; then compare its pages with theirs."""
    verified, replies = VerifiedReplies(as_json=as_json), list[certificates.Proven]()
    try:
        paper = certificates.read(file)
    except InvalidReceipt as error:
        exit_not_valid(error, str(file), as_json=as_json)
    try:
        for item in paper.replies:
            replies.append((item, verifiers.verify(item)))
            verified.add(*replies[-1])
    except InvalidReceipt as error:
        exit_not_valid(error, f"{file}, reply {len(replies) + 1}", as_json=as_json)
    other_pages = not paper.shows(replies)
    if not (as_json and other_pages):  # of JSON there is one object
        verified.print(f"{VALID}, attached")
    if other_pages:
        exit_not_valid(InvalidReceipt(ReceiptProblem.OTHER_PAGES), str(file), as_json=as_json)
    if not as_json:
        output.print_line(f"The pages of {file} are those that this program makes of the attached receipts.")
