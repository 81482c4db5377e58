"""The ministry's two methods (R2.1, R2.2)."""

from datetime import timedelta
from typing import Any

from estelam.core.errors import Reason
from estelam.inquiry.v1 import inquiry_pb2
from estelam.promissory.v1 import note_inquiry_pb2 as pb

from .clock import Clock, micros
from .data import Note
from .inquiry import Answer, Inquiry, Method
from .ledger import Ledger
from .refusal import Refused
from .store import Store

SERVICE = "estelam.promissory.v1.PromissoryNoteInquiryService"
CHECK_NOTE = f"{SERVICE}/CheckNote"
GET_NOTE_PARTIES = f"{SERVICE}/GetNoteParties"
KINDS = {10: pb.PERSON_KIND_NATURAL, 11: pb.PERSON_KIND_LEGAL, 12: pb.PERSON_KIND_FOREIGN}
LIVE = "ISSUED"


class Notes:
    """Inquiries about promissory notes."""

    def __init__(self, store: Store, ledger: Ledger, clock: Clock) -> None:
        self._store = store
        self._ledger = ledger
        self._clock = clock

    def methods(self) -> list[Method]:
        """Return the contract's methods."""
        return [
            Method(CHECK_NOTE, pb.CheckNoteRequest, self.check, _check_subjects, lambda _: ""),
            Method(
                GET_NOTE_PARTIES,
                pb.GetNotePartiesRequest,
                self.parties,
                lambda request: [("serial", request.serial)],
                lambda request: str(request.executive_agency_id),
                lambda reply: [("person", reply.obligor.id), ("person", reply.beneficiary.id)],
            ),
        ]

    async def check(self, inquiry: Inquiry) -> Answer:
        """Answer whether the note is live and all four facts match."""
        self._ledger.check_available()
        note = self._store.notes.get(inquiry.request.serial)
        if note is not None and _agrees(note, inquiry.request):
            return Answer(inquiry_pb2.OUTCOME_YES, pb.CheckNoteResponse(answer=inquiry_pb2.ANSWER_YES))
        self._store.require_coverage(self._clock.now())
        return Answer(inquiry_pb2.OUTCOME_NO, pb.CheckNoteResponse(answer=inquiry_pb2.ANSWER_NO))

    async def parties(self, inquiry: Inquiry) -> Answer:
        """Return the obligor and the present holder, if the caller has a recent YES about the facts as they are."""
        self._ledger.check_available()
        if inquiry.request.executive_agency_id not in self._store.agencies:
            raise Refused(Reason.AGENCY_NOT_MEMBER)
        note = self._store.notes.get(inquiry.request.serial)
        if note is None or note.state != LIVE or not self._confirmed(inquiry, note):
            raise Refused(Reason.NOTE_NOT_CONFIRMED)
        obligor = pb.Party(
            kind=KINDS[len(note.obligor_id)],
            id=note.obligor_id,
            full_name=note.obligor_name,
            address=note.obligor_address,
            postal_code=note.obligor_postal_code,
        )
        beneficiary = pb.Party(
            kind=KINDS[len(note.holder_id)],
            id=note.holder_id,
            full_name=note.holder_name,
            address=note.holder_address,
            postal_code=note.holder_postal_code,
        )
        reply = pb.GetNotePartiesResponse(obligor=obligor, beneficiary=beneficiary)
        return Answer(inquiry_pb2.OUTCOME_DISCLOSED, reply)

    def _confirmed(self, inquiry: Inquiry, note: Note) -> bool:
        now = self._clock.now()
        first, last = micros(now - self._store.window), micros(now + timedelta(minutes=1))
        subject = ("serial", inquiry.request.serial)
        request = pb.CheckNoteRequest(
            serial=inquiry.request.serial,
            obligor_id=note.obligor_id,
            beneficiary_id=note.holder_id,
            amount_rials=note.amount_rials,
        )
        times = self._ledger.times_of_yes(CHECK_NOTE, inquiry.caller.organization, subject, request)
        return any(first <= at <= last for at in times)


def _agrees(note: Note, request: pb.CheckNoteRequest) -> bool:
    return (
        note.state == LIVE
        and note.obligor_id == request.obligor_id
        and note.holder_id == request.beneficiary_id
        and note.amount_rials == request.amount_rials
    )


def _check_subjects(request: Any) -> list[tuple[str, str]]:
    return [("serial", request.serial), ("person", request.obligor_id), ("person", request.beneficiary_id)]
