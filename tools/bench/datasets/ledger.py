"""A ledger of any length: invented CheckNote inquiries of ten days up to now, appended as the service appends them."""

import contextlib
import time
from datetime import timedelta

import uuid_utils
from sqlalchemy import insert

from development.sandbox import ORGANIZATIONS
from estelam.core.clock import Clock
from estelam.core.keys import HmacKeyring, SigningKey
from estelam.core.model import Caller, Inquiry, Outcome
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.ledger import loads
from estelam.ledger.tables import answer_comparison_table
from estelam.ledger.writer import EntryDraft, LedgerWriter
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.storage.store import AccessMode, Store
from promissory.methods import CHECK_NOTE
from promissory.settings import PromissorySettings
from tools.bench.datasets.notes import Note

COMMIT = 500
"""Entries in each commit, if nothing else is said."""
_SPAN_MICROS = timedelta(days=10) // timedelta(microseconds=1)
_NUMBERS = 3_000_000
"""Distinct notes that are inquired about, each with persons of its own."""


def fill(settings: PromissorySettings, entries: int, commit: int = COMMIT) -> None:
    """Append *entries* to the empty ledger of the promissory service, half of them YES, at even intervals.

    Each commit has *commit* of them. The loads are noted after them, and the answers, which are invented, count as
    compared with the notes: else the service would compare them all while it is measured.
    """
    end = time.time_ns() // 1000
    now = end - _SPAN_MICROS

    def micros() -> int:
        return now

    signer = SigningKey.load(settings.signing_key, settings.signing_certificates)
    keyring = HmacKeyring.load(settings.hmac_keyring)
    clock = Clock(micros, lambda: 0.0)
    writer = LedgerWriter(settings.SECTION, keyring=keyring, signer=signer, clock=clock)
    with contextlib.closing(Store(settings.store, ledger=AccessMode.WRITE)) as store:
        for first in range(0, entries, commit):
            numbers = range(first, min(first + commit, entries))
            now = end - _SPAN_MICROS + _SPAN_MICROS * numbers[-1] // entries
            with store.transaction() as connection:
                writer.append_at_once(connection, [_draft(number) for number in numbers])
        with store.transaction() as connection:
            if notes := loads.unnoted(connection, writer.start_basis(connection)()):
                through_index = writer.append_at_once(connection, notes=notes).tree.size - 1
                compared = (through_index, 0, notes[-1].number, notes[-1].facts["sha256"])
                connection.execute(insert(answer_comparison_table).values(compared))


def _draft(number: int) -> EntryDraft:
    inquiry = Inquiry(uuid_utils.uuid7(), CHECK_NOTE, Caller(ORGANIZATIONS["agency"]), received_at=0.0)
    # The permutation spreads inquiries about one note over the whole ledger.
    inquiry.request = pb.CheckNoteRequest.FromString(Note.numbered(number * 1_000_003 % _NUMBERS).as_message())
    outcome, answer = (Outcome.YES, ANSWER_YES) if number % 2 else (Outcome.NO, ANSWER_NO)
    return EntryDraft(inquiry, outcome, pb.CheckNoteResponse(answer=answer))
