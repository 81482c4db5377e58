"""`estelam receipt`: verify saved replies offline, by the services' signing certificates; export and certify them."""

from pathlib import Path
from typing import Annotated

import typer

from estelam.cli import complete
from estelam.cli.deferred import implemented_in
from estelam.cli.options import Archive, AsJson, Certificates, PaperLanguage, ProofFormat, RetiredKeys, whole_number

app = typer.Typer(no_args_is_help=True)


WitnessKeys = Annotated[
    list[Path] | None,
    typer.Option(
        "--witness-key",
        help="A file of verifier keys of witnesses, one a line, whose cosignatures to verify; may be repeated.",
        autocompletion=complete.files,
    ),
]
Witnesses = Annotated[
    int,
    typer.Option(
        parser=whole_number(0), metavar="N", help="How many of these witnesses must have cosigned the checkpoint."
    ),
]


@app.command()
@implemented_in("estelam.cli.commands.receipt")
def verify(
    file: Annotated[
        Path,
        typer.Argument(
            help="The file that --save-receipt or a bulk check wrote, or a PDF of `receipt certificate`.",
            autocompletion=complete.files,
        ),
    ],
    certificate: Certificates = None,
    retired_keys: RetiredKeys = None,
    witness_key: WitnessKeys = None,
    witnesses: Witnesses = 0,
    as_json: AsJson = False,
) -> None:
    """Verify that a service gave each reply to its request at its time.

    Exit 0: all are valid; 1: one is INVALID; 2: MALFORMED, the file is not as it was saved; 21: NOT CHECKED, no
    certificate is of the signing key at the time of the answer, the key was compromised, or too few witnesses cosigned.
    Of more than 100 replies only the counts are printed. Of a PDF, the attached replies are verified, and exit 21 also
    means that its pages are not those that this program makes of them with the same --witness-key files: they were
    altered, or made by another version. Only the attachment is proof, and only what it says is printed.
    """


@app.command("certificate")
@implemented_in("estelam.cli.certificate.command")
def certify(
    file: Annotated[
        Path,
        typer.Argument(help="The file that --save-receipt or a bulk check wrote.", autocompletion=complete.files),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The PDF file to write.", autocompletion=complete.files)
    ],
    language: Annotated[PaperLanguage, typer.Option("--lang", help="The language of the pages.")] = PaperLanguage.FA,
    certificate: Certificates = None,
    retired_keys: RetiredKeys = None,
    witness_key: WitnessKeys = None,
    witnesses: Witnesses = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite --out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write saved replies as a PDF for a court or a file: one page for each, with the receipts attached.

    Everything is verified first, as `receipt verify` does, with its exit codes: a reply that is not valid gets no
    certificate. The same replies give the same bytes. Needs the extra `pdf`.
    """


@app.command()
@implemented_in("estelam.cli.commands.receipt")
def export(
    file: Annotated[
        Path,
        typer.Argument(help="The file that --save-receipt or a bulk check wrote.", autocompletion=complete.files),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The new folder to write to.", autocompletion=complete.files)
    ],
    form: Annotated[ProofFormat, typer.Option("--format", help="The proofs' format.")] = ProofFormat.TLOG_PROOF,
    as_json: AsJson = False,
) -> None:
    """Write the proof of each saved reply as INQUIRY_ID.tlog-proof (C2SP), for tools of transparency logs.

    A proof shows that the ledger contains the entry, which is in its line `extra`, and nothing of the reply's content.
    Nothing is verified. Exit 0: written; 2: MALFORMED, FILE can't be read, or --out is not empty; 21: a proof can't be
    written.
    """


@app.command("verify-proof")
@implemented_in("estelam.cli.commands.receipt_proof")
def verify_proof(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="PROOF", help="A proof of `ledger prove` or `receipt export`.", autocompletion=complete.files
        ),
    ],
    head: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE:ROOT|FILE",
            help="A head published earlier: that which a ledger must continue, or must contain an entry at.",
        ),
    ] = None,
    receipt: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The saved reply whose entry the proof is of.", autocompletion=complete.files
        ),
    ] = None,
    certificate: Certificates = None,
    retired_keys: RetiredKeys = None,
    as_json: AsJson = False,
) -> None:
    """Verify offline that a ledger contains an entry, or continues a head that was published earlier.

    Exit 0: VALID; 1: INVALID, the proof fails; 2: MALFORMED, it is no proof, or of another head or entry; 21: NOT
    CHECKED, no certificate is of the signing key, or the key was compromised.
    """


@app.command()
@implemented_in("estelam.cli.commands.receipt_refresh")
def refresh(
    file: Annotated[
        Path,
        typer.Argument(help="The file that --save-receipt or a bulk check wrote.", autocompletion=complete.files),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The new file to write.", autocompletion=complete.files)
    ],
    witnesses: Annotated[
        int,
        typer.Option(parser=whole_number(1), metavar="N", help="How many witnesses must have cosigned the checkpoint."),
    ] = 1,
    archive: Archive = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite --out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write saved replies anew, with receipts under the first checkpoint that witnesses cosigned.

    The provider runs it, beside its ledger; request, reply and entry stay as they are. Exit 0: written; 1: INVALID, a
    receipt or the ledger; 2: MALFORMED, or an option can't be used; 21: NOT CHECKED, the ledger can't be read, no such
    checkpoint is there yet, or its key was not valid at the time of the answer. Then nothing is written.
    """
