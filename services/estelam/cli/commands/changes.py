"""Command of `estelam changes`: print the changes of one's own answers, and keep in a file how far."""

import json
import signal
import threading
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from estelam.cli import output
from estelam.cli.changed_answers import ChangeSource, described
from estelam.cli.inquire import exit_unproven, exit_without_answer, resolve_target
from estelam.cli.inquiry_options import Options
from estelam.cli.signing_keys import named_keys, service_keys
from estelam.client.channel import channel, describe_transport_error
from estelam.core import dates
from estelam.core.errors import Layer, Reason
from estelam.core.exceptions import UsageError
from estelam.core.files import open_atomic
from estelam.core.grpc_status import from_grpc
from estelam.core.settings import ClientSettings, load_settings
from estelam.receipts.problems import InvalidReceipt
from estelam.receipts.receipt import Verifier

_MAX_FILE = 4096


class CursorFile(NamedTuple):
    """A file that states how far the changes of one caller's answers from one service have been printed."""

    path: Path
    service: str
    caller: str

    def read(self) -> str:
        """Return the cursor; empty if there is no file yet.

        Raises:
            UsageError: the file is of another service or caller, or no such file.
        """
        if not self.path.exists():
            return ""
        with self.path.open("rb") as file:
            text = file.read(_MAX_FILE)
        try:
            service, caller, cursor = (json.loads(text)[name] for name in ("service", "caller", "cursor"))
        except (ValueError, LookupError, TypeError):
            raise UsageError(f"{self.path}: is no file of `changes follow`; give another --cursor-file") from None
        if (service, caller) != (self.service, self.caller) or not isinstance(cursor, str):
            raise UsageError(
                f"{self.path}: is of the answers of {service} to {caller}, not of {self.service} to {self.caller};"
                " give another --cursor-file"
            )
        return cursor

    def write(self, cursor: str) -> None:
        """Replace the file, durably.

        Raises:
            OSError: it can't be written; the earlier one stays.
        """
        with open_atomic(self.path, encoding="utf-8", durable=True) as file:
            json.dump({"service": self.service, "caller": self.caller, "cursor": cursor}, file)


def follow(
    service: str,
    cursor_file: Path,
    options: Options,
    every: float,
    once: bool,  # noqa: FBT001 - an option of the command line, passed by its name
    certificate: list[Path] | None,
    retired_keys: Path | None,
) -> None:
    """Print each change as one line, until no further one is known, or until a signal."""
    options, stopping = replace(options, service=service), threading.Event()
    with output.user_errors(as_json=options.as_json):
        output.check_writable(cursor_file, "--cursor-file", force=True)
        named = named_keys(certificate, retired_keys)
        address, identity = resolve_target(options, load_settings(ClientSettings))
        verifier = Verifier(named or service_keys(service, retired_keys))
        file = CursorFile(cursor_file, service, identity.organization_id())
        cursor = file.read()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        while not stopping.is_set():
            try:
                with channel(address, identity) as opened:
                    cursor = _print(
                        ChangeSource(opened, identity, options, verifier), file, cursor, stopping, once=once
                    )
            except InvalidReceipt as error:
                exit_unproven(error, options, address)
            except grpc.RpcError as error:
                if once or not _may_pass(error):
                    exit_without_answer(error, options, address, identity)
                refusal = from_grpc(error)
                why = refusal.summary() if refusal else describe_transport_error(error).en
                output.warn(f"no answer from {service} at {address}: {why}; asking again in {every:g} s")
            if once:
                return
            stopping.wait(every)


def _print(source: ChangeSource, file: CursorFile, cursor: str, stopping: threading.Event, *, once: bool) -> str:
    """Print the changes after *cursor*, page by page; return the last page's cursor, which is in *file*."""
    for reply in source.pages(cursor):
        for change in reply.changes:
            _print_change(described(change), as_json=source.options.as_json)
        if reply.cursor != cursor or not file.path.exists():
            file.write(reply.cursor)
        cursor = reply.cursor
        if reply.complete and once:
            as_of, first = dates.format_second(reply.as_of.ToDatetime(UTC)), reply.first_index
            older = f"; answers before entry {first:,} were not all compared" if first else ""
            output.print_line(f"no further change as of {as_of}{older}", to_stderr=True)
        if stopping.is_set():
            break
    return cursor


def _print_change(facts: Any, *, as_json: bool) -> None:
    if as_json:
        output.print_record(facts, as_json=True)
    else:
        as_of = dates.format_utc(facts["as_of"])
        words = f"{facts['inquiry_id']} {facts['then']} -> {facts['now']}"
        output.print_line(f"{words}, as of {as_of}, by load {facts['load']} ({facts['cause']})")


def _may_pass(error: grpc.RpcError) -> bool:
    """Return whether the same question may be answered later without anybody's doing."""
    refusal = from_grpc(error)
    return refusal is None or refusal.reason is Reason.QUOTA_EXHAUSTED or refusal.spec.layer is not Layer.CALLER
