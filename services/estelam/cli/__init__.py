"""The command line: `estelam`, with a group for each service that is installed and the house's own."""

import gc
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import typer

OWN_GROUPS = {
    "receipt": "receipt",
    "ledger": "ledger",
    "dev-ca": "dev_ca",
    "catalogue": "catalogue",
    "compat": "compat",
    "data-model": "data_model",
}
"""The groups that every installation has, each with its module in `cli.commands`."""


def application(words: Sequence[str] = ()) -> typer.Typer:
    """All commands; each service brings its own group, found by its entry point.

    Where the first of *words* names a group, it comes alone: what the others stand on takes a second to import. But
    every contract is known all the same, since a receipt may be of any service.
    """
    app = typer.Typer(
        name="estelam",
        help="Official yes/no inquiries: ask, serve, load, verify.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_nothing_first)
    _know_contracts()
    adding = _groups()
    first = words[0] if words else ""
    for name in (first,) if first in adding else adding:
        adding[name](app)
    return app


def _know_contracts() -> None:
    house = Path(__file__).parents[1]
    for stubs in sorted(house.glob("*/v*/*_pb2.py")):
        import_module(".".join([house.name, *stubs.relative_to(house).with_suffix("").parts]))


def _groups() -> dict[str, Callable[[typer.Typer], None]]:
    """What adds each group to an application, by the group's name and in the order in which they are shown."""
    services = sorted(entry_points(group="estelam.services"), key=lambda found: found.name)
    return {
        **{entry.name: partial(_add, entry=entry) for entry in services},
        **{name: partial(_add_own, name=name) for name in OWN_GROUPS},
        "migrate": _add_migrate,
    }


def _add(app: typer.Typer, entry: EntryPoint) -> None:
    """Add a service's commands; where they need an extra that is not installed, one that says so."""
    try:
        app.add_typer(entry.load(), name=entry.name)
    except ModuleNotFoundError:
        if not entry.extras:
            raise
        words = f"Not installed: it needs the extra {entry.extras[0]}."
        anything = {"ignore_unknown_options": True, "allow_extra_args": True}
        app.command(entry.name, help=words, context_settings=anything)(_missing(entry.extras[0]))


def _add_own(app: typer.Typer, name: str) -> None:
    app.add_typer(import_module(f"{__name__}.commands.{OWN_GROUPS[name]}").app, name=name)


def _add_migrate(app: typer.Typer) -> None:
    app.command("migrate")(import_module(f"{__name__}.commands.migrate").migrate)


def _nothing_first() -> None:
    # With it an application of one command is still a group: its first word is that command's name.
    pass


def _missing(extra: str) -> Callable[[], None]:
    def say_so() -> None:
        output = import_module(f"{__name__}.output")
        output.exit_error(f"this needs more packages: pip install 'estelam[{extra}]'", as_json=False)

    return say_so


def main() -> None:
    """Run one command."""
    # What is imported stays: to look for garbage in it again and again takes a tenth of a start.
    gc.disable()
    app = application(sys.argv[1:])
    gc.freeze()
    gc.enable()
    app()
