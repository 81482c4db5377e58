"""Commands of `estelam catalogue` for those who approve its changes: sign one, and print one's own key."""

from pathlib import Path

import typer

from estelam.catalogue.change_file import (
    NEEDED,
    Approver,
    CatalogueChange,
    SignedChange,
    change_numbers,
    change_path,
    new_change,
    read_change,
)
from estelam.catalogue.changes import changes, snapshot
from estelam.catalogue.loader import CatalogueState, read_state
from estelam.cli import output
from estelam.core import dates
from estelam.core.clock import Clock
from estelam.core.exceptions import UsageError
from estelam.core.files import locked_folder, write_atomic
from estelam.core.settings import CatalogueSettings, load_settings


def approver(key: Path, name: str, *, as_json: bool) -> None:
    """Print the verifier key of the private key *key* under *name*."""
    with output.user_errors(as_json=as_json):
        output.check_readable(key)
        found = Approver.load(name, key).key
    if as_json:
        output.print_record({"name": found.name, "verifier_key": str(found)}, as_json=True)
    else:
        typer.echo(str(found))


def approve(
    key: Path,
    name: str,
    reason: str | None,
    before: Path | None,
    dry_run: bool,  # noqa: FBT001 - an option of the command line, passed by its name
    catalogue: Path | None,
    *,
    as_json: bool,
) -> None:
    """Sign the catalogue as it is, with a new change or one that has signatures of others."""
    with output.user_errors(as_json=as_json):
        output.check_readable(key)
        person, folder = Approver.load(name, key), catalogue or load_settings(CatalogueSettings).folder
        output.check_folder(folder)
        with locked_folder(folder):
            state = read_state(folder)
            draft = _draft(folder, state.digest, reason)
            if draft.is_signed_by(person.key):
                raise UsageError(f"this key has signed change {draft.change.number} already; another person must")
            differences = _differences(before, state, draft.change) if before else None
            if not dry_run:
                path = change_path(folder, draft.change.number)
                path.parent.mkdir(exist_ok=True)
                write_atomic(path, draft.text + person.sign(draft.change), durable=True)
    names = [*draft.names, *([] if dry_run else [name])]
    missing = max(0, NEEDED - len(names))
    facts = {
        "number": draft.change.number,
        "before": draft.change.before,
        "after": draft.change.after,
        "date": draft.change.day,
        "reason": draft.change.reason,
        "changes": differences,
        "signed_by": names or None,
        "next": f"{output.counted(missing, 'more person')} to sign it: estelam catalogue approve" if missing else None,
    }
    output.print_record(facts, as_json=as_json)


def _draft(folder: Path, digest: str, reason: str | None) -> SignedChange:
    """Return the newest change if it leads to *digest*, or else a new one, in place of one that was never approved.

    Raises:
        UsageError: a new change needs a reason, or the reason is malformed.
        ChangeFileError: a change file can't be read.
    """
    numbers = change_numbers(folder)
    newest = read_change(folder, numbers[-1]) if numbers else None
    if newest and newest.change.after == digest:
        return newest
    if reason is None:
        raise UsageError("the catalogue is as nobody has signed it: give --reason, why it changes")
    if newest is None:
        number, before = 1, digest
    elif len(newest.names) < NEEDED:
        number, before = newest.change.number, newest.change.before
    else:
        number, before = newest.change.number + 1, newest.change.after
    try:
        change = new_change(number, before, digest, dates.today(Clock().now()), reason)
    except ValueError as error:
        raise UsageError(f"--reason: {error}") from None
    return SignedChange(change, (), f"{change.body}\n")


def _differences(before: Path, state: CatalogueState, change: CatalogueChange) -> list[str]:
    """Return a line for each record that differs from the catalogue in *before*, by those that decide about access.

    Raises:
        UsageError: that is not the state before the change.
    """
    output.check_folder(before)
    earlier = read_state(before)
    if earlier.digest != change.before:
        raise UsageError(f"--before {before}: its digest is {earlier.digest}, not {change.before}, which is changed")
    found = changes(snapshot(earlier.catalogue), snapshot(state.catalogue))
    return [f"{each.record.kind} {each.record.key} {each.action} {'; '.join(each.details)}".rstrip() for each in found]
