"""Bulk checks of notes."""

from pathlib import Path

from development.sandbox import Sandbox
from promissory.bulk import NOTES
from tests.support.service import RunningService
from tests.unit.judiciary.test_bulk_run import Bank, reason_code

HEADER = "serial,obligor_id,beneficiary_id,amount_rials\n"
LIVE = "1404000000000017,9990000018,99000554330,2500000000\n"
SETTLED = "1404000000000025,9990000026,99000554330,900000000\n"
OTHER_AMOUNT = LIVE.replace("2500000000", "2500000001")
NO_OBLIGOR = LIVE.replace("9990000018", "")


def test_four_facts(shared: Sandbox, promissory: RunningService, tmp_path: Path) -> None:
    """A row is YES if the note is live and all four facts match, else NO; a row without a fact is refused."""
    bank = Bank(shared, tmp_path, promissory.address, caller="setad", trusted="promissory-receipts", question=NOTES)
    bank.write_list(HEADER + LIVE + SETTLED + OTHER_AMOUNT + NO_OBLIGOR + LIVE)
    stop, summary, calls = bank.run()
    rows = bank.answers()

    assert (None, 3) == (stop, calls)
    assert ["YES", "NO", "NO", "UNANSWERED", "YES"] == [row["answer"] for row in rows]
    assert ["", "", "", "FIELD_INVALID", ""] == [reason_code(row["reason"]) for row in rows]
    assert LIVE.strip().split(",") == [rows[0][column] for column in NOTES.fields]
    assert rows[0]["inquiry_id"] == rows[4]["inquiry_id"]
    assert {"YES": 2, "NO": 2, "UNANSWERED": 1} == summary.answers
    assert 0 == bank.run()[2]
