"""The options that every inquiry's command has."""

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from estelam.cli import complete
from estelam.cli.options import AsJson, number
from estelam.cli.shared_options import Command, shared_options
from estelam.core.exceptions import UsageError
from estelam.core.purpose import MAX_CHARACTERS, check_purpose, encode_purpose


@dataclass(frozen=True, slots=True)
class Options:
    """The options that every inquiry's command has."""

    service: str
    as_: str
    address: str | None
    timeout: float
    save_receipt: Path | None
    force: bool
    inquiry_id: str | None
    case_reference: str | None
    operator: str | None
    as_json: bool

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata that states the inquiry's purpose.

        Raises:
            UsageError: a text is empty or too long.
        """
        found = []
        for name in ("inquiry_id", "case_reference", "operator"):
            if (text := getattr(self, name)) is None:
                continue
            option = name.replace("_", "-")
            try:
                found.append((f"x-{option}", encode_purpose(" ".join(check_purpose(text).split()))))
            except ValueError as error:
                raise UsageError(f"--{option}: {error}; give 1 to {MAX_CHARACTERS} characters on one line") from None
        return tuple(found)


REQUIRED = inspect.Parameter.empty
"""In place of the name of a certificate: the command demands --as."""


def inquiry(service: str, identity: Any, *, without: Collection[str] = ()) -> Callable[[Command], Command]:
    """Return a decorator that adds the options of every inquiry to a function whose last parameter is *options*.

    Args:
        service: the service's name in the settings.
        identity: the certificate's name unless --as names another, or REQUIRED.
        without: names of options that the command does not offer.
    """
    offered = {name: option for name, option in _OPTIONS.items() if name not in without}
    offered["as_"] = (offered["as_"][0], identity)
    nothing: dict[str, Any] = dict.fromkeys(_OPTIONS)
    return shared_options(offered, lambda values: Options(service, **(nothing | values)))


_OPTIONS: dict[str, tuple[Any, Any]] = {
    "as_": (
        Annotated[
            str,
            typer.Option(
                "--as",
                metavar="NAME",
                help="The client certificate, by its name in the pki folder.",
                autocompletion=complete.identities,
            ),
        ],
        None,
    ),
    "address": (
        Annotated[
            str | None,
            typer.Option(
                metavar="HOST:PORT",
                help="The service's address; default: the one of the settings.",
                autocompletion=complete.addresses,
            ),
        ],
        None,
    ),
    "timeout": (
        Annotated[float, typer.Option(parser=number(0.001), metavar="SECONDS", help="Seconds to wait for the reply.")],
        5.0,
    ),
    "save_receipt": (
        Annotated[
            Path | None,
            typer.Option(
                metavar="FILE", help="Write the reply and its receipt to FILE.", autocompletion=complete.files
            ),
        ],
        None,
    ),
    "force": (Annotated[bool, typer.Option("--force", help="Overwrite the file of --save-receipt.")], False),
    "inquiry_id": (Annotated[str | None, typer.Option(help="Your correlation id (x-inquiry-id).")], None),
    "case_reference": (Annotated[str | None, typer.Option(help="The tender or file (x-case-reference).")], None),
    "operator": (Annotated[str | None, typer.Option(help="The person or system that asks (x-operator).")], None),
    "as_json": (AsJson, False),
}
