"""Lock of the only monitor of a quality store on PostgreSQL, which several hosts can reach.

Two monitors would probe twice, and each would count a source up to where the other has read it.
"""

import contextlib
from collections.abc import Iterator

from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from estelam.storage.base import StoreError
from estelam.storage.store import is_single_process

_LOCK = 6_002_097_126  # any number that no other lock uses


class OnlyMonitor:
    """Holds the lock in a session of its own, and takes it again after the session was lost.

    Raises:
        StoreError: another monitor holds it.
    """

    def __init__(self, url: str) -> None:
        address = None if is_single_process(url) else make_url(url)
        self._engine = address and create_engine(address, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._session: Connection | None = None
        with contextlib.suppress(SQLAlchemyError):  # a store that can't be reached is reported where it is written to
            self._take()

    def is_held(self) -> bool:
        """Whether no other monitor uses the store, as far as it can be reached."""
        try:
            if self._session is not None:
                self._session.execute(text("SELECT 1"))
            else:
                self._take()
        except StoreError:
            return False
        except SQLAlchemyError:
            self.close()
        return True

    def close(self) -> None:
        """Release the lock."""
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(SQLAlchemyError):
                session.invalidate()
                session.close()

    def _take(self) -> None:
        if self._engine is None:
            return
        session = self._engine.connect()
        if not session.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK}).scalar():
            session.close()
            raise StoreError("another monitor uses this quality store; start one only")
        self._session = session


@contextlib.contextmanager
def only_monitor(url: str) -> Iterator[OnlyMonitor]:
    """Hold the lock of the store at *url* within the context.

    Raises:
        StoreError: another monitor holds it.
    """
    with contextlib.closing(OnlyMonitor(url)) as lock:
        yield lock
