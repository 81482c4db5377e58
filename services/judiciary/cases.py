"""Look-ups of the two methods about court cases over cheques: by drawer (R3.1.1) and by cheque (R3.1.2)."""

from collections.abc import Sequence
from datetime import date
from typing import TypeVar

from google.type.date_pb2 import Date

from estelam.core.errors import Refusal
from estelam.core.model import Inquiry, LookupResult
from estelam.inquiry.v1 import inquiry_pb2
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from estelam.pipeline.recorder import LookupContext
from estelam.storage.coverage import Coverage
from judiciary import repository

FIRST_DATE = date(2021, 3, 21)
"""1 Farvardin 1400: inquiries are about cases filed from this day on, unless coverage declares another day (R3.1.2)."""

Response = TypeVar("Response", pb.CheckByNationalIdResponse, pb.CheckByTrackingIdResponse)


def by_national_id(context: LookupContext, inquiries: Sequence[Inquiry]) -> list[LookupResult | Refusal]:
    """Answer YES if a case filed within coverage names the person as drawer or without a role."""
    national_ids = {inquiry.request.national_id for inquiry in inquiries}
    found = repository.drawers_with_case(context.connection, national_ids, since(context.coverage))
    return [
        _result(context, pb.CheckByNationalIdResponse, yes=inquiry.request.national_id in found)
        for inquiry in inquiries
    ]


def by_tracking_id(context: LookupContext, inquiries: Sequence[Inquiry]) -> list[LookupResult | Refusal]:
    """Answer YES if a case over the cheque was filed within coverage, even if the claim was later withdrawn."""
    tracking_ids = {inquiry.request.tracking_id for inquiry in inquiries}
    found = repository.cheques_with_case(context.connection, tracking_ids, since(context.coverage))
    return [
        _result(context, pb.CheckByTrackingIdResponse, yes=inquiry.request.tracking_id in found)
        for inquiry in inquiries
    ]


def since(coverage: Coverage | None) -> date:
    """Return the first filing date that counts."""
    return coverage.since if coverage else FIRST_DATE


def _result(context: LookupContext, kind: type[Response], *, yes: bool) -> LookupResult | Refusal:
    reply = kind(answer=inquiry_pb2.ANSWER_YES if yes else inquiry_pb2.ANSWER_NO)
    if context.coverage:
        reply.coverage.CopyFrom(_coverage_message(context.coverage))
    return LookupResult.yes(reply) if yes else context.no_or_refusal(reply)


def _coverage_message(coverage: Coverage) -> inquiry_pb2.Coverage:
    first = coverage.since
    message = inquiry_pb2.Coverage(since=Date(year=first.year, month=first.month, day=first.day))
    message.as_of.FromDatetime(coverage.as_of)
    return message
