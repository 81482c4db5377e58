"""`estelam ledger`: verify a ledger, prove parts of it, and report the inquiries about a data subject."""

from pathlib import Path
from typing import Annotated

import typer

from estelam.cli import complete
from estelam.cli.deferred import implemented_in
from estelam.cli.options import Archive, AsJson, Service, whole_number
from estelam.core.subjects import SubjectKind
from estelam.receipts.tree import MAX_SIZE

app = typer.Typer(no_args_is_help=True)
implemented = implemented_in("estelam.cli.commands.ledger")


@app.command("verify")
@implemented
def verify_ledger(
    service: Service,
    head: Annotated[
        str | None, typer.Option(metavar="SIZE:ROOT", help="A head published earlier, which the ledger must continue.")
    ] = None,
    heads: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Checkpoints kept elsewhere, which the ledger must continue.",
            autocompletion=complete.files,
        ),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE|SIZE:ROOT",
            help="Verify only what follows a checkpoint that was verified earlier: the last one of FILE, or SIZE:ROOT.",
        ),
    ] = None,
    progress: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="As --from FILE, or all if there is none yet; then FILE is replaced by the newest checkpoint.",
            autocompletion=complete.files,
        ),
    ] = None,
    archive: Archive = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            parser=whole_number(1, 1024),
            metavar="N",
            help="Processes that verify a long ledger at the same time; default: one for each core this one may use.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify the ledger, by default all of it. A checkpoint that was kept shows whether it was signed anew since.

    All of it includes the indexes that searches read; on PostgreSQL by the extension amcheck, where this role may use
    it (`indexes_verified`). Exit 0: it is valid; 1: it is INVALID; 2: a given checkpoint is malformed or another
    ledger's; 21: it can't be read, or is NOT CHECKED: a certificate of a signing key is not in the settings.
    """


@app.command("checkpoint")
@implemented
def print_checkpoint(service: Service, as_json: AsJson = False) -> None:
    """Print the newest checkpoint, a signed note (C2SP). Kept elsewhere, it shows any later change of what it covers.

    Exit 0: printed; 2: the ledger is empty; 21: it can't be read.
    """


@app.command("export-tiles")
@implemented
def export_tiles(
    service: Service,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder, of this ledger alone; it is created.")],
    archive: Archive = None,
    as_json: AsJson = False,
) -> None:
    """Write the ledger's tree as static files of hashes (C2SP tlog-tiles), without entries; later runs add what is new.

    Exit 0: written; 1: the ledger is INVALID, or does not continue what was written; 2: it is empty, or DIR holds
    something else; 21: it or an archived entry can't be read.
    """


prove = typer.Typer(no_args_is_help=True)
app.add_typer(prove, name="prove", help="Prove that the ledger contains an entry, or continues an earlier state.")
Size = Annotated[
    int | None,
    typer.Option(
        parser=whole_number(1, MAX_SIZE),
        metavar="N",
        help="The size of the checkpoint to prove it for, which a commit ended with; default: the newest.",
    ),
]


@prove.command("inclusion")
@implemented
def prove_inclusion(
    service: Service,
    entry: Annotated[
        str,
        typer.Argument(metavar="INDEX|ID", help="The index of the entry, as a receipt states it, or its inquiry id."),
    ],
    size: Size = None,
    archive: Archive = None,
    as_json: AsJson = False,
) -> None:
    """Print the proof that the ledger contains an entry (C2SP tlog-proof).

    Exit 0: printed; 2: there is no such entry or checkpoint; 21: the ledger or an archived entry can't be read.
    """


@prove.command("consistency")
@implemented
def prove_consistency(
    service: Service,
    old: Annotated[int, typer.Argument(parser=whole_number(0, MAX_SIZE), help="The size of the earlier checkpoint.")],
    size: Size = None,
    archive: Archive = None,
    as_json: AsJson = False,
) -> None:
    """Print the proof that the ledger continues an earlier checkpoint, as C2SP's tlog-witness takes it.

    Exit 0: printed; 2: there is no such checkpoint; 21: the ledger or an archived entry can't be read.
    """


@app.command("subject-report")
@implemented
def subject_report(
    service: Service,
    identifier: Annotated[str, typer.Argument(help="The identifier of the data subject.")],
    kind: Annotated[SubjectKind, typer.Option(help="The identifier's kind.")] = SubjectKind.PERSON,
    archive: Archive = None,
    as_json: AsJson = False,
) -> None:
    """List every inquiry about one identifier, for the person concerned.

    Entries are found by the store's index and verified; `ledger verify` proves that the index lacks none.

    Exit 0: the ledger was searched, and what was searched is printed; 1: an entry that was found is not what the ledger
    has signed; 2: the identifier is malformed; 21: the ledger can't be searched.
    """


@app.command("loads")
@implemented
def list_loads(
    service: Service,
    index: Annotated[
        int | None,
        typer.Option(
            parser=whole_number(0, MAX_SIZE),
            metavar="N",
            help="Print only the load from which this entry was answered, the newest then.",
        ),
    ] = None,
    archive: Archive = None,
    as_json: AsJson = False,
) -> None:
    """List the loads that the ledger notes: every entry after a note was answered from data that includes its load.

    Notes are found by the store's list of them and verified; `ledger verify` proves that the list lacks none.

    Exit 0: listed; 1: the ledger is INVALID; 2: there is no such entry; 21: it or an archived note can't be read.
    """


@app.command("archive")
@implemented_in("estelam.cli.commands.ledger_archive")
def archive_entries(
    service: Service,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder for the files; keep it for ever.")],
    before: Annotated[
        int,
        typer.Option(parser=whole_number(0, MAX_SIZE), metavar="INDEX", help="Archive only entries before this index."),
    ],
    as_json: AsJson = False,
) -> None:
    """Move closed partitions of entries from PostgreSQL to files, verified, as the role that owns the tables.

    It stops before entries of the last 25 hours, which may confirm an inquiry. Searches, proofs, tiles and `ledger
    verify` need the files from then on (--archive DIR). Exit 0: done, also where no partition ends before INDEX; 1: the
    ledger is INVALID; 2: it is not on PostgreSQL, or empty; 21: the store or DIR can't be used.
    """


@app.command("restores")
@implemented_in("estelam.cli.commands.ledger_restore")
def list_restores(service: Service, archive: Archive = None, as_json: AsJson = False) -> None:
    """List the restores of the ledger that were acknowledged: after each, entries that had been signed were lost.

    Exit 0: listed; 1: the ledger is INVALID; 21: it or an archived note can't be read.
    """


@app.command("acknowledge-restore")
@implemented_in("estelam.cli.commands.ledger_restore")
def acknowledge_restore(
    service: Service,
    operator: Annotated[str, typer.Option(metavar="NAME", help="Who acknowledges it, by an official name.")],
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why the end of the ledger is lost. Name no person asked for.")
    ],
    as_json: AsJson = False,
) -> None:
    """Acknowledge that the ledger was restored to an earlier state, so that the service starts on it.

    The ledger notes it for ever, with the checkpoint that was kept; its file is renamed. On SQLite the service must not
    run. Exit 0: acknowledged; 2: there is nothing to acknowledge; 21: the store can't be used.
    """


@app.command("recalls")
@implemented
def list_recalls(service: Service, archive: Archive = None, as_json: AsJson = False) -> None:
    """List the runs of recall that the ledger notes, with the number of answers each listed.

    A run is noted when the service starts or at its next health check. Exit 0: listed; 1: the ledger is INVALID; 21:
    it or an archived note can't be read.
    """
