"""The judiciary's two methods (R3.1.1, R3.1.2)."""

from typing import Any

from google.type.date_pb2 import Date

from estelam.inquiry.v1 import inquiry_pb2
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb

from .clock import Clock
from .data import CaseRow
from .inquiry import Answer, Inquiry, Method
from .ledger import Ledger
from .store import Store

SERVICE = "estelam.judiciary.v1.ChequeCaseInquiryService"
DRAWERS = ("DRAWER", "")
"""A party without a role may be the drawer."""


class Cases:
    """Inquiries about court cases over cheques."""

    def __init__(self, store: Store, ledger: Ledger, clock: Clock) -> None:
        self._store = store
        self._ledger = ledger
        self._clock = clock

    def methods(self) -> list[Method]:
        """Return the contract's methods."""
        return [
            Method(
                f"{SERVICE}/CheckByNationalId",
                pb.CheckByNationalIdRequest,
                self.by_national_id,
                lambda request: [("person", request.national_id)],
                lambda _: "",
            ),
            Method(
                f"{SERVICE}/CheckByTrackingId",
                pb.CheckByTrackingIdRequest,
                self.by_tracking_id,
                lambda request: [("tracking", request.tracking_id)],
                lambda _: "",
            ),
        ]

    async def by_national_id(self, inquiry: Inquiry) -> Answer:
        """Answer whether a covered case is against this drawer."""
        self._ledger.check_available()
        wanted = inquiry.request.national_id
        found = any(row.national_id == wanted and row.role in DRAWERS for row in self._covered())
        return self._answer(pb.CheckByNationalIdResponse(), found=found)

    async def by_tracking_id(self, inquiry: Inquiry) -> Answer:
        """Answer whether a covered case is about this cheque."""
        self._ledger.check_available()
        wanted = inquiry.request.tracking_id
        cheques = {row.sayad_id for row in self._store.cases if row.tracking_id == wanted} - {""}
        found = any(row.tracking_id == wanted or row.sayad_id in cheques for row in self._covered())
        return self._answer(pb.CheckByTrackingIdResponse(), found=found)

    def _covered(self) -> list[CaseRow]:
        coverage = self._store.coverage
        return [row for row in self._store.cases if coverage is not None and row.filed_on >= coverage.since]

    def _answer(self, reply: Any, *, found: bool) -> Answer:
        if not found:
            self._store.require_coverage(self._clock.now())
        reply.answer = inquiry_pb2.ANSWER_YES if found else inquiry_pb2.ANSWER_NO
        if (coverage := self._store.coverage) is not None:
            first = coverage.since
            reply.coverage.since.CopyFrom(Date(year=first.year, month=first.month, day=first.day))
            reply.coverage.as_of.FromDatetime(coverage.through)
        return Answer(inquiry_pb2.OUTCOME_YES if found else inquiry_pb2.OUTCOME_NO, reply)
