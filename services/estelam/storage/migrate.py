"""Schema migrations: one Alembic chain for each half of a store, run by one shared environment.

A migration holds the locks of all writers, so that nothing is written to a table that it replaces: first the append
lock, under which batches are recorded, then that of loads. A reader that runs for long, as recall does, keeps it from
changing a table; waiting for that reader would hold up every inquiry, so it gives way soon and tries again.
"""

import contextlib
import time
from collections.abc import Mapping

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from estelam.storage.base import AccessMode, StoreError
from estelam.storage.grants import Role, grant
from estelam.storage.lock_conflicts import is_lock_conflict
from estelam.storage.schema import ENVIRONMENT, chains, check_schema
from estelam.storage.store import Store, is_single_process

ATTEMPTS = 30
PAUSE_SECONDS = 1.0
"""Between two attempts, in which waiting batches and loads proceed."""


def migrate(url: str, scripts: str, roles: Mapping[Role, str] | None = None) -> None:
    """Create the store at *url*, or bring both its halves to the newest schema, in one transaction.

    On PostgreSQL workers may serve meanwhile: batches wait. On SQLite the service must not run, unless the schema is
    the newest already.

    Args:
        url: The address of the store.
        scripts: The service's own chain, for the facts, as "package:folder".
        roles: The roles, by their use, that are granted its privileges; PostgreSQL only.

    Raises:
        StoreError: *url* names no store of a known kind, or one in use; the database has no such role.
    """
    # A second process must not even open the files of a SQLite store for writing while a service does.
    if is_single_process(url) and _is_current(url, scripts):
        return
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_SECONDS)
        store = Store(url, facts=AccessMode.CREATE, ledger=AccessMode.CREATE)
        with contextlib.closing(store):
            try:
                with store.single_writer_lock(), store.transaction() as connection:
                    for schema, location in chains(scripts).items():
                        command.upgrade(alembic_config(location, schema, connection), "head")
                    if not is_single_process(url):
                        grant(connection, roles or {})
            except DBAPIError as error:
                if not is_lock_conflict(error):
                    raise
            else:
                return
    raise StoreError(
        f"the store is in use: its tables could not be locked in {ATTEMPTS} attempts, and nothing is changed; wait for "
        "running loads, recalls, reports and backups to end, and run the command again"
    )


def _is_current(url: str, scripts: str) -> bool:
    with contextlib.closing(Store(url)) as store:
        try:
            check_schema(store, scripts)
        except StoreError:
            return False
    return True


def alembic_config(scripts: str, schema: str, connection: Connection) -> Config:
    """Return Alembic's configuration for the chain *scripts* ("package:folder") in *schema*, run on *connection*."""
    config = Config(attributes={"connection": connection, "schema": schema})
    config.set_main_option("script_location", ENVIRONMENT)
    config.set_main_option("version_locations", f"{scripts}/versions")
    # Not a colon, which a location contains.
    config.set_main_option("path_separator", "newline")
    return config
