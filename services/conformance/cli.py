"""`estelam conformance`: test an implementation, list the cases, and write the fixtures."""

from pathlib import Path
from typing import Annotated

import typer

from conformance.completion import case_names, roles
from conformance.profile import Profile
from estelam.cli import complete
from estelam.cli.deferred import implemented_in
from estelam.cli.options import AsJson, PaperLanguage, whole_number

app = typer.Typer(no_args_is_help=True)
implemented = implemented_in("conformance.commands")

Address = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="The service's address.")]
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CLAUSE|CASE", help="Only the cases of this clause or id; may be repeated.", autocompletion=case_names
    ),
]
Chosen = Annotated[Profile, typer.Option(help="The set of requirements; each includes core, and full all.")]


@app.command()
@implemented
def run(
    pki: Annotated[
        Path, typer.Option(metavar="DIR", help="The folder `pki` of the fixtures.", autocompletion=complete.files)
    ],
    promissory: Address = None,
    judiciary: Address = None,
    setad: Address = None,
    instance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROLE=HOST:PORT", help="The address of a further instance; may be repeated.", autocompletion=roles
        ),
    ] = None,
    ministry: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where the kit listens as the ministry of the instance setad-deceived."),
    ] = None,
    steering: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder `steering` of the fixtures.", autocompletion=complete.files),
    ] = None,
    http: Annotated[
        bool, typer.Option("--http", help="Test the services' JSON APIs, whose addresses are given; see docs/api.md.")
    ] = False,
    profile: Chosen = Profile.FULL,
    without_changes: Annotated[
        bool, typer.Option("--without-changes", help="The target can't change its data in a run; it is a partial run.")
    ] = False,
    only: Only = None,
    junit_file: Annotated[
        Path | None,
        typer.Option("--junit", metavar="FILE", help="Write a JUnit XML report.", autocompletion=complete.files),
    ] = None,
    report_json: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a signed JSON report.", autocompletion=complete.files),
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write an HTML page.", autocompletion=complete.files)
    ] = None,
    pdf_file: Annotated[
        Path | None,
        typer.Option(
            "--pdf",
            metavar="FILE",
            help="Write the result on one page, with the signed report attached; needs the extra `pdf`.",
            autocompletion=complete.files,
        ),
    ] = None,
    language: Annotated[PaperLanguage, typer.Option("--lang", help="The language of the PDF.")] = PaperLanguage.FA,
    known_failing: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A list of known failures, with reasons and expiry.", autocompletion=complete.files
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(parser=whole_number(1, 64), metavar="N", help="Maximum number of cases that run at once.")
    ] = 8,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the report files.")] = False,
    as_json: AsJson = False,
) -> None:
    """Test a target.

    Exit 0: it conforms; 10: it does not; 11: what ran passed, in a partial run; 21: it can't be tested; 2: wrong usage.
    """


@app.command("list")
@implemented
def list_cases(profile: Chosen = Profile.FULL, only: Only = None, as_json: AsJson = False) -> None:
    """List the cases: id, profile, clause, target and title."""


@app.command("fixtures")
@implemented
def write_fixtures(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A new or empty folder.", autocompletion=complete.files)
    ],
    host: Annotated[
        list[str] | None, typer.Option(help="A further host name of the target's servers; may be repeated.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the files of fixtures in a folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the fixtures of a target: data, certificates, the start time, and instructions."""
