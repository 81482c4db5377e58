"""One inquiry that came over HTTP, as the desk sees it: whose certificate, which metadata, and how it is refused."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

import grpc
from grpc.aio import AbortError, AioRpcError

from estelam.core.errors import Reason, Refusal
from estelam.core.grpc_status import from_grpc
from estelam.pipeline.handler import Context, Handler

Pairs = tuple[tuple[str, str], ...]


class Declined(AbortError):  # noqa: N818 - a refusal is an outcome, not a fault
    """The desk declined; *refusal* is its own, *trailer* what every caller may know besides."""

    def __init__(self, refusal: Refusal, trailer: Pairs) -> None:
        super().__init__(refusal.reason.value)
        self.refusal = refusal
        self.trailer = trailer


@dataclass(frozen=True, slots=True)
class Spoken:
    """The desk's reply, serialized, and what every caller may know besides."""

    reply: bytes
    trailer: Pairs


async def bring(handler: Handler, body: bytes, *, certificate: bytes, metadata: Iterable[tuple[str, str]]) -> Spoken:
    """Bring *body* before the desk for whoever holds *certificate* (PEM).

    Raises:
        Declined: there is no answer.
    """
    call = _Call(certificate, tuple(metadata))
    reply = await handler(body, cast("Context", call))
    return Spoken(reply, call.trailer)


@dataclass(slots=True)
class _Call:
    """What the desk needs of gRPC's context, for a call that came another way."""

    certificate: bytes
    metadata: Pairs
    trailer: Pairs = field(default=())

    def auth_context(self) -> dict[str, tuple[bytes, ...]]:
        return {"x509_pem_cert": (self.certificate,)}

    def invocation_metadata(self) -> Pairs:
        return self.metadata

    def time_remaining(self) -> None:
        """HTTP has no deadline: the settings' longest time counts."""

    def set_trailing_metadata(self, trailer: Pairs) -> None:
        self.trailer = _told(trailer)

    async def abort(self, code: grpc.StatusCode, details: str, trailer: tuple[Any, ...]) -> NoReturn:
        error = AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailer), details=details)
        raise Declined(from_grpc(error) or Refusal(Reason.SERVICE_FAILED), _told(trailer))


def _told(trailer: Iterable[tuple[str, Any]]) -> Pairs:
    return tuple((key, value) for key, value in trailer if not key.startswith("grpc-"))
