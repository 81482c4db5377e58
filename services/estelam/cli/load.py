"""Load a file from the command line: what is declared of it, progress and result."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import typer

from estelam.cli import output
from estelam.cli.load_options import LoadOptions
from estelam.core import dates
from estelam.core.clock import Clock
from estelam.core.exceptions import UsageError, UserFacingError
from estelam.core.settings import StoreSettings, check_feed_name, load_settings
from estelam.loading.feed import Declaration, Feed, LoadResult, Policy
from estelam.loading.load import load
from estelam.loading.manifest import manifest_path, read_manifest, signed_feed
from estelam.loading.reject_texts import reject_text
from estelam.loading.rejects import Reject
from estelam.loading.rounding import MAYBE_ROUNDED
from estelam.storage.coverage import Coverage
from estelam.storage.store import AccessMode, Store


def load_file(kind: type[StoreSettings], feed: Feed, file: Path, options: LoadOptions) -> None:
    """Load *file*, all of it or nothing; exit 1 where a row was rejected and nothing changed."""
    as_json = options.as_json
    with output.user_errors(as_json=as_json), contextlib.ExitStack() as stack:
        settings = load_settings(kind)
        declared = _declaration(settings, feed, file, options)
        output.check_readable(file)
        store = stack.enter_context(contextlib.closing(Store(settings.store, facts=AccessMode.WRITE)))
        rejects = options.rejects or file.parent / f"{file.name}.rejects.csv"
        if options.dry_run and not options.rejects:
            rejects = Path(stack.enter_context(tempfile.TemporaryDirectory())) / rejects.name
        show = stack.enter_context(output.progress(f"{file.name}: bytes read", as_json=as_json, total=_size(file)))

        def show_bytes(read: int) -> None:
            show(read, f"{file.name}: merging" if read >= _size(file) else f"{file.name}: bytes read")

        result = load(
            store,
            feed,
            file,
            declared=declared,
            policy=Policy(
                settings.feeds,
                settings.change_limit,
                taken_feed=options.take_over,
                allow_removals=options.allow_removals,
                dry_run=options.dry_run,
                allow_round_identifiers=options.allow_round_ids,
                allow_known_content=options.allow_known_file,
            ),
            rejects=rejects,
            clock=Clock(),
            progress=show_bytes,
        )
    _report(file, feed, result, declared, options)


def parse_feed(text: str) -> str:
    """Return the value of --feed.

    Raises:
        UsageError: it can't be the name of a feed.
    """
    try:
        return check_feed_name(text)
    except ValueError as error:
        raise UsageError(f"--feed {text}: {error}") from None


def _size(file: Path) -> int:
    return file.stat().st_size


def _declaration(settings: StoreSettings, feed: Feed, file: Path, options: LoadOptions) -> Declaration:
    as_json, manifest = options.as_json, manifest_path(file)
    if manifest.exists():
        if options.declaring:
            raise UsageError(f"{manifest}: declares what the file is; leave out {', '.join(options.declaring)}")
        return read_manifest(manifest, settings.feed_signers, taken_feed=options.take_over).declaration()
    name = parse_feed(options.feed or feed.name)
    if options.cut_at is None:
        output.check_readable(file)
        raise UsageError(
            f"{manifest}: no such file; get the manifest from the file's source, or give --cut-at and the instant at "
            "which the source cut the file"
        )
    if signed := signed_feed(settings.feed_signers, name, options.take_over):
        raise UserFacingError(f"{manifest}: no such file; the settings require signed manifests of {signed}")
    now = Clock().now()

    def since(option: str, text: str | None) -> Any:
        return text and output.parse_option(option, text, lambda text: dates.parse_since(text, now), as_json=as_json)

    return Declaration(
        feed=name,
        cut_at=output.parse_option("--cut-at", options.cut_at, dates.parse_instant, as_json=as_json),
        whole=bool(options.replace) or feed.full_snapshot,
        complete_since=since("--since", options.since),
        tracking_since=since("--tracking-since", options.tracking_since),
        parties=options.parties,
    )


def _report(file: Path, feed: Feed, result: LoadResult, declared: Declaration, options: LoadOptions) -> None:
    facts: dict[str, Any] = {"loaded": result.rows, "rejected": result.rejected}
    if result.rejected:
        listed = options.rejects or not options.dry_run
        facts |= {"rejects": str(result.rejects)} if listed else {"first_reject": result.first_rejects[0].place()}
        if options.as_json:
            facts["rejected_rows"] = [_described(reject) for reject in result.first_rejects]
    if result.changes:
        facts |= {name: count for name, count in asdict(result.changes).items() if count or name in _ALWAYS_SHOWN}
    facts |= {warning: count for warning, count in result.warnings.items() if count}
    if not result.rejected:
        facts |= {"feed": declared.feed, "number": result.feed_number}
        facts |= {"cut_at": declared.cut_at, "load": result.number} | _coverage_facts(result.coverage)
    title = ""
    if options.dry_run:
        facts["dry_run"] = True
        title = "Dry run: nothing was changed."
    if result.already_loaded:
        facts["already_loaded"] = True
        title = "Already loaded: nothing was changed."
    output.print_record(facts, as_json=options.as_json, title=title)
    if result.rejected and not options.as_json:
        shown = [_described(reject) for reject in result.first_rejects[:SHOWN_REJECTS]]
        output.print_rows(_SHOWN, [[reject[name] for name in _SHOWN] for reject in shown], as_json=False)
    for warning in _warnings(feed, result, declared):
        output.warn(f"{file}: {warning}")
    if result.rejected:
        raise typer.Exit(output.EXIT_FAILED)


def _coverage_facts(coverage: Coverage | None) -> dict[str, Any]:
    """Return from which filing dates on the store is complete, where it has cases, and up to which instant."""
    facts: dict[str, Any] = dict.fromkeys(("covered_since", "tracking_since", "data_as_of"))
    if coverage:
        facts |= {"tracking_since": coverage.tracking_since, "data_as_of": coverage.as_of}
        facts |= {"covered_since": coverage.since if coverage.since > date.min else None}
    return facts


def _warnings(feed: Feed, result: LoadResult, declared: Declaration) -> Iterator[str]:
    if not (result.rejected or result.coverage):
        yield "no coverage is declared yet: until every required feed is loaded and complete, no NO is given"
    if feed.is_dated and result.coverage and not result.coverage.tracking_since:
        yield (
            "until every required feed has declared tracking_since, each NO by tracking id is refused "
            "(TRACKING_UNDECLARED): declare it with the next file that has rows, or load the last such file again with "
            "--tracking-since DATE"
        )
    if merged := result.changes and result.changes.cases_of_several_files:
        yield (
            f"{output.counted(merged, 'case')} now {'has' if merged == 1 else 'have'} parties of both this file and "
            "earlier ones; if the file corrects them, load it again with the parties declared as replaced"
        )
    if not (result.rows or result.rejected or result.already_loaded) and declared.rows is None:
        yield "has no row below its header: only the cut-off of the feed is new"
    for name, count in result.warnings.items():
        if count and name.startswith(MAYBE_ROUNDED):
            column, records = name.removeprefix(MAYBE_ROUNDED), output.counted(count, "record")
            yield (
                f"{column}: that of {records} ends in zeros from its 16th digit on, as a spreadsheet rounds long "
                "numbers; compare them with the register"
            )


def _described(reject: Reject) -> dict[str, Any]:
    text = reject_text(reject.reason)
    return {**reject._asdict(), "message": text.en, "message_fa": text.fa}


_SHOWN = ("row", "line", "column", "message", "message_fa")
SHOWN_REJECTS = 10
"""Rejected rows that a command prints for people."""
_ALWAYS_SHOWN = {"added", "changed", "unchanged", "removed"}
