"""Options and arguments that several commands have, and the declarations that several services share."""

import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from estelam.cli import complete
from estelam.core.names import unknown_name
from estelam.core.normalize import normalize_identifier

SETTLE_SECONDS = 15.0
"""By then an answer that was under way when a load was first seen is in the ledger, also where no service notes it."""
MAX_DAYS = 36_500
"""A hundred years: no certificate is looked at or issued for a longer time."""


class Format(StrEnum):
    """The format of a list."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


class PaperLanguage(StrEnum):
    """The language of a paper."""

    FA = "fa"
    EN = "en"


class ProofFormat(StrEnum):
    """The format of a proof."""

    TLOG_PROOF = "tlog-proof"


def whole_number(at_least: int, at_most: int = 999_999_999) -> Callable[[str | int], int]:
    """Return the parser of an option that is a whole number in ASCII, Persian or Arabic digits."""

    def parse(text: str | int) -> int:
        plain = normalize_identifier(str(text))
        if not re.fullmatch("[0-9]{1,19}", plain) or not at_least <= int(plain) <= at_most:
            raise typer.BadParameter(f"{text}: give a whole number from {at_least} to {at_most:,}")
        return int(plain)

    return parse


def number(at_least: float, at_most: float = 86_400) -> Callable[[str | float], float]:
    """Return the parser of an option that is a number, as 2.5, in ASCII, Persian or Arabic digits."""

    def parse(text: str | float) -> float:
        plain = normalize_identifier(str(text)).replace("\u066b", ".")
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", plain) or not at_least <= float(plain) <= at_most:
            raise typer.BadParameter(f"{text}: give a number from {at_least:g} to {at_most:,g}")
        return float(plain)

    return parse


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Catalogue = Annotated[
    Path | None,
    typer.Option(
        "--catalogue",
        metavar="DIR",
        help="The catalogue's folder; default: the settings.",
        autocompletion=complete.files,
    ),
]


def check_installed(service: str) -> str:
    """Return *service*, if it is an installed one that has a store."""
    if service not in (names := complete.stores()):
        raise typer.BadParameter(str(unknown_name("service with a store", service, names)))
    return service


Service = Annotated[
    str,
    typer.Argument(
        metavar="SERVICE",
        help="A service that has a store.",
        autocompletion=complete.stores,
        callback=check_installed,
    ),
]

Certificates = Annotated[
    list[Path] | None,
    typer.Option(
        "--certificate",
        help="A file of signing certificates (PEM); may be repeated. Default: the service's in the pki folder.",
        autocompletion=complete.files,
    ),
]
RetiredKeys = Annotated[
    Path | None,
    typer.Option(
        help="The list (JSON) of retired signing keys. Default: the settings' list, unless --certificate is given.",
        autocompletion=complete.files,
    ),
]

Listen = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Listen on HOST:PORT; default: the settings.")]
PortFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write the bound port to FILE once listening.", autocompletion=complete.files),
]
Workers = Annotated[
    int,
    typer.Option(
        parser=whole_number(1), metavar="N", help="Processes that share the port; more than one needs PostgreSQL."
    ),
]

File = Annotated[
    Path,
    typer.Argument(
        help="CSV (UTF-8, also in gzip) or Parquet; its header names the columns.", autocompletion=complete.files
    ),
]
ChangedSince = Annotated[
    str,
    typer.Option(
        metavar="LOAD|DATE|INSTANT",
        help="Changes of the loads after LOAD (0: all), or from a day or an instant on; 1405-08-01 is Jalali.",
    ),
]
Form = Annotated[Format, typer.Option("--format", help="The list's format.")]
Out = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Write one list for each caller into DIR, which must be new or empty."),
]
Settle = Annotated[
    float,
    typer.Option(
        parser=number(0, 3600),
        metavar="SECONDS",
        help="Wait at most so many seconds until a running service has noted the newest load in its ledger.",
    ),
]
Archive = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The folder with the files of archived entries, if there are any."),
]


def serve(listen: Listen = None, port_file: PortFile = None, workers: Workers = 1, as_json: AsJson = False) -> None:
    """Serve until SIGTERM; on SIGHUP read the settings anew and restart the workers one by one, or the only one."""


def verify_facts(settle: Settle = SETTLE_SECONDS, archive: Archive = None, as_json: AsJson = False) -> None:
    """Compare the stored facts with the loads that the ledger notes: was a row changed by something else than a load?

    `compared no`: a delta has replaced rows since the feed's last whole file, so that its loads do not say what all its
    rows are. Exit 0: all that can be compared is right; 1: INVALID; 21: facts or ledger can't be read, or a load is not
    noted yet.
    """


def recall(
    since: ChangedSince,
    form: Form = Format.TABLE,
    out: Out = None,
    settle: Settle = SETTLE_SECONDS,
    archive: Archive = None,
    as_json: AsJson = False,
) -> None:
    """List the answers already given that late or corrected data would change.

    The service notes each run in its ledger. Exit 0: all are listed; 2: an option is malformed; 21: the ledger can't be
    searched, or the run can't be stored.
    """
