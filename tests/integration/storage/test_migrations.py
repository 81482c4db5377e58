"""Migrations on every database: they create exactly the tables that the code declares."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Inspector, Table, inspect

from estelam.ledger.tables import entry_table
from estelam.storage.facts import FACTS_METADATA
from estelam.storage.migrate import migrate
from estelam.storage.schema import check_schema
from estelam.storage.store import AccessMode, Store
from judiciary.repository import case_table
from judiciary.settings import JudiciarySettings
from promissory.repository import member_table, note_table
from promissory.settings import PromissorySettings
from tests.conftest import both_engines

pytestmark = both_engines

OWN = {
    PromissorySettings.MIGRATIONS: [note_table, member_table],
    JudiciarySettings.MIGRATIONS: [case_table],
}
"""The tables of each service's facts, by its migrations; all others are shared."""


@pytest.mark.parametrize("scripts", OWN)
def test_tables_are_as_declared(scripts: str, engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The migrations create the newest schema: exactly the declared tables, columns, keys and constraints."""
    others = {table for name, tables in OWN.items() if name != scripts for table in tables}
    tables = [table for table in [*FACTS_METADATA.tables.values()] if table not in others]
    tables += entry_table.metadata.tables.values()
    migrated, declared = (store_url(engine, request, tmp_path / name) for name in ("migrated", "declared"))
    migrate(migrated, scripts)
    with closing(Store(migrated)) as opened:
        check_schema(opened, scripts)
    store = Store(declared, facts=AccessMode.CREATE, ledger=AccessMode.CREATE)
    with closing(store), store.transaction() as connection:
        for table in tables:
            table.create(connection)

    assert shape(declared, tables) == shape(migrated, tables)


def store_url(engine: str, request: pytest.FixtureRequest, folder: Path) -> str:
    if engine == "sqlite":
        return f"sqlite:///{folder}"
    cluster = request.getfixturevalue("cluster")
    url: str = cluster.url(cluster.database())
    return url


def shape(url: str, tables: Iterable[Table]) -> Mapping[str, Any]:
    """Return columns, keys and constraints of each table, and the indexes of facts; and the names of all tables."""
    with closing(Store(url)) as store, store.transaction() as connection:
        found = inspect(connection)
        known = {name for schema in ("facts", "ledger") for name in found.get_table_names(schema)} - {"alembic_version"}
        known -= {"entry_000000", "entry_000001"}  # the first partitions
        return {"": known} | {str(table): list(_shape(found, table.name, str(table.schema))) for table in tables}


def _shape(found: Inspector, table: str, schema: str) -> Iterator[Any]:
    for column in found.get_columns(table, schema):
        yield column | {"type": repr(column["type"])}
    yield found.get_pk_constraint(table, schema)["constrained_columns"]
    yield found.get_check_constraints(table, schema)
    if schema == "facts":
        for index in sorted(found.get_indexes(table, schema), key=lambda index: str(index["name"])):
            options = {name: str(value) for name, value in index.get("dialect_options", {}).items()}
            yield index | {"dialect_options": options}
