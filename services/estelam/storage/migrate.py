"""Schema migrations: one Alembic chain for each half of a store, run by one shared environment."""

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from estelam.storage.base import FACTS, LEDGER, AccessMode, StoreError
from estelam.storage.store import Store

_ENVIRONMENT = "estelam.storage:migrations"


def migrate(url: str, scripts: str) -> None:
    """Upgrade both halves of the store at *url* to the newest schema.

    Args:
        url: The address of the store.
        scripts: The service's own chain, for the facts, as "package:folder".

    Raises:
        StoreError: *url* names no store of a known kind.
    """
    store = Store(url, facts=AccessMode.CREATE, ledger=AccessMode.CREATE)
    try:
        for schema, location in _chains(scripts).items():
            with store.transaction() as connection:
                command.upgrade(alembic_config(location, schema, connection), "head")
    finally:
        store.close()


def check_schema(store: Store, scripts: str) -> None:
    """Check that both halves of *store* have the newest schema.

    Raises:
        StoreError: one has not, or the store can't be opened.
    """
    try:
        with store.transaction() as connection:
            for schema, location in _chains(scripts).items():
                context = MigrationContext.configure(connection, opts={"version_table_schema": schema})
                head = ScriptDirectory.from_config(alembic_config(location, schema, connection)).get_current_head()
                if context.get_current_revision() != head:
                    raise StoreError("the store's schema is not current; run: estelam migrate")
    except StoreError:
        raise
    except Exception as error:
        raise StoreError("the store can't be opened; run: estelam migrate") from error


def alembic_config(scripts: str, schema: str, connection: Connection) -> Config:
    """Return Alembic's configuration for the chain *scripts* ("package:folder") in *schema*, run on *connection*."""
    config = Config(attributes={"connection": connection, "schema": schema})
    config.set_main_option("script_location", _ENVIRONMENT)
    config.set_main_option("version_locations", f"{scripts}/versions")
    # Not a colon, which a location contains.
    config.set_main_option("path_separator", "newline")
    return config


def _chains(scripts: str) -> dict[str, str]:
    return {LEDGER: _ENVIRONMENT, FACTS: scripts}
