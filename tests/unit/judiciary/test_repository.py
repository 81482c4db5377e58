"""Query plans of the case look-ups."""

from contextlib import closing
from datetime import date

import pytest

from development.sandbox import Sandbox
from estelam.storage.statements import Statement
from estelam.storage.store import Store
from judiciary import repository


@pytest.mark.parametrize(
    ("query", "name"), [(repository._DRAWERS, "national_ids"), (repository._CHEQUES, "tracking_ids")]
)
def test_queries_use_covering_indexes(shared: Sandbox, query: Statement, name: str) -> None:
    """Both queries read covering indexes only, so their cost does not depend on the number of cases."""
    bound = query.clause.params({name: ["1", "2"], "since": date(2021, 3, 21)})
    with closing(Store(shared.judiciary().store)) as opened, opened.transaction() as connection:
        sql = bound.compile(connection, compile_kwargs={"literal_binds": True})
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}")]

    reads = [step for step in plan if "SUBQUERY" not in step]
    assert reads[0].startswith("SCAN value VIRTUAL TABLE"), plan
    assert len(reads) > 1
    assert all(step.startswith("SEARCH ") and "USING COVERING INDEX" in step for step in reads[1:]), plan
