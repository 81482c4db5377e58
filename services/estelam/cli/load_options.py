"""The options that every command which loads a file has, and those that declare what a file is."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from estelam.cli import complete
from estelam.cli.options import AsJson, whole_number
from estelam.cli.shared_options import Command, shared_options
from estelam.core.parties import Parties

CUT_AT_HELP = "The instant at which the source cut the file from its register, as 1405-09-09T12:00+03:30."

Since = Annotated[
    str | None,
    typer.Option(metavar="DATE", help="Declare the feed complete from this filing date on; 1399-01-01 is Jalali."),
]
TrackingSince = Annotated[
    str | None,
    typer.Option(metavar="DATE", help="Declare that the feed links cases to certificates from this filing date on."),
]
PartiesOption = Annotated[
    Parties | None,
    typer.Option(
        help="Whether the parties of a case in the file are added to the stored ones (default), or replace them."
    ),
]


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """The options of a command that loads a file; those that it does not offer are None."""

    feed: str | None
    cut_at: str | None
    replace: bool | None
    since: str | None
    tracking_since: str | None
    parties: Parties | None
    take_over: str | None
    rejects: Path | None
    dry_run: bool
    allow_removals: int
    allow_round_ids: bool
    allow_known_file: bool
    as_json: bool

    @property
    def declaring(self) -> list[str]:
        """The given options that declare what the file is, which a manifest does otherwise."""
        names = ("feed", "cut_at", "replace", "since", "tracking_since", "parties")
        return [f"--{name.replace('_', '-')}" for name in names if getattr(self, name)]


def load_options(*, without: Collection[str] = ()) -> Callable[[Command], Command]:
    """Return a decorator that adds the options of a load to a function whose last parameter is *options*.

    Args:
        without: names of options that the command does not offer.
    """
    offered = {name: option for name, option in _OPTIONS.items() if name not in without}
    nothing: dict[str, Any] = dict.fromkeys(_OPTIONS)
    return shared_options(offered, lambda values: LoadOptions(**(nothing | values)))


_OPTIONS: dict[str, tuple[Any, Any]] = {
    "cut_at": (Annotated[str | None, typer.Option(metavar="INSTANT", help=CUT_AT_HELP)], None),
    "replace": (
        Annotated[
            bool,
            typer.Option(
                "--replace",
                help="The file has all rows of its feed: stored rows of the feed that it lacks are removed.",
            ),
        ],
        False,
    ),
    "since": (Since, None),
    "tracking_since": (TrackingSince, None),
    "parties": (PartiesOption, None),
    "feed": (
        Annotated[str | None, typer.Option(metavar="NAME", help="The file's feed, where several sources deliver.")],
        None,
    ),
    "dry_run": (
        Annotated[bool, typer.Option("--dry-run", help="Report what the load would change, and change nothing.")],
        False,
    ),
    "take_over": (
        Annotated[
            str | None,
            typer.Option(
                metavar="NAME", help="Let the file's feed take over the records of another feed that are in the file."
            ),
        ],
        None,
    ),
    "allow_removals": (
        Annotated[
            int,
            typer.Option(
                parser=whole_number(0),
                metavar="N",
                help="Allow N rows to be changed or removed, where the settings' limit is lower.",
            ),
        ],
        0,
    ),
    "allow_round_ids": (
        Annotated[
            bool,
            typer.Option(
                "--allow-round-ids", help="Accept identifiers that look as if a spreadsheet had rounded them."
            ),
        ],
        False,
    ),
    "allow_known_file": (
        Annotated[
            bool,
            typer.Option(
                "--allow-known-file", help="Accept a file whose rows were loaded before, because they are to hold now."
            ),
        ],
        False,
    ),
    "rejects": (
        Annotated[
            Path | None,
            typer.Option(
                metavar="FILE",
                help="Write rejected rows to FILE; default: FILE.rejects.csv",
                autocompletion=complete.files,
            ),
        ],
        None,
    ),
    "as_json": (AsJson, False),
}
