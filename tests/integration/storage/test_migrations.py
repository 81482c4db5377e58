"""Migrations on every database: facts loaded under an older schema are unchanged."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import date
from typing import Any

from alembic import command
from sqlalchemy import Connection, Date, column, insert, select, table, text

from estelam.core.clock import to_datetime
from estelam.core.settings import StoreSettings
from estelam.storage import migrate
from estelam.storage.coverage import Coverage, read_coverage
from estelam.storage.facts import load_table
from estelam.storage.store import AccessMode, Store
from judiciary.repository import case_table, cheques_with_case, drawers_with_case
from promissory.repository import member_agencies, note_table
from tests.conftest import both_engines
from tools.env.sandbox import Sandbox

pytestmark = both_engines

DAY = date(2024, 5, 1)
Rows = Mapping[str, Sequence[Mapping[str, Any]]]

CASES: Rows = {
    "cheque_case": [
        {
            "case_number": "1",
            "kind": "CIVIL",
            "filed_on": DAY,
            "registered_at": "then",
            "tracking_id": "700",
            "load_number": 1,
        },
        {
            "case_number": "2",
            "kind": "CRIMINAL",
            "filed_on": DAY,
            "registered_at": "then",
            "tracking_id": "701",
            "load_number": 3,
        },
    ],
    "case_party": [
        {"case_number": "1", "national_id": "9990000050", "role": "DRAWER", "load_number": 1},
        {"case_number": "1", "national_id": "9990000069", "role": "HOLDER", "load_number": 2},
    ],
}
NEW = {"due_on", "beneficiary_name"}
"""The columns of a note that the first schema may leave empty or lacks."""
NOTE: dict[str, Any] = dict.fromkeys((each.name for each in note_table.columns if each.name not in NEW), "1") | {
    "issued_on": DAY,
    "amount_rials": 7,
    "remaining_rials": 5,
    "load_number": 4,
}


def upgraded(settings: StoreSettings, rows: Rows) -> Store:
    """Return a store of the first schema with *rows*, migrated to the newest one."""
    opened = Store(settings.store, facts=AccessMode.CREATE, ledger=AccessMode.CREATE)
    with closing(opened), opened.transaction() as connection:
        _back_to_the_first_schema(connection, settings.MIGRATIONS)
        for name, each in rows.items():
            for row in each:
                columns = [column(key, Date() if isinstance(value, date) else None) for key, value in row.items()]
                connection.execute(insert(table(name, *columns, schema="facts")).values(**row))
    migrate.migrate(settings.store, settings.MIGRATIONS)
    return Store(settings.store)


def _back_to_the_first_schema(connection: Connection, scripts: str) -> None:
    tables = {
        "judiciary:migrations": ("coverage", "load", "former_subject", "recall_run", "cheque_case"),
        "promissory:migrations": ("coverage", "load", "former_subject", "recall_run", "note", "setad_member"),
    }
    for name in tables[scripts]:
        connection.execute(text(f"DROP TABLE facts.{name}"))
    connection.execute(text("DELETE FROM facts.alembic_version"))
    command.upgrade(migrate.alembic_config(scripts, "facts", connection), "0001")


def test_cases_migrate_to_one_table(sandbox: Sandbox) -> None:
    """Cases and their parties become rows of one table."""
    with closing(upgraded(sandbox.judiciary(), CASES)) as opened, opened.transaction() as connection:
        assert sorted(tuple(row) for row in connection.execute(select(case_table))) == [
            ("1", "CIVIL", DAY, "then", "700", None, "9990000050", "DRAWER", 1),
            ("1", "CIVIL", DAY, "then", "700", None, "9990000069", "HOLDER", 2),
            ("2", "CRIMINAL", DAY, "then", "701", None, "", "", 3),
        ]
        assert drawers_with_case(connection, ["9990000050", "9990000069", ""], DAY) == {"9990000050", ""}
        assert cheques_with_case(connection, ["700", "701", "702"], DAY) == {"700", "701"}


def test_notes_and_agencies_are_unchanged(sandbox: Sandbox) -> None:
    """Notes and agencies are unchanged by the migration."""
    rows: Rows = {"note": [NOTE], "setad_member": [{"agency_id": "A", "name": "n", "load_number": 1}]}

    with closing(upgraded(sandbox.promissory(), rows)) as opened, opened.transaction() as connection:
        (note,) = connection.execute(select(note_table)).mappings()
        assert dict(note) == {**NOTE, "due_on": None, "beneficiary_name": ""}
        assert member_agencies(connection, ["A", "B"]) == {"A"}


def test_loads_get_their_feed_and_the_declared_coverage(sandbox: Sandbox) -> None:
    """Existing loads are of number 0 of their feed, and the newest one carries the declared coverage."""
    micros = 1_790_000_000_000_000
    rows: Rows = {
        "coverage": [{"id": 1, "since": DAY, "through_micros": micros}],
        "load": [
            {"number": number, "file": "f.csv", "rows": 1, "loaded_at_micros": micros + number} for number in (1, 2, 3)
        ],
        "setad_member": [{"agency_id": "A", "name": "n", "load_number": 3}],
    }

    with closing(upgraded(sandbox.promissory(), rows)) as opened, opened.transaction() as connection:
        load = load_table.c
        columns = (
            load.number,
            load.feed,
            load.feed_number,
            load.cut_at_micros,
            load.complete_since,
            load.covered_since,
        )
        assert connection.execute(select(*columns).order_by(load.number)).all() == [
            (1, "notes", 0, None, None, None),
            (2, "notes", 0, micros, DAY, None),
            (3, "members", 0, None, None, DAY),
        ]
        assert read_coverage(connection) == Coverage(DAY, to_datetime(micros), tracking_since=None)


def test_loads_get_the_optional_columns_that_have_values(sandbox: Sandbox) -> None:
    """Existing loads had those optional columns in which a row has a value; how they treated parties is not known."""
    load = {"number": 4, "file": "f.csv", "rows": 1, "loaded_at_micros": 1}
    rows: Rows = {"load": [load], "note": [NOTE | {"holder_address": ""}]}

    with closing(upgraded(sandbox.promissory(), rows)) as opened, opened.transaction() as connection:
        (found,) = connection.execute(select(load_table)).all()
        assert found.optional_columns == "holder_postal_code obligor_address obligor_postal_code"
        assert found.parties is None
