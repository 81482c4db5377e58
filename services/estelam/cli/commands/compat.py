"""Commands of `estelam compat`: check a release for backward compatibility, and add it to the published baseline."""

from pathlib import Path

from estelam.catalogue.loader import read_catalogue
from estelam.cli import output
from estelam.compat.baseline import Baseline
from estelam.compat.check import CompatibilityViolation, Release, compatibility_violations
from estelam.compat.surface import contract_surface
from estelam.core import dates
from estelam.core.clock import Clock
from estelam.core.settings import CatalogueSettings, load_settings
from estelam.data_model import descriptors


def check(catalogue: Path | None, published: Path, on: str | None, *, as_json: bool) -> None:
    """Check a release against the published baseline; exit 1 if it breaks a rule."""
    known, release = _read(catalogue, published, on, as_json=as_json)
    _require_none(compatibility_violations(known, release), as_json=as_json)
    added = len(set(release.surface) - known.surface)
    output.print_record({"valid": True, "published": len(known.surface), "added": added}, as_json=as_json)


def publish(catalogue: Path | None, published: Path, on: str | None, *, as_json: bool) -> None:
    """Check a release, and add it to the published baseline."""
    known, release = _read(catalogue, published, on, as_json=as_json)
    _require_none(compatibility_violations(known, release), as_json=as_json)
    after = known.with_release(release.surface, release.catalogue)
    with output.user_errors(as_json=as_json):
        after.write(published)
    output.print_record({"published": len(after.surface), "ends_announced": len(after.sunsets)}, as_json=as_json)


def _read(catalogue: Path | None, published: Path, on: str | None, *, as_json: bool) -> tuple[Baseline, Release]:
    if on is None:
        day = dates.today(Clock().now())
    else:
        day = output.parse_option("--on", on, dates.parse_date, as_json=as_json)
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        found = read_catalogue(catalogue or load_settings(CatalogueSettings).folder)
        return Baseline.read(published), Release(contract_surface(descriptors.files()), found, day)


def _require_none(found: list[CompatibilityViolation], *, as_json: bool) -> None:
    """Print the violations and exit 1, unless there are none."""
    if not found:
        return
    fields = [{"field": one.element, "rule": one.rule, "description": one.message} for one in found]
    if not as_json:
        output.print_rows(
            ("rule", "field", "description"), [(f["rule"], f["field"], f["description"]) for f in fields], as_json=False
        )
    message = f"Verification failed: the release breaks {len(found)} rules for change"
    output.exit_error(message, as_json=as_json, fields=fields)
