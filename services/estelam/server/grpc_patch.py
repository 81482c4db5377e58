"""gRPC's asyncio server with two faults patched.

In grpcio 1.85.1 the server decodes the name of every unregistered method. A name that is not UTF-8 ends its loop, so
that anyone with a trusted certificate can stop the service. And it accepts one call of a method at a time and sets up
the wait on all methods again for each: that is a sixth of the cost of a call, and under load calls wait in gRPC in
order of arrival, where our fair queue does not reach them. There is no public way around either. So this module, and no
other, uses gRPC's private classes; grpcio is pinned to the minor version tested; tests send such names and loads.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import grpc
from grpc._cython import cygrpc
from grpc.aio import _server as grpc_server

CONCURRENT_ACCEPTS = 16
"""So many calls of one method can be accepted at once."""


class PatchedServer(grpc_server.Server):
    """Like grpc.aio.server(), but finds registered methods by the bytes of their names; *unknown* serves all others."""

    def __init__(self, options: Sequence[tuple[str, int]], unknown: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = _Core(self._loop, None, (), (), tuple(options), None)
        self._server.unknown = _OneMethod(grpc.unary_unary_rpc_method_handler(unknown))


class _OneMethod:
    """Returns one handler for any name."""

    def __init__(self, handler: Any) -> None:
        self._handler = handler

    def resolve_handler(self, _details: object) -> Any:
        return self._handler


class _Core(cygrpc.AioServer):  # type: ignore[misc]  # it has no types
    unknown: _OneMethod

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._stopping = False
        self._known: dict[str, _OneMethod] = {}
        self._calls: set[asyncio.Task[None]] = set()

    def add_registered_method_handlers(self, handlers: Mapping[str, Any]) -> None:
        super().add_registered_method_handlers(handlers)
        self._known |= {name: _OneMethod(handler) for name, handler in handlers.items()}

    async def shutdown(self, grace: float | None) -> None:
        self._stopping = True
        await super().shutdown(grace)

    async def _request_call(self) -> Any:
        """Serve calls of unregistered methods for ever, without decoding their names."""
        await self._serve(super()._request_call, "unknown", self.unknown)

    async def _request_registered_call(self, method: bytes) -> Any:
        """Serve calls of *method* for ever."""
        request, name = super()._request_registered_call, method.decode()
        await self._serve(lambda: request(method), name, self._known[name])

    async def _serve(self, request: Callable[[], Awaitable[Any]], name: str, method: _OneMethod) -> None:
        await asyncio.gather(*(self._accept(request, name, method) for _ in range(CONCURRENT_ACCEPTS)))

    async def _accept(self, request: Callable[[], Awaitable[Any]], name: str, method: _OneMethod) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                state = await request()
            except cygrpc._RequestCallError:  # noqa: SLF001
                if self._stopping:
                    raise
                # One call failed to arrive. The other waits must stay: gRPC's core holds pointers to them and would
                # write there after they were freed.
                continue
            answering = cygrpc._handle_rpc(name, method, (), state, loop, False)  # noqa: SLF001, FBT003
            call = loop.create_task(cygrpc._schedule_rpc_coro(answering, state, loop, name))  # noqa: SLF001
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
