"""gRPC's asyncio server with one fault mended: the name of an unknown method can't end it.

As of grpcio 1.85.1 the server decodes the name of every method that is not registered. One that is no UTF-8 ends its
loop, and with that the service, for anyone who holds a trusted certificate. There is no public way around it, so this
module alone touches gRPC's inside, grpcio is pinned to the minor version it was tested with, and a test sends such
names.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
from grpc._cython import cygrpc
from grpc.aio import _server as grpc_server


class MendedServer(grpc_server.Server):
    """As grpc.aio.server(); registered methods are found by the bytes of their names, and *unknown* takes the rest."""

    def __init__(self, options: Sequence[tuple[str, int]], unknown: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = _Core(self._loop, None, (), (), tuple(options), None)
        self._server.unknown = _AnyMethod(unknown)


class _AnyMethod:
    """Gives one handler for every method."""

    def __init__(self, behaviour: Any) -> None:
        self._handler: Any = grpc.unary_unary_rpc_method_handler(behaviour)

    def resolve_handler(self, _details: object) -> Any:
        return self._handler


class _Core(cygrpc.AioServer):  # type: ignore[misc]  # it has no types
    unknown: _AnyMethod

    async def _request_call(self) -> Any:
        """Serve calls of unregistered methods, for ever, without reading their names."""
        loop, name = asyncio.get_running_loop(), "unknown"
        calls: set[asyncio.Task[None]] = set()
        while True:
            state = await super()._request_call()
            answering = cygrpc._handle_rpc(name, self.unknown, (), state, loop, False)  # noqa: SLF001, FBT003
            call = loop.create_task(cygrpc._schedule_rpc_coro(answering, state, loop, name))  # noqa: SLF001
            calls.add(call)
            call.add_done_callback(calls.discard)
