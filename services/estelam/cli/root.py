"""The root command and its groups, each imported when a command of it runs or is completed."""

import inspect
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint, version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from estelam.cli import complete
from estelam.core.installed import installed
from estelam.core.settings_file import CONFIG, DEFAULT_CONFIG

OWN_GROUPS: Mapping[str, tuple[str, str]] = {
    "receipt": ("receipt", "Verify receipts offline."),
    "changes": ("changes", "Learn which of one's own answers have changed."),
    "ledger": ("ledger", "Verify ledgers, and report to a data subject."),
    "keyring": ("keyring", "Show, add, use and destroy the HMAC keys of a ledger."),
    "pki": ("pki", "Show certificates, and what is wrong with them."),
    "dev-ca": ("dev_ca", "Issue certificates for development."),
    "config": ("config", "Check and show the settings."),
    "catalogue": ("catalogue", "Show and validate parties, services, grants and registries."),
    "onboarding": ("onboarding", "Give a consumer access, step by step, from its request to its first answer."),
    "offboarding": ("offboarding", "End a consumer's access, step by step, and check that it has ended."),
    "compat": ("compat", "Check a release for backward compatibility, and publish it."),
    "contract": ("contract", "Export the contract for other languages."),
    "data-model": ("data_model", "Export the data reference model."),
    "load": ("load", "Write manifests of data files, and list the loads of a store."),
    "witness": ("witness", "Cosign the checkpoints of ledgers and other transparency logs."),
    "migrate": ("migrate", "Create the stores, or bring them to the newest schema."),
}
"""Groups of every installation: the module in `cli.groups` and the help."""

_ClickError: type[Exception] = typer.BadParameter.__mro__[2]  # typer exports only the subclass


@dataclass(frozen=True, slots=True)
class Group:
    """A command group, not imported yet."""

    help: str
    add: Callable[[typer.Typer, str], None]
    """Import the group, and add it to an application under a name."""


def groups() -> dict[str, Group]:
    """Return all groups by name, in the order of the help."""
    services = installed("estelam.services")
    found = {entry.name: Group(_summary(entry), partial(_add_service, entry)) for entry in services}
    for entry in installed("estelam.commands"):
        found[entry.name] = Group(_first_line(entry), partial(_add_command, entry))
    for name, (module, text) in OWN_GROUPS.items():
        found[name] = Group(text, partial(_add_own, module))
    return found


class LazyGroup(TyperGroup):
    """The root command. It imports a group only to run or complete a command of that group."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.groups = groups()
        self.commands = {name: TyperCommand(name, short_help=group.help) for name, group in self.groups.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that *args* name, imported, and the arguments that are left for it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and self.load(name or ""), rest

    def load(self, name: str) -> Any:
        """Import the declarations of the group *name*."""
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.callback()(_nothing)
        self.groups[name].add(alone, name)
        command = get_group(alone).commands[name]
        if isinstance(command, TyperGroup):
            command.help = self.groups[name].help
        return command

    def main(self, *args: Any, **options: Any) -> Any:
        """Run a command, and print what is wrong with a command line; with --json, as every command prints an error."""
        words: Sequence[str] | None = args[0] if args else options.get("args")
        as_json = "--json" in (sys.argv[1:] if words is None else words)
        try:
            code = super().main(*args, **{**options, "standalone_mode": False})
        except _ClickError as error:
            code = _print_usage_error(error, as_json=as_json)
        except typer.Abort:
            if not as_json:
                typer.echo("Aborted.", err=True)
            code = 1
        sys.exit(code or 0)


def application() -> typer.Typer:
    """Return the `estelam` command with all its groups."""
    app = typer.Typer(
        name="estelam",
        cls=LazyGroup,
        help="Official yes/no inquiries between government services: ask, serve, load, verify.",
        no_args_is_help=True,
        rich_markup_mode=None,  # rich's help takes 0.08 s more to import, and folds what is piped
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    )
    app.callback()(_root)
    return app


def root_command() -> LazyGroup:
    """Return `application()` as a click command."""
    command = get_group(application())
    if not isinstance(command, LazyGroup):
        raise TypeError
    return command


def all_commands(root: LazyGroup) -> dict[str, Any]:
    """Return every command, a `TyperCommand`, by its words, as `ledger verify`; all declarations are imported."""
    found: dict[str, Any] = {}
    remaining: list[tuple[str, Any]] = [(name, root.load(name)) for name in root.groups]
    for words, command in remaining:
        if isinstance(command, TyperGroup):
            remaining += [(f"{words} {name}", child) for name, child in command.commands.items()]
        else:
            found[words] = command
    return found


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        typer.echo(f"estelam {version('estelam')}")
        raise typer.Exit


def _use_settings(path: Path | None) -> Path | None:
    """Name the settings file for every part of the command, and for the processes that it starts."""
    if path is not None:
        os.environ[CONFIG] = str(path.absolute())
    return path


def _root(
    *,
    _config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            callback=_use_settings,
            metavar="FILE",
            help=f"The settings file; default: the variable {CONFIG}, or else {DEFAULT_CONFIG}.",
            autocompletion=complete.files,
        ),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def _summary(entry: EntryPoint) -> str:
    """The docstring of the service's package: a package of the services imports nothing."""
    return (import_module(entry.module.partition(".")[0]).__doc__ or "").strip()


def _add_service(entry: EntryPoint, app: typer.Typer, name: str) -> None:
    app.add_typer(entry.load(), name=name)


def _first_line(entry: EntryPoint) -> str:
    return (inspect.getdoc(entry.load()) or "").partition("\n")[0]


def _add_command(entry: EntryPoint, app: typer.Typer, name: str) -> None:
    app.command(name)(entry.load())


def _add_own(module: str, app: typer.Typer, name: str) -> None:
    declared = import_module(f"estelam.cli.groups.{module}")
    if hasattr(declared, "app"):
        app.add_typer(declared.app, name=name)
    else:
        app.command(name)(getattr(declared, module))


def _nothing() -> None:
    """Keep an application of one command a group, whose first argument is that command's name."""


def _print_usage_error(error: Any, *, as_json: bool) -> int:
    """Print a usage error, as JSON or with escapes for what could control a terminal; return the exit code."""
    if not as_json:
        from estelam.core.escape import visible_lines  # noqa: PLC0415 - imports what the help does without

        text = io.StringIO()
        error.show(text)
        typer.echo(visible_lines(text.getvalue()), err=True, nl=False)
        return int(error.exit_code)
    from estelam.cli import output  # noqa: PLC0415 - imports what the help does without

    name = getattr(getattr(error, "param", None), "name", None) or getattr(error, "option_name", None)
    message = error.format_message()
    output.print_error(message, fields=[{"field": name, "rule": "usage", "description": message}] if name else [])
    return int(error.exit_code)
