"""The commands of bulk checks: progress, signals, warnings, summary and exit code."""

import asyncio
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import grpc
import typer

from estelam.cli import output
from estelam.cli.bulk.question import NO, UNANSWERED, YES, Changes, Question
from estelam.cli.bulk.run import BulkCheck, BulkOptions, Summary
from estelam.cli.changed_answers import ChangeSource, state
from estelam.cli.inquire import exit_unproven, exit_without_answer, resolve_target
from estelam.cli.inquiry_options import Options
from estelam.cli.signing_keys import named_keys, service_keys
from estelam.client.bulk import Stop, StopReason
from estelam.client.channel import ClientIdentity, channel
from estelam.core import dates
from estelam.core.clock import Clock
from estelam.core.settings import ClientSettings, load_settings
from estelam.receipts.problems import InvalidReceipt
from estelam.receipts.receipt import Verifier

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


def check_list(
    question: Question,
    file: Path,
    out: Path,
    options: Options,
    window: int,
    patience: float,
    deadline: str | None,
    max_age: str,
    resume: bool,  # noqa: FBT001 - an option of the command line, passed by its name
    changes: bool,  # noqa: FBT001 - as resume
    certificate: list[Path] | None,
    retired_keys: Path | None,
) -> None:
    """Ask *question* for every row of *file*, print the summary, and exit."""
    with output.user_errors(as_json=options.as_json):
        oldest = output.parse_option("--max-age", max_age, dates.parse_duration, as_json=options.as_json)
        bulk_options = BulkOptions(
            window=window,
            timeout=options.timeout,
            idle_timeout=patience,
            deadline=_monotonic(deadline, as_json=options.as_json),
            metadata=options.metadata(),
        )
        # The check refuses an output file of another list; here only whether it can be written.
        output.check_writable(out, "--out", force=True)
        output.check_readable(file)
        named = named_keys(certificate, retired_keys)
        settings = load_settings(ClientSettings)
        address, identity = resolve_target(options, settings)
        keys = named or service_keys(question.service, retired_keys)
        verifier = Verifier(keys)
        with BulkCheck(question, file, out, verifier) as check:
            for warning in check.rounding.warnings():
                output.warn(warning)
            if not check.rows:
                output.warn(f"{file}: has no row below its header; nothing is asked")
            with output.progress("rows answered", as_json=options.as_json, total=check.distinct) as show:
                check.resume(lambda done: show(done, "receipts of an earlier run verified"))
                if check.set_aside:
                    output.warn(
                        f"{check.receipts}: its end was damaged by a crash and is now in {check.set_aside};"
                        " the rows of the replies in it are asked again"
                    )
                if not resume:
                    _stop_at_old_answers(check, oldest, as_json=options.as_json)
                stop = asyncio.run(_ask(check, address, identity, bulk_options, show))
            listed = _changes(address, identity, options, verifier) if changes else None
            summary = check.write_out(stop, listed)
            if summary.changed:
                changed = output.counted(summary.changed, "answer")
                output.warn(f"{changed} would be different now: read the column `now` of {out}")
    _report(check, summary, stop, listed, as_json=options.as_json)


def _changes(address: str, identity: ClientIdentity, options: Options, verifier: Verifier) -> Changes:
    """Return which of the caller's answers have changed; where the service does not say, print why and exit.

    The answers are kept: the next run writes them.
    """
    states: dict[str, tuple[str, datetime]] = {}
    try:
        with channel(address, identity) as opened:
            for reply in ChangeSource(opened, identity, options, verifier).pages(""):
                for change in reply.changes:
                    states[change.inquiry_id] = state(change.now), change.as_of.ToDatetime(UTC)
    except InvalidReceipt as error:
        exit_unproven(error, options, address)
    except grpc.RpcError as error:
        exit_without_answer(error, options, address, identity)
    return Changes(states, reply.first_index, reply.as_of.ToDatetime(UTC))


def _monotonic(deadline: str | None, *, as_json: bool) -> float | None:
    """Return the deadline as an instant of the monotonic clock."""
    if deadline is None:
        return None
    now = Clock().now()
    end = output.parse_option("--deadline", deadline, lambda text: dates.parse_deadline(text, now), as_json=as_json)
    return time.monotonic() + (end - now).total_seconds()


async def _ask(
    check: BulkCheck, address: str, identity: ClientIdentity, options: BulkOptions, progress: Callable[[int], None]
) -> Stop | None:
    for number in (signal.SIGTERM, signal.SIGINT):
        interrupted = Stop(StopReason.INTERRUPTED, f"interrupted by {number.name}")
        asyncio.get_running_loop().add_signal_handler(number, check.stop, interrupted)
    return await check.ask(address, identity, options, progress)


def _earlier(check: BulkCheck) -> dict[str, Any]:
    """Return what is said of earlier runs; None where there is nothing to say."""
    return {
        "of_earlier_runs": check.earlier or None,
        "oldest_answer": check.oldest,
        "set_aside": str(check.set_aside) if check.set_aside else None,
    }


def _stop_at_old_answers(check: BulkCheck, max_age: timedelta, *, as_json: bool) -> None:
    """Exit if an answer of an earlier run is older than *max_age*: it says nothing about what happened since."""
    if check.oldest is None or Clock().now() - check.oldest <= max_age:
        return
    output.exit_error(
        f"{check.out}: {check.earlier:,} answers are of earlier runs; the oldest, of"
        f" {dates.format_minute(check.oldest)}, is older than --max-age. Nothing was asked. To ask all rows anew, give"
        " another --out; to keep these answers and ask the other rows, give --resume",
        as_json=as_json,
        code=output.EXIT_STOPPED,
        more=_earlier(check),
    )


def _report(
    check: BulkCheck, summary: Summary, stop: Stop | None, changes: Changes | None, *, as_json: bool
) -> NoReturn:
    unanswered = summary.answers[UNANSWERED]
    output.print_record(
        {
            "rows": summary.rows,
            "yes": summary.answers[YES],
            "no": summary.answers[NO],
            "of_these_no": dict(summary.of_no) or None,
            "changed_since": summary.changed if changes else None,
            "changes_as_of": changes.as_of if changes else None,
            "unanswered": unanswered,
            "reasons": dict(summary.reasons.most_common(MAX_REASONS)),
            **_earlier(check),
            "maybe_rounded": (check.rounding.count if check.rounding.is_doubtful else 0) or None,
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
