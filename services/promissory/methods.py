"""Binding of the contract's methods to their look-ups, and the subjects that the ledger records for each answer."""

from collections.abc import Mapping

from estelam.core.model import Method, Subject, person_subject
from estelam.pipeline.recorder import Lookup
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from promissory import notes
from promissory.settings import PromissorySettings

SERVICE = pb.DESCRIPTOR.services_by_name["PromissoryNoteInquiryService"].full_name


def _check_subjects(request: pb.CheckNoteRequest) -> tuple[Subject, ...]:
    return (
        notes.serial_subject(request.serial),
        person_subject(request.obligor_id),
        person_subject(request.beneficiary_id),
    )


def _parties_subjects(request: pb.GetNotePartiesRequest) -> tuple[Subject, ...]:
    return (notes.serial_subject(request.serial),)


def _disclosed(reply: pb.GetNotePartiesResponse) -> tuple[Subject, ...]:
    return person_subject(reply.obligor.id), person_subject(reply.beneficiary.id)


def _agency(request: pb.GetNotePartiesRequest) -> str:
    return request.executive_agency_id


CHECK_NOTE = Method(f"{SERVICE}/CheckNote", pb.CheckNoteRequest, _check_subjects)
GET_NOTE_PARTIES = Method(f"{SERVICE}/GetNoteParties", pb.GetNotePartiesRequest, _parties_subjects, _agency, _disclosed)


def lookups(settings: PromissorySettings) -> Mapping[Method, Lookup]:
    """Return the look-up of each method of the contract."""
    return {
        CHECK_NOTE: notes.check_note,
        GET_NOTE_PARTIES: notes.parties_lookup(CHECK_NOTE.name, settings.parties_window),
    }
