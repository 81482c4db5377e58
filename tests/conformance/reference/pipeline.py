"""The steps of every call: authenticate, authorize, validate, rate-limit, look up, record, reply."""

from dataclasses import dataclass

from estelam.core.errors import Reason
from estelam.inquiry.v1 import inquiry_pb2 as pb

from . import wire
from .access import Authorizer
from .clock import Clock
from .identity import authenticate
from .inquiry import Inquiry, Method, parse_nonce, parse_purposes, parse_request
from .ledger import Ledger
from .quota import RateLimiter, TokenBucket
from .refusal import Refused, pushback, status

MAX_SECONDS = 10.0
unexpected_errors: list[BaseException] = []
"""Unexpected exceptions, for the tests."""


@dataclass
class CallState:
    """What is known of one call so far."""

    inquiry: Inquiry | None = None
    bucket: TokenBucket | None = None

    def trailers(self) -> list[tuple[str, str]]:
        """Return the reply's trailers."""
        if self.inquiry is None:
            return []
        trailers = [("estelam-inquiry-id", str(self.inquiry.id))]
        if "x-inquiry-id" in self.inquiry.purposes:
            trailers.append(("x-inquiry-id", self.inquiry.purposes["x-inquiry-id"]))
        return trailers + (self.bucket.trailers() if self.bucket else [])


class Pipeline:
    """Handles calls; without a *ledger* it forwards what another service has recorded."""

    def __init__(self, access: Authorizer, clock: Clock, ledger: Ledger | None) -> None:
        self._authorizer = access
        self._clock = clock
        self._ledger = ledger
        self._limiter = RateLimiter()

    async def handle(self, method: Method, call: wire.Call) -> None:
        """Handle one call."""
        call_state = CallState()
        try:
            message = await self._process(method, call, call_state)
        except Refused as refused:
            await self._refuse(call, call_state, refused)
        except Exception as error:  # noqa: BLE001 - no error may become an answer
            unexpected_errors.append(error)
            await self._refuse(call, call_state, Refused(Reason.SERVICE_FAILED))
        else:
            await wire.reply(call, message, call_state.trailers())

    async def _process(self, method: Method, call: wire.Call, call_state: CallState) -> bytes:
        body = await wire.receive(call)
        metadata = list((call.metadata or {}).items())
        forwarded = any(key == "x-forwarded-client-cert" for key, _ in metadata)
        caller = authenticate(wire.certificate(call), self._clock.now(), forwarded=forwarded)
        seconds = MAX_SECONDS if call.deadline is None else call.deadline.time_remaining()
        inquiry = call_state.inquiry = Inquiry(method, caller, min(seconds, MAX_SECONDS))
        try:
            grant = self._authorizer.authorize(caller, method.name)
            call_state.bucket = self._limiter.of(caller.organization, method.name, grant.quota)
            try:
                inquiry.purposes = parse_purposes(metadata, grant.required_metadata)
                inquiry.nonce = parse_nonce(metadata)
                inquiry.request = parse_request(method.request, body)
            except Refused:
                call_state.bucket.charge_refusal()
                raise
            call_state.bucket.acquire()
            answer = await method.find(inquiry)
        except Refused as refused:
            if self._ledger is not None:
                await self._ledger.record_refusal(inquiry, refused.reason)
            raise
        if answer.outcome == pb.OUTCOME_NO:
            call_state.bucket.charge_no()
        if self._ledger is not None:
            answer.reply.receipt.CopyFrom(await self._ledger.record(inquiry, answer.outcome, answer.reply))
        message: bytes = answer.reply.SerializeToString(deterministic=True)
        return message

    async def _refuse(self, call: wire.Call, call_state: CallState, refused: Refused) -> None:
        trailers = call_state.trailers()
        pushback_ms = pushback(refused, is_forwarding=self._ledger is None)
        if pushback_ms is not None:
            trailers.append(("grpc-retry-pushback-ms", str(pushback_ms)))
        await wire.refuse(call, status(refused), trailers)
