"""A real service for tests: a gRPC server on loopback in its own thread, with mTLS and real stores."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Self

from estelam.server.grpc_server import Server

Opening = Callable[[], AbstractAsyncContextManager[Any]]


class RunningService:
    """Runs the async context manager that *opening* returns, in its own thread and event loop, until closed."""

    def __init__(self, opening: Opening) -> None:
        self.port = 0
        self.server: Server | None = None
        self.loop = asyncio.new_event_loop()
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, args=(opening,), daemon=True)
        self._thread.start()
        self._ready.wait(30)
        if self._failure:
            self._thread.join()
            raise self._failure

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Run *function* in the service's thread."""
        done = threading.Event()

        def run() -> None:
            function(*arguments)
            done.set()

        self.loop.call_soon_threadsafe(run)
        assert done.wait(10)

    def close(self) -> None:
        if self._stop is not None and self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _main(self, opening: Opening) -> None:
        try:
            self.loop.run_until_complete(self._serve(opening))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that started the service
            self._failure = error
            self._ready.set()
        finally:
            self.loop.close()

    async def _serve(self, opening: Opening) -> None:
        self._stop = asyncio.Event()
        async with opening() as server:
            self.server, self.port = server, server.port
            self._ready.set()
            await self._stop.wait()
