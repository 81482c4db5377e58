"""Binding of the contract's methods to their look-ups, and the subjects that the ledger records for each request."""

from collections.abc import Mapping

from estelam.core.model import Method, Subject, person_subject
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from estelam.pipeline.recorder import Lookup
from judiciary import cases

SERVICE = pb.DESCRIPTOR.services_by_name["ChequeCaseInquiryService"].full_name


def _person_subjects(request: pb.CheckByNationalIdRequest) -> tuple[Subject, ...]:
    return (person_subject(request.national_id),)


def _cheque_subjects(request: pb.CheckByTrackingIdRequest) -> tuple[Subject, ...]:
    return (Subject("tracking", request.tracking_id),)


CHECK_BY_NATIONAL_ID = Method(f"{SERVICE}/CheckByNationalId", pb.CheckByNationalIdRequest, _person_subjects)
CHECK_BY_TRACKING_ID = Method(f"{SERVICE}/CheckByTrackingId", pb.CheckByTrackingIdRequest, _cheque_subjects)

LOOKUPS: Mapping[Method, Lookup] = {
    CHECK_BY_NATIONAL_ID: cases.by_national_id,
    CHECK_BY_TRACKING_ID: cases.by_tracking_id,
}
"""The look-up of each method of the contract."""
