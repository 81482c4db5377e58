"""`estelam compat`: whether a release keeps the rules for change, and taking it into what is published."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from estelam.catalogue.loader import read_catalogue
from estelam.cli import output
from estelam.compat.baseline import Baseline
from estelam.compat.check import CompatibilityViolation, Release, compatibility_violations
from estelam.compat.surface import contract_surface
from estelam.core import normalize
from estelam.core.clock import TEHRAN
from estelam.core.settings import CatalogueSettings, load_settings
from estelam.data_model import descriptors

app = typer.Typer(help="Rules for change: nothing published breaks, no end comes as a surprise.", no_args_is_help=True)

Folder = Annotated[
    Path | None, typer.Option("--catalogue", metavar="DIR", help="The catalogue; default: ESTELAM_CATALOGUE_FOLDER.")
]
Register = Annotated[Path, typer.Option("--published", metavar="FILE", help="What has been published so far.")]
On = Annotated[str | None, typer.Option("--on", metavar="DAY", help="The day of the release; default: today, in Iran.")]
PUBLISHED = Path("protos/published.txt")


@app.command()
def check(
    catalogue: Folder = None, published: Register = PUBLISHED, on: On = None, as_json: output.AsJson = False
) -> None:
    """Say whether this release may go out. Exit 0: it may; 1: it breaks a rule, and which."""
    known, release = _read(catalogue, published, on, as_json=as_json)
    _held(compatibility_violations(known, release), as_json=as_json)
    added = len(set(release.surface) - known.surface)
    output.print_record({"valid": True, "published": len(known.surface), "added": added}, as_json=as_json)


@app.command()
def publish(
    catalogue: Folder = None, published: Register = PUBLISHED, on: On = None, as_json: output.AsJson = False
) -> None:
    """Take this release into what is published, if it may go out: from now on callers may rely on it."""
    known, release = _read(catalogue, published, on, as_json=as_json)
    _held(compatibility_violations(known, release), as_json=as_json)
    after = known.with_release(release.surface, release.catalogue)
    with output.user_errors(as_json=as_json):
        after.write(published)
    output.print_record({"published": len(after.surface), "ends_told": len(after.sunsets)}, as_json=as_json)


def _read(catalogue: Path | None, published: Path, on: str | None, *, as_json: bool) -> tuple[Baseline, Release]:
    try:
        day = normalize.parse_date(on) if on else datetime.now(TEHRAN).date()
    except ValueError:
        output.exit_error("--on takes a day of either calendar, written YYYY-MM-DD", as_json=as_json)
    with output.user_errors(as_json=as_json):
        found = read_catalogue(catalogue or load_settings(CatalogueSettings).folder)
        return Baseline.read(published), Release(contract_surface(descriptors.files()), found, day)


def _held(found: list[CompatibilityViolation], *, as_json: bool) -> None:
    """Show what is broken and exit, unless nothing is."""
    if not found:
        return
    rows = [(breach.rule, breach.element, breach.message) for breach in found]
    output.print_rows(("rule", "about", "words"), rows, as_json=as_json)
    raise typer.Exit(output.EXIT_FAILED)
