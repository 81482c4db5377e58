"""Adapts an HTTP request to the gRPC context that the inquiry handler expects: certificate, metadata, refusal."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

import grpc
from grpc.aio import AbortError, AioRpcError

from estelam.core.errors import Reason, Refusal, with_field
from estelam.core.grpc_status import from_grpc
from estelam.pipeline.handler import Context, Handler

Pairs = tuple[tuple[str, str], ...]


class CallRefused(AbortError):  # noqa: N818 - a refusal is an outcome, not an error
    """The inquiry handler refused the call with *refusal*; *trailer* is the trailing metadata without gRPC's own."""

    def __init__(self, refusal: Refusal, trailer: Pairs) -> None:
        super().__init__(refusal.reason.value)
        self.refusal = refusal
        self.trailer = trailer


@dataclass(frozen=True, slots=True)
class CallReply:
    """The handler's serialized reply, and the trailing metadata without gRPC's own."""

    reply: bytes
    trailer: Pairs


async def call_handler(
    handler: Handler, body: bytes, *, certificate: bytes, metadata: Iterable[tuple[str, str]]
) -> CallReply:
    """Call *handler* with *body* on behalf of the holder of *certificate* (PEM).

    Raises:
        CallRefused: the handler refused the call.
    """
    context = _HttpContext(certificate, tuple(metadata))
    reply = await handler(body, cast("Context", context))
    return CallReply(reply, context.trailer)


@dataclass(slots=True)
class _HttpContext:
    """The part of gRPC's servicer context that the handler uses, for an HTTP request."""

    certificate: bytes
    metadata: Pairs
    trailer: Pairs = field(default=())

    def auth_context(self) -> dict[str, tuple[bytes, ...]]:
        return {"x509_pem_cert": (self.certificate,)}

    def invocation_metadata(self) -> Pairs:
        return self.metadata

    def time_remaining(self) -> None:
        """Return None: HTTP has no deadline, so the settings' limit applies."""

    def set_trailing_metadata(self, trailer: Pairs) -> None:
        self.trailer = _public(trailer)

    async def abort(self, code: grpc.StatusCode, details: str, trailer: tuple[Any, ...]) -> NoReturn:
        error = AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailer), details=details)
        raise CallRefused(with_field(from_grpc(error) or Refusal(Reason.SERVICE_FAILED)), _public(trailer))


def _public(trailer: Iterable[tuple[str, Any]]) -> Pairs:
    return tuple((key, value) for key, value in trailer if not key.startswith("grpc-"))
