"""Look-ups of the two methods about court cases over cheques: by drawer (R3.1.1) and by cheque (R3.1.2)."""

from collections.abc import Sequence
from datetime import date
from typing import TypeVar

from google.type.date_pb2 import Date

from estelam.core.errors import Reason, Refusal
from estelam.core.model import Inquiry, LookupResult
from estelam.inquiry.v1 import inquiry_pb2
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from estelam.pipeline.recorder import LookupContext
from estelam.storage.coverage import Coverage
from judiciary import repository

Response = TypeVar("Response", pb.CheckByNationalIdResponse, pb.CheckByTrackingIdResponse)


def by_national_id(context: LookupContext, inquiries: Sequence[Inquiry]) -> list[LookupResult | Refusal]:
    """Answer YES if a case filed within coverage names the person as drawer or without a role."""
    national_ids = {inquiry.request.national_id for inquiry in inquiries}
    found = repository.drawers_with_case(context.connection, national_ids, since(context.coverage))
    complete_since = context.coverage.since if context.coverage else None
    return [
        _result(context, pb.CheckByNationalIdResponse, complete_since, yes=inquiry.request.national_id in found)
        for inquiry in inquiries
    ]


def by_tracking_id(context: LookupContext, inquiries: Sequence[Inquiry]) -> list[LookupResult | Refusal]:
    """Answer YES if a case over the cheque was filed within coverage, even if the claim was later withdrawn.

    A case that is not linked to its certificate can't be found by it, so NO is answered only if the feed declares since
    when its cases are linked, and coverage begins with the later of both dates.
    """
    tracking_ids = {inquiry.request.tracking_id for inquiry in inquiries}
    found = repository.cheques_with_case(context.connection, tracking_ids, since(context.coverage))
    complete_since = linked_since(context.coverage)
    is_undeclared = context.coverage is not None and complete_since is None and not context.clock_is_behind
    return [
        Refusal(Reason.TRACKING_UNDECLARED)
        if is_undeclared and inquiry.request.tracking_id not in found
        else _result(context, pb.CheckByTrackingIdResponse, complete_since, yes=inquiry.request.tracking_id in found)
        for inquiry in inquiries
    ]


def since(coverage: Coverage | None) -> date:
    """Return the first filing date that counts."""
    return coverage.since if coverage else repository.FIRST_DATE


def linked_since(coverage: Coverage | None) -> date | None:
    """Return the first filing date from which the cases are complete and linked to certificates, if it is declared."""
    if coverage is None or coverage.tracking_since is None:
        return None
    return max(coverage.since, coverage.tracking_since)


def _result(
    context: LookupContext, kind: type[Response], complete_since: date | None, *, yes: bool
) -> LookupResult | Refusal:
    reply = kind(answer=inquiry_pb2.ANSWER_YES if yes else inquiry_pb2.ANSWER_NO)
    if context.coverage:
        reply.coverage.as_of.FromDatetime(context.coverage.as_of)
        if complete_since:
            first = Date(year=complete_since.year, month=complete_since.month, day=complete_since.day)
            reply.coverage.since.CopyFrom(first)
    return LookupResult.yes(reply) if yes else context.no_or_refusal(reply)
