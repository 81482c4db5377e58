"""What a command says and how it exits. Exit 0 is YES, 10 is NO, all else is no answer: no crash can look like a NO."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, NoReturn

import typer
from persiantools import digits
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from estelam.core import normalize
from estelam.core.clock import TEHRAN, Clock
from estelam.core.errors import Refusal
from estelam.core.exceptions import UserFacingError

EXIT_YES = 0
EXIT_FAILED = 1
EXIT_NO = 10
EXIT_REFUSED = 20
EXIT_UNAVAILABLE = 21
EXIT_STOPPED = 22
LONG_SECONDS = 120
"""A wait of which it is clearer to say until when than how long."""

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

out = Console()
err = Console(stderr=True)


def print_record(facts: Mapping[str, Any], *, as_json: bool, title: str = "") -> None:
    """Print *facts*: a table of two columns, or one JSON object."""
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False, default=str))
        return
    table = Table(title=escape(title) or None, show_header=False, title_justify="left")
    # Folded, never cut: a head or an id that lost its end is of no use.
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value is not None:
            table.add_row(escape(name.replace("_", " ")), escape(_plain(value)))
    out.print(table)


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, as_json: bool) -> None:
    """Print *rows*: a table, or one JSON array of objects."""
    if as_json:
        found = [dict(zip(columns, row, strict=True)) for row in rows]
        typer.echo(json.dumps(found, ensure_ascii=False, default=str))
        return
    table = Table(*(Column(column.replace("_", " "), overflow="fold") for column in columns))
    for row in rows:
        table.add_row(*(escape(_plain(value)) for value in row))
    out.print(table)


def exit_refused(refusal: Refusal, *, as_json: bool) -> NoReturn:
    """Say why there is no answer, in both languages, and exit."""
    words = refusal.spec
    facts = {
        "answer": None,
        "reason": refusal.reason.value,
        "layer": words.layer.value,
        "message_en": words.en,
        "message_fa": words.fa,
        "violations": [{"field": v.field, "rule": v.rule, "description": v.description} for v in refusal.violations],
        "retry_seconds": refusal.retry_seconds,
    }
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
    else:
        err.print(f"[bold red]No answer[/]: {refusal.reason} ({words.layer})", highlight=False)
        err.print(words.en, words.fa, sep="\n", markup=False, highlight=False)
        for violation in refusal.violations:
            err.print(f"  {violation.field}: {violation.description}", markup=False, highlight=False)
        if (refusal.retry_seconds or 0) >= LONG_SECONDS:
            day, _, time = after(refusal.retry_seconds or 0).partition(" ")
            persian = digits.en_to_fa(f"پس از {day.replace('-', '/')} ساعت {time} به وقت تهران دوباره بپرسید.")
            err.print(f"Try again after {day} {time} in Tehran.", persian, sep="\n", markup=False, highlight=False)
    raise typer.Exit(EXIT_REFUSED)


def after(seconds: float) -> str:
    """The minute that so many *seconds* from now lie in, on Iran's clocks and by its calendar."""
    there = (Clock().now() + timedelta(seconds=seconds)).astimezone(TEHRAN)
    return f"{normalize.format_jalali(there.date())} {there:%H:%M}"


def exit_error(message: str, *, as_json: bool, code: int = EXIT_FAILED) -> NoReturn:
    """Say what went wrong and exit."""
    if as_json:
        typer.echo(json.dumps({"error": message}, ensure_ascii=False))
    else:
        err.print(message, style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


@contextlib.contextmanager
def user_errors(*, as_json: bool) -> Iterator[None]:
    """Turn what an operator can mend into one plain line, without a stack trace."""
    try:
        yield
    except (UserFacingError, OSError) as error:
        exit_error(str(error), as_json=as_json)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{name.replace('_', ' ')}: {_plain(item)}" for name, item in value.items() if item)
    return str(value)
