"""The course of every call: who asks, may they, is it well formed, how much, what is true, write it down, speak."""

from dataclasses import dataclass

from estelam.core.errors import Reason
from estelam.inquiry.v1 import inquiry_pb2 as pb

from . import wire
from .access import Access
from .clock import Clock
from .identity import identify
from .inquiry import Inquiry, Method, purposes, well_formed
from .ledger import Ledger
from .quota import Bucket, Buckets
from .words import Declined, pushback, status

PATIENCE_SECONDS = 10.0
faults: list[BaseException] = []
"""What went wrong here and was not foreseen."""


@dataclass
class Visit:
    """What is known of one call so far."""

    inquiry: Inquiry | None = None
    bucket: Bucket | None = None

    def trailers(self) -> list[tuple[str, str]]:
        """What its caller is told beside the reply."""
        if self.inquiry is None:
            return []
        told = [("estelam-inquiry-id", str(self.inquiry.id))]
        if "x-inquiry-id" in self.inquiry.purposes:
            told.append(("x-inquiry-id", self.inquiry.purposes["x-inquiry-id"]))
        return told + (self.bucket.trailers() if self.bucket else [])


class Office:
    """Attends to calls; without a *ledger* of its own it passes on what another service has recorded."""

    def __init__(self, access: Access, clock: Clock, ledger: Ledger | None) -> None:
        self._access = access
        self._clock = clock
        self._ledger = ledger
        self._buckets = Buckets()

    async def attend(self, method: Method, call: wire.Call) -> None:
        """One call from its beginning to its end."""
        visit = Visit()
        try:
            message = await self._course(method, call, visit)
        except Declined as declined:
            await self._decline(call, visit, declined)
        except Exception as fault:  # noqa: BLE001 - no fault may become an answer
            faults.append(fault)
            await self._decline(call, visit, Declined(Reason.SERVICE_FAILED))
        else:
            await wire.reply(call, message, visit.trailers())

    async def _course(self, method: Method, call: wire.Call, visit: Visit) -> bytes:
        sent = await wire.receive(call)
        metadata = list((call.metadata or {}).items())
        forwarded = any(key == "x-forwarded-client-cert" for key, _ in metadata)
        caller = identify(wire.certificate(call), self._clock.now(), forwarded=forwarded)
        seconds = PATIENCE_SECONDS if call.deadline is None else call.deadline.time_remaining()
        inquiry = visit.inquiry = Inquiry(method, caller, min(seconds, PATIENCE_SECONDS))
        try:
            grant = self._access.admit(caller, method.name)
            inquiry.purposes = purposes(metadata, grant.demands)
            inquiry.request = well_formed(method.request, sent)
            visit.bucket = self._buckets.of(caller.organization, method.name, grant.allowance)
            visit.bucket.take()
            answer = await method.find(inquiry)
        except Declined as declined:
            if self._ledger is not None:
                await self._ledger.record_refusal(inquiry, declined.reason)
            raise
        if answer.outcome == pb.OUTCOME_NO:
            visit.bucket.miss()
        if self._ledger is not None:
            answer.reply.receipt.CopyFrom(await self._ledger.record(inquiry, answer.outcome, answer.reply))
        message: bytes = answer.reply.SerializeToString(deterministic=True)
        return message

    async def _decline(self, call: wire.Call, visit: Visit, declined: Declined) -> None:
        trailers = visit.trailers()
        wait = pushback(declined, relays=self._ledger is None)
        if wait is not None:
            trailers.append(("grpc-retry-pushback-ms", str(wait)))
        await wire.decline(call, status(declined), trailers)
