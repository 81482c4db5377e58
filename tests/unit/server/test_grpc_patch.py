"""The doors that calls come in by: a call that goes wrong at one shuts neither that one nor another."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from grpc._cython import cygrpc

from estelam.server.grpc_patch import CONCURRENT_ACCEPTS, PatchedServer


def test_a_call_that_goes_wrong_at_a_door_shuts_none_and_leaving_shuts_all() -> None:
    async def scenario() -> tuple[list[int], bool]:
        core: Any = PatchedServer([], None)._server
        serve: Callable[..., Awaitable[None]] = core._serve
        asked: list[asyncio.Future[Any]] = []

        async def request() -> Any:
            asked.append(asyncio.get_running_loop().create_future())
            return await asked[-1]

        async def once_all_are_asked(number: int) -> None:
            while len(asked) < number:  # noqa: ASYNC110 - nobody sets an event
                await asyncio.sleep(0)

        serving = asyncio.ensure_future(serve(request, "method", None))
        await once_all_are_asked(CONCURRENT_ACCEPTS)
        asked[0].set_exception(cygrpc._RequestCallError())
        await once_all_are_asked(CONCURRENT_ACCEPTS + 1)
        waiting = [place for place, future in enumerate(asked) if not future.done()]
        leaving = asyncio.ensure_future(core.shutdown(None))
        await asyncio.sleep(0)
        for future in asked[1:]:
            future.set_exception(cygrpc._RequestCallError())
        ended = await asyncio.gather(serving, return_exceptions=True)
        await leaving
        return waiting, isinstance(ended[0], cygrpc._RequestCallError)

    assert (list(range(1, CONCURRENT_ACCEPTS + 1)), True) == asyncio.run(asyncio.wait_for(scenario(), 20))
