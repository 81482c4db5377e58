"""`estelam judiciary bulk-check`: progress, signals, summary and exit code of a bulk check."""

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import typer

from estelam.cli import output
from estelam.cli.inquire import resolve_target
from estelam.cli.inquiry_options import Options
from estelam.cli.signing_keys import service_keys
from estelam.client.bulk import Stop, StopReason
from estelam.client.channel import ClientIdentity
from estelam.core import dates
from estelam.core.clock import Clock
from estelam.core.settings import ClientSettings, load_settings
from estelam.receipts.receipt import Verifier
from judiciary.bulk.rows import UNANSWERED
from judiciary.bulk.run import BulkCheck, BulkOptions, Summary

MAX_REASONS = 10
_EXITS = {
    StopReason.RATE_LIMITED: output.EXIT_STOPPED,
    StopReason.OUTAGE: output.EXIT_STOPPED,
    StopReason.DEADLINE: output.EXIT_STOPPED,
    StopReason.INTERRUPTED: output.EXIT_STOPPED,
    StopReason.UNAVAILABLE: output.EXIT_UNAVAILABLE,
    StopReason.UNPROVEN: output.EXIT_UNAVAILABLE,
    StopReason.REFUSED: output.EXIT_REFUSED,
}


def bulk_check(
    file: Path,
    out: Path,
    options: Options,
    window: int,
    patience: float,
    deadline: str | None,
    certificate: list[Path] | None,
    retired_keys: Path | None,
) -> None:
    """Call CheckByTrackingId for every row of *file*, print the summary, and exit."""
    with output.user_errors(as_json=options.as_json):
        bulk_options = BulkOptions(
            window=window,
            timeout=options.timeout,
            idle_timeout=patience,
            deadline=_monotonic(deadline, as_json=options.as_json),
            metadata=options.metadata(),
        )
        # The check refuses an output file of another list; here only whether it can be written.
        output.check_writable(out, "--out", force=True)
        settings = load_settings(ClientSettings)
        address, identity = resolve_target(options, settings)
        verifier = Verifier(service_keys("judiciary", certificate, retired_keys))
        with BulkCheck(file, out, verifier) as check:
            stop = _run(check, address, identity, bulk_options, as_json=options.as_json)
            summary = check.write_out(stop)
    _report(check, summary, stop, as_json=options.as_json)


def _monotonic(deadline: str | None, *, as_json: bool) -> float | None:
    """Return the deadline as an instant of the monotonic clock."""
    if deadline is None:
        return None
    now = Clock().now()
    end = output.parse_option("--deadline", deadline, lambda text: dates.parse_deadline(text, now), as_json=as_json)
    return time.monotonic() + (end - now).total_seconds()


def _run(
    check: BulkCheck, address: str, identity: ClientIdentity, options: BulkOptions, *, as_json: bool
) -> Stop | None:
    with output.progress("ids answered", as_json=as_json, total=check.distinct) as show:
        check.resume(lambda done: show(done, "receipts of an earlier run verified"))
        return asyncio.run(_ask(check, address, identity, options, show))


async def _ask(
    check: BulkCheck, address: str, identity: ClientIdentity, options: BulkOptions, progress: Callable[[int], None]
) -> Stop | None:
    for number in (signal.SIGTERM, signal.SIGINT):
        interrupted = Stop(StopReason.INTERRUPTED, f"interrupted by {number.name}")
        asyncio.get_running_loop().add_signal_handler(number, check.stop, interrupted)
    return await check.ask(address, identity, options, progress)


def _report(check: BulkCheck, summary: Summary, stop: Stop | None, *, as_json: bool) -> NoReturn:
    unanswered = summary.answers[UNANSWERED]
    output.print_record(
        {
            "rows": summary.rows,
            "yes": summary.answers["YES"],
            "no": summary.answers["NO"],
            "of_these_no": dict(summary.no_by_standing),
            "unanswered": unanswered,
            "reasons": dict(summary.reasons.most_common(MAX_REASONS)),
            "stopped": stop.reason if stop else None,
            "because": stop.message if stop else None,
            "resume_after": output.after(stop.retry_seconds) if stop and stop.retry_seconds else None,
            "answers": str(check.out),
            "receipts": str(check.receipts),
        },
        as_json=as_json,
    )
    if stop and unanswered:
        raise typer.Exit(_EXITS[stop.reason])
    raise typer.Exit(output.EXIT_REFUSED if unanswered else 0)
