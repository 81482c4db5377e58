"""Query plans of the case look-ups."""

from contextlib import closing
from datetime import date
from typing import Any

import pytest
from sqlalchemy import Select

from estelam.storage.store import Store
from judiciary import repository
from tools.env.sandbox import Sandbox


@pytest.mark.parametrize("query", [repository._DRAWERS, repository._CHEQUES])
def test_queries_use_covering_indexes(shared: Sandbox, query: Select[Any]) -> None:
    """Both queries read covering indexes only, so their cost does not depend on the number of cases."""
    bound = query.params(keys=["1", "2"], since=date(2021, 3, 21))
    with closing(Store(shared.judiciary().store)) as opened, opened.transaction() as connection:
        sql = bound.compile(connection, compile_kwargs={"literal_binds": True})
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}")]

    assert plan[0].startswith("SEARCH facts.cheque_case USING COVERING INDEX"), plan
    reads = [step for step in plan if "B-TREE" not in step and "SUBQUERY" not in step]
    assert all(step.startswith("SEARCH ") and "USING COVERING INDEX" in step for step in reads), plan
