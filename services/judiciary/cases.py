"""The two questions about court cases over cheques: against this drawer, and about this cheque (R3.1.1, R3.1.2)."""

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
"""1 Farvardin 1400: cases from this day on are asked about unless the coverage says otherwise (R3.1.2)."""

Response = TypeVar("Response", pb.CheckByNationalIdResponse, pb.CheckByTrackingIdResponse)


def by_national_id(reading: LookupContext, inquiries: Sequence[Inquiry]) -> list[LookupResult | Refusal]:
    """YES where a case filed within coverage names the person as drawer, or without a role."""
    asked = {inquiry.request.national_id for inquiry in inquiries}
    found = repository.drawers_with_case(reading.connection, asked, since(reading.coverage))
    return [
        _finding(reading, pb.CheckByNationalIdResponse, yes=inquiry.request.national_id in found)
        for inquiry in inquiries
    ]


def by_tracking_id(reading: LookupContext, inquiries: Sequence[Inquiry]) -> list[LookupResult | Refusal]:
    """YES where a case filed within coverage is about the cheque; a claim later withdrawn was filed all the same."""
    asked = {inquiry.request.tracking_id for inquiry in inquiries}
    found = repository.cheques_with_case(reading.connection, asked, since(reading.coverage))
    return [
        _finding(reading, pb.CheckByTrackingIdResponse, yes=inquiry.request.tracking_id in found)
        for inquiry in inquiries
    ]


def since(coverage: Coverage | None) -> date:
    """The first filing date that counts."""
    return coverage.since if coverage else FIRST_DATE


def _finding(reading: LookupContext, kind: type[Response], *, yes: bool) -> LookupResult | Refusal:
    reply = kind(answer=inquiry_pb2.ANSWER_YES if yes else inquiry_pb2.ANSWER_NO)
    if reading.coverage:
        reply.coverage.CopyFrom(_wire(reading.coverage))
    return LookupResult.yes(reply) if yes else reading.no_or_refusal(reply)


def _wire(coverage: Coverage) -> inquiry_pb2.Coverage:
    first = coverage.since
    wire = inquiry_pb2.Coverage(since=Date(year=first.year, month=first.month, day=first.day))
    wire.as_of.FromDatetime(coverage.through)
    return wire
