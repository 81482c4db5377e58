"""Runs asynchronous services, which serve HTTP, in processes whose other threads are synchronous."""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from anyio.from_thread import start_blocking_portal

T = TypeVar("T")


@contextlib.contextmanager
def run_in_event_loop(service: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Enter *service* in an asyncio event loop in a thread of its own, and leave it at the end."""
    with start_blocking_portal() as event_loop, event_loop.wrap_async_context_manager(service) as running:
        yield running
