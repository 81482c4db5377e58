"""The wire's side: the adapter's one method."""

from estelam.core.model import Method, Subject
from estelam.setad.v1 import note_verification_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["NoteVerificationService"].full_name


def _recorded_by_the_ministry(_request: pb.VerifyNoteRequest) -> tuple[Subject, ...]:
    return ()


VERIFY_NOTE = Method(f"{SERVICE}/VerifyNote", pb.VerifyNoteRequest, _recorded_by_the_ministry)
