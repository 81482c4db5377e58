"""The commands `estelam dev` and `estelam init`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from estelam.cli import complete
from estelam.cli.deferred import implemented_in
from estelam.cli.options import AsJson

PORTS = {"promissory": 50051, "judiciary": 50052, "setad": 50053, "page": 8080, "api": 8443} | {
    "promissory_api": 8444,
    "judiciary_api": 8445,
    "dashboard": 8081,
}
"""The default ports: gRPC of the three services, the adapter's page, the JSON APIs, the quality process's dashboard."""


def option(name: str) -> str:
    """Return the option that sets the port *name*."""
    return f"--{name.replace('_', '-')}-port"


def _port(name: str) -> Any:
    help_text = f"Default: {PORTS[name]}."
    variable = f"PORT_{name.upper()}"
    return typer.Option(option(name), envvar=variable, min=1, max=65535, metavar="PORT", help=help_text)


@implemented_in("development.run")
def dev(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="[DIR]", help="The folder of settings, certificates and data.", autocompletion=complete.files
        ),
    ] = Path(".estelam"),
    promissory: Annotated[int | None, _port("promissory")] = None,
    judiciary: Annotated[int | None, _port("judiciary")] = None,
    setad: Annotated[int | None, _port("setad")] = None,
    page: Annotated[int | None, _port("page")] = None,
    api: Annotated[int | None, _port("api")] = None,
    promissory_api: Annotated[int | None, _port("promissory_api")] = None,
    judiciary_api: Annotated[int | None, _port("judiciary_api")] = None,
    dashboard: Annotated[int | None, _port("dashboard")] = None,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Answer the numbers of docs/sandbox.md with a YES, a NO or a fault each.")
    ] = False,
) -> None:
    """Start all services on this machine with sample data and monitor them, until Ctrl-C.

    They are promissory, judiciary and Setad's adapter with its page, each with a JSON API, and the quality process.
    What is missing in the folder is made: certificates, settings, stores, the samples. A settings file that was edited
    is kept, and the ports are those in it; otherwise it is written again, with the ports of the options and variables.
    """


class Service(StrEnum):
    """A service that `estelam init` sets up."""

    PROMISSORY = "promissory"
    JUDICIARY = "judiciary"
    SETAD = "setad"


@implemented_in("development.init")
def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder to make; new or empty.", autocompletion=complete.files)
    ],
    service: Annotated[Service, typer.Option(help="The service that the organisation runs.")],
    organization: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The organisation's legal id, for the certificates; default: an invented one."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a folder with all that one organisation needs to run one service.

    It has settings with the meaning of each, the catalogue, keys and certificates of a development authority, a systemd
    unit and a compose file.
    """
