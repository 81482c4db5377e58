"""gRPC's asyncio server with two faults mended.

As of grpcio 1.85.1 the server decodes the name of every method that is not registered. One that is no UTF-8 ends its
loop, and with that the service, for anyone who holds a trusted certificate. And it takes one call of a method at
a time, and waits on all methods anew for each: that costs a sixth of what a call costs, and under load calls stand
before its door in one line that no fairness reaches. There is no public way around either, so this module alone touches
gRPC's inside, grpcio is pinned to the minor version it was tested with, and tests send such names and such loads.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import grpc
from grpc._cython import cygrpc
from grpc.aio import _server as grpc_server

CONCURRENT_ACCEPTS = 16
"""So many calls of one method can come in at once."""


class PatchedServer(grpc_server.Server):
    """As grpc.aio.server(); registered methods are found by the bytes of their names, and *unknown* takes the rest."""

    def __init__(self, options: Sequence[tuple[str, int]], unknown: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = _Core(self._loop, None, (), (), tuple(options), None)
        self._server.unknown = _OneMethod(grpc.unary_unary_rpc_method_handler(unknown))


class _OneMethod:
    """Gives one handler, whatever the name."""

    def __init__(self, handler: Any) -> None:
        self._handler = handler

    def resolve_handler(self, _details: object) -> Any:
        return self._handler


class _Core(cygrpc.AioServer):  # type: ignore[misc]  # it has no types
    unknown: _OneMethod

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._leaving = False
        self._known: dict[str, _OneMethod] = {}
        self._calls: set[asyncio.Task[None]] = set()

    def add_registered_method_handlers(self, handlers: Mapping[str, Any]) -> None:
        super().add_registered_method_handlers(handlers)
        self._known |= {name: _OneMethod(handler) for name, handler in handlers.items()}

    async def shutdown(self, grace: float | None) -> None:
        self._leaving = True
        await super().shutdown(grace)

    async def _request_call(self) -> Any:
        """Serve calls of unregistered methods, for ever, without reading their names."""
        await self._serve(super()._request_call, "unknown", self.unknown)

    async def _request_registered_call(self, method: bytes) -> Any:
        """Serve calls of *method*, for ever."""
        request, name = super()._request_registered_call, method.decode()
        await self._serve(lambda: request(method), name, self._known[name])

    async def _serve(self, request: Callable[[], Awaitable[Any]], name: str, method: _OneMethod) -> None:
        await asyncio.gather(*(self._take(request, name, method) for _ in range(CONCURRENT_ACCEPTS)))

    async def _take(self, request: Callable[[], Awaitable[Any]], name: str, method: _OneMethod) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                state = await request()
            except cygrpc._RequestCallError:  # noqa: SLF001
                if self._leaving:
                    raise
                # One call went wrong at this door. The others stay as they are: gRPC's core holds on to where each of
                # them waits, and would write there after they were gone.
                continue
            answering = cygrpc._handle_rpc(name, method, (), state, loop, False)  # noqa: SLF001, FBT003
            call = loop.create_task(cygrpc._schedule_rpc_coro(answering, state, loop, name))  # noqa: SLF001
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
