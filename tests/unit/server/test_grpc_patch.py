"""Accepting calls: a call that fails to arrive ends neither its own wait nor another."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from grpc._cython import cygrpc

from estelam.server.grpc_patch import CONCURRENT_ACCEPTS, PatchedServer


def test_failed_accept_keeps_others_waiting() -> None:
    """An accept that fails is replaced and ends no other; shutting down ends all."""

    async def scenario() -> tuple[list[int], bool]:
        core: Any = PatchedServer([], None)._server
        serve: Callable[..., Awaitable[None]] = core._serve
        requested: list[asyncio.Future[Any]] = []

        async def request() -> Any:
            requested.append(asyncio.get_running_loop().create_future())
            return await requested[-1]

        async def until_requested(number: int) -> None:
            while len(requested) < number:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0)

        serving = asyncio.ensure_future(serve(request, "method", None))
        await until_requested(CONCURRENT_ACCEPTS)
        requested[0].set_exception(cygrpc._RequestCallError())
        await until_requested(CONCURRENT_ACCEPTS + 1)
        waiting = [place for place, future in enumerate(requested) if not future.done()]
        stopping = asyncio.ensure_future(core.shutdown(None))
        await asyncio.sleep(0)
        for future in requested[1:]:
            future.set_exception(cygrpc._RequestCallError())
        ended = await asyncio.gather(serving, return_exceptions=True)
        await stopping
        return waiting, isinstance(ended[0], cygrpc._RequestCallError)

    assert (list(range(1, CONCURRENT_ACCEPTS + 1)), True) == asyncio.run(asyncio.wait_for(scenario(), 20))
