"""A real service for tests: a gRPC server on loopback, with mTLS and real stores."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Self

Opening = Callable[[], AbstractContextManager[Any]]


class RunningService:
    """Runs the service whose context manager *opening* returns, until closed."""

    def __init__(self, opening: Opening) -> None:
        self._running = ExitStack()
        self.port: int = self._running.enter_context(opening()).port

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    def close(self) -> None:
        self._running.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
