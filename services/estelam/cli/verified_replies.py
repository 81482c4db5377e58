"""Verification of saved replies of any service, and what a command prints of each."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from estelam.cli import output
from estelam.cli.coverage_facts import coverage_facts
from estelam.cli.signing_keys import named_keys, service_keys
from estelam.core import dates
from estelam.core.clock import to_datetime
from estelam.core.escape import visible
from estelam.core.note_keys import NoteKey
from estelam.receipts import receipt
from estelam.receipts.archive import ReceiptRecord

MAX_PRINTED = 100
VALID = "VALID"


class VerifiedReplies:
    """The first replies that were verified, and the count of all."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._first: list[dict[str, Any]] = []
        self._outcomes = Counter[str]()

    @property
    def count(self) -> int:
        """The number of replies."""
        return self._outcomes.total()

    def add(self, item: ReceiptRecord, proven: receipt.VerifiedReceipt) -> None:
        """Add a reply whose receipt is valid."""
        self._outcomes[proven.outcome] += 1
        if self.count <= MAX_PRINTED:
            self._first.append(_facts(item, proven, as_json=self._as_json))

    def print(self, title: str) -> None:
        """Print each reply under *title*; of more than MAX_PRINTED the counts alone."""
        numbers = {"count": self.count, "outcomes": dict(self._outcomes)}
        if self.count > MAX_PRINTED:
            output.print_record({"valid": True, **numbers}, as_json=self._as_json, title=title)
        elif self._as_json:
            output.print_record({"valid": True, **numbers, "replies": self._first}, as_json=True)
        else:
            for facts in self._first:
                output.print_record(facts, as_json=False, title=title)


class Verifiers:
    """A verifier for each service whose replies the file holds."""

    def __init__(
        self,
        certificates: list[Path] | None,
        retired_keys: Path | None,
        witnesses: Sequence[NoteKey],
        needed: int,
    ) -> None:
        self._named = named_keys(certificates, retired_keys)
        self._retired_keys = retired_keys
        self._witnesses = witnesses
        self._needed = needed
        self._by_area: dict[str, receipt.Verifier] = {}

    def verify(self, item: ReceiptRecord) -> receipt.VerifiedReceipt:
        """Verify *item*."""
        # estelam.AREA.v1 is signed by AREA-receipts.crt; the key of one service proves nothing about another's methods.
        area = item.method.split(".")[1]
        if area not in self._by_area:
            keys = self._named or service_keys(area, self._retired_keys)
            self._by_area[area] = receipt.Verifier(keys, witnesses=self._witnesses, needed=self._needed)
        return self._by_area[area].verify(item.method, item.request, item.reply)


def _facts(item: ReceiptRecord, proven: receipt.VerifiedReceipt, *, as_json: bool) -> dict[str, Any]:
    entry, asked = proven.entry, MessageToDict(item.request, preserving_proto_field_name=True)
    return {
        "method": item.method,
        "caller": entry.caller if as_json else visible(entry.caller),
        "answered_at": to_datetime(entry.answered_at_micros),
        "outcome": proven.outcome,
        **coverage_facts(item.reply),
        "request": asked if as_json else {name: visible(str(value)) for name, value in asked.items()},
        "ledger": proven.checkpoint.origin,
        "index": proven.index,
        "checkpoint": str(proven.checkpoint),
        "key_id": proven.key_id,
        **_witness_facts(proven, as_json=as_json),
    }


def _witness_facts(proven: receipt.VerifiedReceipt, *, as_json: bool) -> dict[str, Any]:
    found = {each.witness: to_datetime(each.seconds * 1_000_000) for each in proven.cosignatures}
    if as_json:
        return {"cosigned_by": found}
    return {"cosigned_by": "\n".join(f"{name}, {dates.format_second(at)}" for name, at in found.items()) or None}
