"""Bulk checks of persons."""

from dataclasses import replace
from pathlib import Path

import pytest

from development.sandbox import Sandbox
from estelam.cli.bulk.run import BulkCheckError
from judiciary.bulk.persons import PERSONS
from tests.support.service import RunningService
from tests.unit.judiciary.test_bulk_run import Bank, reason_code

DRAWER, HOLDER, NOBODY = "9990000050", "99000237578", "9990000018"


@pytest.fixture
def bank(shared: Sandbox, judiciary: RunningService, tmp_path: Path) -> Bank:
    """A bank with a list of persons."""
    bank = Bank(shared, tmp_path, judiciary.address, question=PERSONS)
    bank.write_list(f"national_id;name\n{DRAWER};x\n{HOLDER};x\n{NOBODY};x\n9990000051;x\n۹۹۹۰۰۰۰۰۵۰;x\n")
    return bank


def test_meaning(bank: Bank) -> None:
    """The output says what NO means: a person who only holds the cheque of a case has NO."""
    stop, summary, calls = bank.run()
    rows = bank.answers()
    no = "no case in which this person is the drawer, or named without a role"

    assert (None, 3) == (stop, calls)
    assert ["YES", "NO", "NO", "UNANSWERED", "YES"] == [row["answer"] for row in rows]
    assert [False, True, True, False, False] == [row["meaning"].endswith(f"/ {no}") for row in rows]
    assert ["2021-03-21"] * 2 == [row["covered_since"] for row in rows[1:3]]
    assert ("", "FIELD_INVALID") == (rows[3]["meaning"], reason_code(rows[3]["reason"]))
    assert {"YES": 2, "NO": 2, "UNANSWERED": 1} == summary.answers
    assert 0 == bank.run()[2]


def test_another_question(bank: Bank) -> None:
    """Answers to another question about the same list are not taken for answers to this one."""
    bank.write_list(f"national_id,tracking_id\n{NOBODY},1\n")
    bank.run()
    before = bank.receipts.read_bytes()
    with pytest.raises(BulkCheckError, match="holds a reply for another list"):
        replace(bank, question=Bank(bank.sandbox, bank.folder, bank.address).question).run()

    assert before == bank.receipts.read_bytes()
