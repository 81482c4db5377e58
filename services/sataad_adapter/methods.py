"""Contract binding: the adapter's one method, VerifyNote."""

from estelam.core.model import Method, Subject
from estelam.setad.v1 import note_verification_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["NoteVerificationService"].full_name


def _no_subjects(_request: pb.VerifyNoteRequest) -> tuple[Subject, ...]:
    """Return no subjects: the ministry records the inquiry, the adapter keeps no ledger."""
    return ()


VERIFY_NOTE = Method(f"{SERVICE}/VerifyNote", pb.VerifyNoteRequest, _no_subjects)
