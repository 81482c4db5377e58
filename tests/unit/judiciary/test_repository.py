"""How the facts of cases are looked up: from an index alone, so that it costs the same however many there are."""

from contextlib import closing
from datetime import date
from typing import Any

import pytest
from sqlalchemy import Select

from estelam.storage.store import Store
from judiciary import repository
from tools.env.sandbox import Sandbox


@pytest.mark.parametrize("query", [repository._DRAWERS, repository._CHEQUES])
def test_both_questions_are_answered_from_an_index_alone(shared: Sandbox, query: Select[Any]) -> None:
    asked = query.params(asked=["1", "2"], since=date(2021, 3, 21))
    with closing(Store(shared.judiciary().store)) as opened, opened.transaction() as connection:
        words = asked.compile(connection, compile_kwargs={"literal_binds": True})
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {words}")]

    assert plan[0].startswith("SEARCH facts.cheque_case USING COVERING INDEX"), plan
    assert {"USE TEMP B-TREE FOR DISTINCT"} >= set(plan[1:]), plan
