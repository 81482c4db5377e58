"""Commands of `estelam ledger`: verify a ledger, and report the inquiries about a data subject."""

import contextlib
import re

from estelam.cli import output
from estelam.cli.complete import SUBJECT_KINDS
from estelam.cli.stores import settings_of
from estelam.core import normalize
from estelam.core.clock import to_datetime
from estelam.core.keys import HmacKeyring, verifying_keys
from estelam.core.model import Subject
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger import search, verify
from estelam.ledger.tables import GENESIS
from estelam.storage.store import Store


def verify_ledger(service: str, head: str | None, *, as_json: bool) -> None:
    """Verify the ledger of *service*, and that it contains *head*."""
    with output.user_errors(as_json=as_json):
        if head is not None:
            head = _parse_head(head, as_json=as_json)
        settings = settings_of(service)
        keys = verifying_keys(settings.signing_certificates, settings.retired_keys)
        last = verify.Head(0, GENESIS, 0)
        seen = head in {None, str(last)}
        with contextlib.closing(Store(settings.store)) as store, store.transaction() as connection:
            try:
                heads = verify.verify_ledger(connection, keys)
                for last in output.track(heads, f"{service}: blocks verified", as_json=as_json):
                    seen = seen or str(last) == head
            except verify.LedgerCorruptError as error:
                output.exit_error(f"Verification failed: {error}", as_json=as_json)
    if not seen:
        output.exit_error(
            f"Verification failed: head {head} is not in this ledger. Entries after it were removed or rewritten.",
            as_json=as_json,
        )
    facts = {"valid": True, "service": service, "blocks": last.number, "entries": last.entries, "head": str(last)}
    output.print_record(facts, as_json=as_json)


def subject_report(service: str, identifier: str, kind: str, *, as_json: bool) -> None:
    """Print every inquiry about one identifier in the ledger of *service*."""
    with output.user_errors(as_json=as_json):
        settings = settings_of(service)
        keyring = HmacKeyring.load(settings.hmac_keyring)
        if kind not in SUBJECT_KINDS:
            output.exit_error(f"--kind {kind}: give one of {', '.join(SUBJECT_KINDS)}", as_json=as_json)
        subject = Subject(kind, normalize.normalize_digits(identifier))
        with contextlib.closing(Store(settings.store)) as store, store.transaction() as connection:
            found = search.entries_about(connection, keyring, subject)
            rows = [_row(entry) for entry in output.track(found, f"{service}: entries found", as_json=as_json)]
    output.print_rows(("answered_at", "caller", "method", "outcome", "entry"), rows, as_json=as_json)


def _parse_head(text: str, *, as_json: bool) -> str:
    """Return a head as `ledger verify` prints it; exit 2 if it is malformed, which proves nothing of the ledger."""
    found = re.fullmatch(r"([0-9]+):([0-9a-f]{64})", normalize.normalize_digits(text).lower())
    if found is None:
        message = f"--head {text}: give NUMBER:HASH with all 64 hexadecimal digits, as `ledger verify` prints it"
        output.exit_error(message, as_json=as_json, code=output.EXIT_USAGE)
    return f"{int(found[1])}:{found[2]}"


def _row(entry: pb.Entry) -> tuple[str, str, str, str, int]:
    outcome = entry.refusal or pb.Outcome.Name(entry.outcome).removeprefix("OUTCOME_")
    return to_datetime(entry.answered_at_micros).isoformat(), entry.caller, entry.method, outcome, entry.sequence
