"""What a command prints and how it exits. Exit 0 is YES and 10 is NO; no failure can look like a NO.

A command that verifies, or reports from a ledger, accuses only with exit 1: what it looked at is not valid. A malformed
question, or a path that was typed and can't be used, exits 2, and a store, key or file of the settings that can't be
read exits 21: nothing was found, since nothing was looked at.

Commands pass dates and instants as such. Text states them in both calendars, instants in Iran's time; JSON has
ISO 8601, instants in UTC.
"""

import contextlib
import json
import math
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from estelam.core import dates
from estelam.core.clock import TEHRAN, Clock
from estelam.core.dates import DateError
from estelam.core.errors import Refusal, with_field
from estelam.core.escape import visible, visible_json, visible_lines
from estelam.core.exceptions import UsageError, UserFacingError, describe_error
from estelam.presentation.formats import Formats

EXIT_YES = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NO = 10
EXIT_REFUSED = 20
EXIT_UNAVAILABLE = 21
"""Nobody answers, or what was to be looked at can't be read."""
EXIT_STOPPED = 22
"""A run over a list was stopped before its end; what was answered is kept."""
LONG_WAIT_SECONDS = 120
"""From this wait on, the instant of its end is printed."""
QUIET_SECONDS = 2.0
"""A task prints its progress once it takes longer than this."""
LINE_SECONDS = 10.0
"""Where stderr is no terminal, a line of progress is printed every so many seconds."""

T = TypeVar("T")

_PERSIAN = Formats("fa")

out = Console()
err = Console(stderr=True)


def print_record(facts: Mapping[str, Any], *, as_json: bool, title: str = "") -> None:
    """Print *facts*: one line for each that is not None, or one JSON object."""
    if as_json:
        _print_json(facts)
        return
    if title:
        print_line(title)
    lines = [(_label(name), _plain(value)) for name, value in facts.items() if value is not None]
    width = max((len(name) for name, _ in lines), default=0)
    for name, text in lines:
        # Not wrapped here: an identifier or a ledger head is copied in one piece.
        for label, line in zip([name, *[""] * text.count("\n")], text.split("\n"), strict=True):
            print_line(f"{label:<{width}}  {line}".rstrip())


def print_line(text: str, *, to_stderr: bool = False, color: str | None = None) -> None:
    """Print *text*, made harmless for a terminal, and a line break."""
    typer.secho(visible_lines(text), fg=color, err=to_stderr)


def warn(text: str) -> None:
    """Print a warning to stderr, on one line."""
    print_line(visible(text), to_stderr=True, color="yellow")


def searched(entries: int, keys: Sequence[str], found: str) -> str:
    """Return what was searched of a ledger of so many *entries* under *keys*, what was relied upon, and what was found.

    The rows that a search finds are verified; that it finds all of them, only a reading of every entry shows.
    """
    return (
        f"searched {entries:,} entries under keys {', '.join(keys)} by the store's index, "
        f"which `ledger verify` proves complete: {found}"
    )


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, as_json: bool) -> None:
    """Print *rows*: a table as wide as the terminal, or in full where stdout is none; or one JSON array of objects."""
    if as_json:
        _print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    names = [column.replace("_", " ") for column in columns]
    texts = [[escape(_plain(value)) for value in row] for row in rows]
    columns_of_text = list(zip(names, *texts, strict=True))
    widths = _column_widths(columns_of_text, out.width if out.is_terminal else sys.maxsize)
    table = Table(*(Column(name, width=width) for name, width in zip(names, widths, strict=True)))
    for row in texts:
        table.add_row(*row)
    # A console of its own, since Console.print takes no width beyond the console's; without a height, a `dumb` terminal
    # would get 80 columns.
    Console(width=sum(widths) + _frame(len(widths)), height=out.height).print(table)


def _column_widths(columns: Sequence[Sequence[str]], available: int) -> list[int]:
    """Return widths that fit into *available* cells where that folds no word, which may be an identifier or a head."""
    words = [max(_longest_word(cell) for cell in column) for column in columns]
    widths = [max(cell_len(line) for cell in column for line in cell.split("\n")) for column in columns]
    excess = sum(widths) + _frame(len(widths)) - available
    while excess > 0 and widths != words:
        spare = [width - word for width, word in zip(widths, words, strict=True)]
        widths[spare.index(max(spare))] -= 1
        excess -= 1
    return widths


def _frame(columns: int) -> int:
    return 3 * columns + 1  # a border and two blanks for each column, and the last border


def counted(count: int, one: str, many: str = "") -> str:
    """Return *count* with its noun: *one*, or *many*, which is *one* with an s unless it is given."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def exit_refused(refusal: Refusal, *, as_json: bool, address: str | None = None, asked: bool = True) -> NoReturn:
    """Print why there is no answer, in both languages, and exit.

    Args:
        refusal: the reason.
        as_json: print the JSON error to stdout in place of text to stderr.
        address: the service's address, host:port.
        asked: the service refused, exit 20; else the command did not ask it, exit 2.
    """
    refusal = with_field(refusal)
    spec, code = refusal.spec, EXIT_REFUSED if asked else EXIT_USAGE
    if as_json:
        fields = [
            {"field": v.field, "rule": v.rule, "description": v.description, "description_fa": v.text.fa}
            for v in refusal.violations
        ]
        print_error(
            spec.en,
            reason=refusal.reason.value,
            layer=spec.layer.value,
            address=address,
            fields=fields,
            more={"answer": None, "message_fa": spec.fa, "retry_seconds": refusal.retry_seconds},
        )
        raise typer.Exit(code)
    title = "No answer" if asked else "Not asked"
    print_line(f"{title}: {refusal.reason} ({spec.layer})\n{spec.en}\n{spec.fa}", to_stderr=True)
    for violation in refusal.violations:
        field, description = visible(violation.field), visible(violation.description)
        print_line(f"  {field}: {description}\n    {violation.text.fa}", to_stderr=True)
    if (refusal.retry_seconds or 0) >= LONG_WAIT_SECONDS:
        then = after(refusal.retry_seconds or 0)
        persian = f"پس از {_PERSIAN.instant(then)} به وقت تهران دوباره استعلام کنید."
        print_line(f"Try again after {dates.format_minute(then)} in Tehran.\n{persian}", to_stderr=True)
    elif refusal.retry_seconds:
        wait = counted(math.ceil(refusal.retry_seconds), "second", "seconds")
        persian = f"{_PERSIAN.count(math.ceil(refusal.retry_seconds))} ثانیه دیگر دوباره استعلام کنید."
        print_line(f"Try again in {wait}.\n{persian}", to_stderr=True)
    raise typer.Exit(code)


def after(seconds: float) -> datetime:
    """Return the minute *seconds* from now, in Tehran."""
    return (Clock().now() + timedelta(seconds=seconds)).astimezone(TEHRAN).replace(second=0, microsecond=0)


def exit_error(
    message: str,
    *,
    as_json: bool,
    code: int = EXIT_FAILED,
    address: str | None = None,
    fields: Sequence[Mapping[str, Any]] = (),
    more: Mapping[str, Any] | None = None,
) -> NoReturn:
    """Print *message* and exit with *code*.

    Args:
        message: what is wrong, where, and what to do.
        as_json: print the JSON error to stdout in place of text to stderr.
        code: the exit code.
        address: the service's address, host:port.
        fields: what is wrong with each option or field: field, rule, description and, if there is one, description_fa.
        more: further keys of the JSON error.
    """
    if as_json:
        print_error(message, address=address, fields=fields, more=more)
    else:
        print_line(message, to_stderr=True, color="red")
    raise typer.Exit(code)


def parse_option(option: str, text: str, parse: Callable[[str], T], *, as_json: bool) -> T:
    """Return the date or instant that *parse* reads from *text*; where it is none, print the reason and exit 2.

    Args:
        option: the option's name, such as --since.
        text: the option's value.
        parse: one of the functions of `estelam.core.dates`.
        as_json: as in `exit_error`.
    """
    try:
        return parse(text)
    except DateError as error:
        field = {
            "field": option,
            "rule": error.problem.name,
            "description": str(error),
            "description_fa": error.problem.fa,
        }
        more = {"message_fa": f"{option}: {error.problem.fa}"}
        exit_error(f"{option} {text}: {error}", as_json=as_json, code=EXIT_USAGE, fields=[field], more=more)


def print_error(
    error: str,
    *,
    reason: str | None = None,
    layer: str | None = None,
    address: str | None = None,
    fields: Sequence[Mapping[str, Any]] = (),
    more: Mapping[str, Any] | None = None,
) -> None:
    """Print the JSON error that every command with --json prints: always error, reason, layer, address and fields."""
    facts = {"error": error, "reason": reason, "layer": layer, "address": address, "fields": list(fields)}
    _print_json(facts | dict(more or {}))


def check_readable(path: Path) -> None:
    """Check that a command can read the file *path* that the caller named.

    Raises:
        UsageError: it does not exist, can't be read, or is no file: a folder, or a pipe, which can be read only once.
    """
    if path.is_dir():
        raise UsageError(f"{path}: is a directory")
    _check_accessible(path)
    if not path.is_file():
        raise UsageError(f"{path}: is not a regular file; write its content to one first")


def check_folder(path: Path) -> None:
    """Check that a command can read the folder *path* that the caller named.

    Raises:
        UsageError: it does not exist, can't be read or is not a folder.
    """
    _check_accessible(path)
    if not path.is_dir():
        raise UsageError(f"{path}: is not a folder")


def _check_accessible(path: Path) -> None:
    if not path.exists():
        raise UsageError(f"{path}: no such file or directory")
    if not os.access(path, os.R_OK):
        raise UsageError(f"{path}: permission denied")


def check_writable(path: Path, option: str, *, force: bool) -> None:
    """Check that a command can write *path*, before it asks or reads anything.

    Raises:
        UsageError: the file exists and *force* is not set, or it can't be written.
    """
    if path.exists() and not path.is_file():  # a folder, or a device, which a new file would replace
        raise UsageError(f"{option} {path}: is not a regular file")
    if path.exists() and not force:
        raise UsageError(f"{option} {path}: exists already; name another file, or overwrite it with --force")
    if path.is_symlink() and not path.exists():
        raise UsageError(f"{option} {path}: is a broken symbolic link")
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {path.parent}")
    try:
        with tempfile.TemporaryFile(dir=path.resolve().parent):
            pass
    except OSError as error:
        raise UsageError(f"{option} {path}: {(error.strerror or 'can not be written').lower()}") from None


def check_new_folder(folder: Path, name: str, *, force: bool = False) -> None:
    """Check that *folder*, the option or argument *name*, is new or empty; with *force*, that it is no file.

    Raises:
        UsageError: it is not.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{name} {folder}: is not a folder")
    if folder.exists() and not force and next(folder.iterdir(), None) is not None:
        raise UsageError(f"{name} {folder}: must be a new or an empty folder")


@contextlib.contextmanager
def user_errors(*, as_json: bool, code: int = EXIT_FAILED) -> Iterator[None]:
    """Print an error that an operator can correct as one line, without a stack trace, and exit.

    Args:
        as_json: print the JSON error.
        code: the exit code; that of a UsageError is 2. EXIT_UNAVAILABLE for a command whose exit 1 would accuse.
    """
    try:
        yield
    except UsageError as error:
        problem, code = str(error), EXIT_USAGE
    except UserFacingError as error:
        problem = str(error)
    except OSError as error:
        problem = describe_error(error)
    except Exception as error:
        # By name: a command that opens no data store starts without SQLAlchemy.
        if type(error).__module__ != "sqlalchemy.exc":
            raise
        advice = "check `store` in the settings and that the database runs, and run: estelam migrate"
        problem = f"the data store can't be read or written; {advice}"
    else:
        return
    # A line break in it, as in a file's name, would begin a line that looks like one of the command's own.
    exit_error(problem if as_json else visible(problem), as_json=as_json, code=code)


def track(items: Iterable[T], name: str, *, as_json: bool, total: int | None = None) -> Iterator[T]:
    """Yield *items* and show on stderr how many were processed."""
    with progress(name, as_json=as_json, total=total) as show:
        for count, item in enumerate(items, start=1):
            yield item
            show(count)


@contextlib.contextmanager
def progress(name: str, *, as_json: bool, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show progress on stderr, once the block takes longer than two seconds; yield `show(count, name)`.

    On a terminal it is a bar; elsewhere a plain line every ten seconds, and nothing where *as_json* is set. Both also
    appear if the block never calls `show`.
    """
    if err.is_terminal:
        with _progress_bar(name, total) as show:
            yield show
    else:
        with _progress_lines(name, total, quiet=as_json) as show:
            yield show


@contextlib.contextmanager
def _progress_bar(name: str, total: int | None) -> Iterator[Callable[..., None]]:
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn() if total else MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
    )
    task = bar.add_task(visible(name), total=total)
    start = threading.Timer(QUIET_SECONDS, bar.start)
    start.daemon = True
    start.start()

    def show(count: int, now: str = name) -> None:
        bar.update(task, completed=count, description=visible(now))

    try:
        yield show
    finally:
        start.cancel()
        start.join()
        bar.stop()


@contextlib.contextmanager
def _progress_lines(name: str, total: int | None, *, quiet: bool) -> Iterator[Callable[..., None]]:
    state, ended = (0, name), threading.Event()

    def show(count: int, now: str = name) -> None:
        nonlocal state
        state = count, now

    def print_lines() -> None:
        wait = QUIET_SECONDS
        while not ended.wait(wait):
            count, now = state
            print_line(f"{now}: {count:,}{f' of {total:,}' if total else ''}", to_stderr=True)
            wait = LINE_SECONDS

    printer = threading.Thread(target=print_lines, daemon=True)
    if not quiet:
        printer.start()
    try:
        yield show
    finally:
        ended.set()
        if not quiet:
            printer.join()


def _print_json(value: Any) -> None:
    # Escaped by JSON's own rules where stdout can't show all characters.
    unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    typer.echo(visible_json(json.dumps(value, ensure_ascii=not unicode, default=_json_value)))


def _json_value(value: Any) -> str:
    if isinstance(value, datetime):
        return dates.format_utc(value)
    return str(value)


def _longest_word(cells: str) -> int:
    return max((cell_len(word) for word in cells.split()), default=1)


def _label(name: str) -> str:
    # Codes such as FIELD_INVALID stay as they are.
    return name.replace("_", " ") if name.islower() else name


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, date):  # a datetime is one too
        return dates.format_second(value) if isinstance(value, datetime) else dates.format_both(value)
    if isinstance(value, Mapping):
        return "\n".join(f"{_label(name)}: {_plain(item)}" for name, item in value.items() if item)
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return visible_lines(str(value))
