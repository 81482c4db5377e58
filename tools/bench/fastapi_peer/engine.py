"""The peer's database engine, tuned as well as we can."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

# SQLite has one writer: more connections would only sleep on its lock, where a queue hands over at once.
_POOLS: Mapping[str, Mapping[str, Any]] = {
    "sqlite": {"pool_size": 1, "max_overflow": 0, "pool_timeout": 60, "connect_args": {"isolation_level": None}},
    "postgresql": {"pool_size": 16, "max_overflow": 0, "pool_timeout": 60},
}


def engine_of(url: str) -> AsyncEngine:
    """An engine for *url*; on both databases a commit is durable before it returns."""
    backend = make_url(url).get_backend_name()
    engine = create_async_engine(url, **_POOLS[backend])
    if backend == "sqlite":
        event.listen(engine.sync_engine, "connect", _make_durable)
        event.listen(engine.sync_engine, "begin", _begin_immediate)
    return engine


def _make_durable(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _begin_immediate(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
