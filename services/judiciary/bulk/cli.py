"""`estelam judiciary bulk-check`: the command round a sweep: options, progress, signals, the last word and the exit code."""

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from estelam.cli import output
from estelam.cli.inquire import Options, inquiry, whom_and_as_whom
from estelam.client.bulk import Stop, StopReason
from estelam.client.channel import ClientIdentity
from estelam.core import normalize
from estelam.core.clock import Clock
from estelam.core.keys import verifying_keys
from estelam.core.settings import ClientSettings, load_settings
from estelam.receipts.receipt import Verifier
from judiciary.bulk.rows import UNANSWERED
from judiciary.bulk.run import BulkCheck, BulkOptions, Summary

REASONS = 10
_EXITS = {
    StopReason.RATE_LIMITED: output.EXIT_STOPPED,
    StopReason.OUTAGE: output.EXIT_STOPPED,
    StopReason.DEADLINE: output.EXIT_STOPPED,
    StopReason.INTERRUPTED: output.EXIT_STOPPED,
    StopReason.UNAVAILABLE: output.EXIT_UNAVAILABLE,
    StopReason.UNPROVEN: output.EXIT_UNAVAILABLE,
    StopReason.REFUSED: output.EXIT_REFUSED,
}


@inquiry("judiciary", "cbi", without=("save_receipt",))
def bulk_check(
    file: Annotated[Path, typer.Argument(help="CSV, UTF-8: tracking_id and, if known, certificate_issued_on.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the answers go, row for row.")],
    options: Options,
    window: Annotated[int, typer.Option(min=1, max=1024, help="Calls under way at a time, at most.")] = 128,
    patience: Annotated[float, typer.Option(min=1, help="Seconds without any reply before giving up.")] = 30.0,
    deadline: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Ask no more after 2h, 90m, or an instant (ISO 8601).")
    ] = None,
    certificate: Annotated[
        list[Path] | None,
        typer.Option(help="The service's signing certificate (PEM); default: its own in the pki folder."),
    ] = None,
) -> None:
    """Ask CheckByTrackingId about every row of a list; started again with the same files, go on where it stopped.

    The replies are kept in OUT.receipts.jsonl. Exit 0: every row is answered; 20: some were refused; 21: the service
    can't be reached or believed; 22: stopped by a quota, an announced outage, the deadline or Ctrl-C; 1: nothing could
    be done.
    """
    manner = BulkOptions(
        window=window,
        timeout=options.timeout,
        idle_timeout=patience,
        deadline=_until(deadline, as_json=options.as_json),
        metadata=options.metadata(),
    )
    with output.user_errors(as_json=options.as_json):
        settings = load_settings(ClientSettings)
        address, identity = whom_and_as_whom(options, settings)
        verifier = Verifier(verifying_keys(certificate or [settings.pki / "judiciary-receipts.crt"]))
        with BulkCheck(file, out, verifier) as begun:
            stop = _ask(begun, address, identity, manner, as_json=options.as_json)
            tally = begun.write_out(stop)
    _report(begun, tally, stop, as_json=options.as_json)


def _until(deadline: str | None, *, as_json: bool) -> float | None:
    if deadline is None:
        return None
    now = Clock().now()
    try:
        return time.monotonic() + (normalize.parse_deadline(deadline, now) - now).total_seconds()
    except (ValueError, OverflowError) as error:
        output.exit_error(f"--deadline: {error}", as_json=as_json)


def _ask(
    begun: BulkCheck, address: str, identity: ClientIdentity, manner: BulkOptions, *, as_json: bool
) -> Stop | None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=output.err, transient=True, disable=as_json) as bar:
        task = bar.add_task("reading what was answered", total=begun.distinct)
        begun.resume(lambda done: bar.update(task, completed=done))
        bar.reset(task, completed=begun.answered, description="asking")
        return asyncio.run(_until_told(begun, address, identity, manner, lambda done: bar.update(task, completed=done)))


async def _until_told(
    begun: BulkCheck, address: str, identity: ClientIdentity, manner: BulkOptions, progress: Callable[[int], None]
) -> Stop | None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(
            number, begun.stop, Stop(StopReason.INTERRUPTED, "it was told to stop")
        )
    return await begun.ask(address, identity, manner, progress)


def _report(begun: BulkCheck, tally: Summary, stop: Stop | None, *, as_json: bool) -> NoReturn:
    unanswered = tally.answers[UNANSWERED]
    output.print_record(
        {
            "rows": tally.rows,
            "yes": tally.answers["YES"],
            "no": tally.answers["NO"],
            "of_these_no": dict(tally.no_by_standing),
            "unanswered": unanswered,
            "reasons": dict(tally.reasons.most_common(REASONS)),
            "stopped": stop.reason if stop else None,
            "because": stop.message if stop else None,
            "go_on_after": output.after(stop.retry_seconds) if stop and stop.retry_seconds else None,
            "answers": str(begun.out),
            "receipts": str(begun.receipts),
        },
        as_json=as_json,
    )
    if stop and unanswered:
        raise typer.Exit(_EXITS[stop.reason])
    raise typer.Exit(output.EXIT_REFUSED if unanswered else 0)
