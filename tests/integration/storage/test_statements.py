"""Statements on the driver's cursor on every database: the values and errors are those of SQLAlchemy."""

from collections.abc import Iterator
from contextlib import closing
from datetime import date
from typing import Any

import pytest
from sqlalchemy import Date, bindparam, select
from sqlalchemy.exc import DBAPIError

from development.sandbox import Sandbox
from estelam.ledger.tables import annulment_table, key_use_table, node_table
from estelam.storage.statements import Statement, each, start_insert
from estelam.storage.store import AccessMode, Store
from tests.conftest import both_engines_in_full

pytestmark = both_engines_in_full

ANNULMENTS = Statement(select(annulment_table).order_by(annulment_table.c["index"]))


@pytest.fixture
def store(sandbox: Sandbox) -> Iterator[Store]:
    with closing(Store(sandbox.promissory().store, ledger=AccessMode.WRITE)) as store:
        yield store


def test_values_are_converted(store: Store) -> None:
    """Parameters and rows have the types of their columns."""
    statement = Statement(select(bindparam("day", type_=Date).label("day")))
    with store.transaction() as connection:
        (row,) = statement.rows(connection, day=date(2026, 3, 21))

    assert date(2026, 3, 21) == row.day


@pytest.mark.parametrize("texts", [[], ["a"], ["۱", "'", '"', "\\", "{", ",", "NULL", "", " "]], ids=len)
def test_list_of_texts(store: Store, texts: list[str]) -> None:
    """A list of any texts is one parameter."""
    listed = each("texts")
    with store.transaction() as connection:
        rows = Statement(select(listed.c.value)).rows(connection, texts=texts)

    assert texts == [row.value for row in rows]


def test_rows_of_several_tables(store: Store) -> None:
    """Rows of several tables are inserted together; a table may get none."""
    rows: Any = {annulment_table: [(7, 9), (8, 9)], node_table: [], key_use_table: [("k", 0, b"\0\xff")]}
    with store.append() as connection:
        store.lock(connection)
        start_insert(connection, rows)
        annulled = ANNULMENTS.rows(connection)
    with store.transaction() as connection:
        (use,) = Statement(select(key_use_table)).rows(connection)

    assert [(7, 9), (8, 9)] == annulled
    assert ("k", 0, b"\0\xff") == (use.key_id, use.first_index, bytes(use.check_value))


def test_failed_insertion_is_rolled_back(store: Store) -> None:
    """An insertion that fails is SQLAlchemy's error, at the latest at the end, and leaves nothing."""

    def insert_one_twice() -> None:
        with store.append() as connection:
            store.lock(connection)
            start_insert(connection, {key_use_table: [("k", 0, b"")]})
            start_insert(connection, {annulment_table: [(7, 9), (7, 9)]})

    with pytest.raises(DBAPIError):
        insert_one_twice()
    with store.append() as connection:
        assert [] == ANNULMENTS.rows(connection)
        assert [] == Statement(select(key_use_table)).rows(connection)
