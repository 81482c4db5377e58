"""Look-ups of the two methods about notes: is the note genuine (R2.1), and who are its parties (R2.2)."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from estelam.core.clock import CLOCK_TOLERANCE, to_micros
from estelam.core.errors import Reason, Refusal
from estelam.core.model import Inquiry, LookupResult, Subject
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.ledger import confirmations
from estelam.ledger.tables import request_subject
from estelam.pipeline.recorder import Lookup, LookupContext
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.receipts.receipt import canonical
from promissory import repository
from promissory.repository import State

_KINDS = {10: pb.PERSON_KIND_NATURAL, 11: pb.PERSON_KIND_LEGAL, 12: pb.PERSON_KIND_FOREIGN}


def check_note(context: LookupContext, inquiries: Sequence[Inquiry]) -> list[LookupResult | Refusal]:
    """Answer YES if the note is issued and live, and its obligor, current holder and face amount equal the request's.

    Everything else is NO without a reason, because a reason would let a caller find out the facts one by one.
    """
    notes = repository.note_facts(context.connection, {inquiry.request.serial for inquiry in inquiries})
    return [_check_one(context, inquiry.request, notes.get(inquiry.request.serial)) for inquiry in inquiries]


def _check_one(context: LookupContext, request: pb.CheckNoteRequest, note: Any | None) -> LookupResult | Refusal:
    genuine = (
        note is not None
        and note.state == State.ISSUED
        and note.obligor_id == request.obligor_id
        and note.holder_id == request.beneficiary_id
        and note.amount_rials == request.amount_rials
    )
    if genuine:
        return LookupResult.yes(pb.CheckNoteResponse(answer=ANSWER_YES))
    return context.no_or_refusal(pb.CheckNoteResponse(answer=ANSWER_NO))


def parties_lookup(check_method: str, window: timedelta) -> Lookup:
    """Return the look-up of method two.

    It requires that *check_method* has answered the same caller YES within *window* about the four facts as they stand
    now: a caller never receives a party that it has not named.
    """

    def parties(context: LookupContext, inquiries: Sequence[Inquiry]) -> list[LookupResult | Refusal]:
        if context.clock_is_behind:
            return [Refusal(Reason.CLOCK_BEHIND) for _ in inquiries]
        members = repository.member_agencies(
            context.connection, {inquiry.request.executive_agency_id for inquiry in inquiries}
        )
        notes = repository.note_parties(context.connection, {inquiry.request.serial for inquiry in inquiries})
        questions = {
            serial: context.keyring.hashes_under_all_keys(confirmed_request(check_method, note))
            for serial, note in notes.items()
            if note.state == State.ISSUED
        }
        unconfirmed = _unconfirmed(context, inquiries, questions, window)
        return [
            _disclose(inquiry.request, members, notes.get(inquiry.request.serial), missing=unconfirmed(inquiry))
            for inquiry in inquiries
        ]

    return parties


def confirmed_request(check_method: str, note: Any) -> Subject:
    """Return the subject of the only request to *check_method* that is answered YES about *note* while it is issued."""
    request = pb.CheckNoteRequest(
        serial=note.serial,
        obligor_id=note.obligor_id,
        beneficiary_id=note.holder_id,
        amount_rials=note.amount_rials,
    )
    return request_subject(check_method, canonical(request))


def _unconfirmed(
    context: LookupContext, inquiries: Sequence[Inquiry], questions: Mapping[str, Sequence[bytes]], window: timedelta
) -> Callable[[Inquiry], Reason | None]:
    """Return why an inquiry's caller has no recent YES to one of the *questions* for its serial; None: it has one."""

    def keys(inquiry: Inquiry) -> set[tuple[str, bytes]]:
        return {(inquiry.caller.organization_id, question) for question in questions.get(inquiry.request.serial, ())}

    wanted = {key for inquiry in inquiries for key in keys(inquiry)}
    confirmed, unreadable = confirmations.recent(
        context.connection,
        wanted,
        context.commits,
        since_micros=to_micros(context.now - window),
        until_micros=to_micros(context.now + CLOCK_TOLERANCE),
    )

    def reason(inquiry: Inquiry) -> Reason | None:
        asked = keys(inquiry)
        if asked & confirmed:
            return None
        return Reason.STORE_UNAVAILABLE if asked & unreadable else Reason.NOTE_NOT_CONFIRMED

    return reason


def _disclose(
    request: pb.GetNotePartiesRequest, members: set[str], note: Any | None, *, missing: Reason | None
) -> LookupResult | Refusal:
    if request.executive_agency_id not in members:
        return Refusal(Reason.AGENCY_NOT_MEMBER)
    # One reason for all cases: a specific one would disclose a fact about the note. Only an issued note is confirmed.
    if note is None or missing:
        return Refusal(missing or Reason.NOTE_NOT_CONFIRMED)
    return LookupResult.disclosed(
        pb.GetNotePartiesResponse(
            obligor=_party(note.obligor_id, note.obligor_name, note.obligor_address, note.obligor_postal_code),
            beneficiary=_party(note.holder_id, note.holder_name, note.holder_address, note.holder_postal_code),
        )
    )


def _party(person_id: str, name: str, address: str, postal_code: str) -> pb.Party:
    kind = _KINDS[len(person_id)]
    return pb.Party(kind=kind, id=person_id, full_name=name, address=address, postal_code=postal_code)


def serial_subject(serial: str) -> Subject:
    """Return the ledger subject of a note's serial."""
    return Subject("serial", serial)
