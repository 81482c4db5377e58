"""Data files, lists of bulk checks and typed values: one cell means the same on each."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from estelam.cli.bulk.question import Question
from estelam.cli.bulk.table import read_rows
from estelam.core import normalize, validation
from estelam.judiciary.v1.cheque_case_inquiry_pb2 import CheckByNationalIdRequest
from estelam.loading.formats import amount, identifier
from estelam.promissory.v1.note_inquiry_pb2 import CheckNoteRequest
from judiciary.bulk.persons import PERSONS
from promissory.bulk import NOTES
from tests.support.spreadsheet import SPREADSHEET_VALUES

NOW = datetime(2026, 11, 30, tzinfo=UTC)
BAD = (*SPREADSHEET_VALUES, '="9990000050"', "9990000051", "99900009", "9990.000.050", "9990/000050", "", "x")
PERSONS_IDS = dict.fromkeys(
    ("9990000050", "۹۹۹۰۰۰۰۰۵۰", " 999-000005-0 ", "9990 0000 50", "9990\u200e000050"), "9990000050"
)
AMOUNTS = {"2500": 2500, "2,500": 2500, "۲٬۵۰۰": 2500, "2 500": 2500, "9223372036854775807": 2**63 - 1}
BAD_AMOUNTS = ("2,50", "2.5", "-5", "0", "", "1e9", "9223372036854775808", "9" * 20, *SPREADSHEET_VALUES)


@pytest.mark.parametrize("cell", [*PERSONS_IDS, *BAD])
def test_identifiers(cell: str, tmp_path: Path) -> None:
    """An identifier is read as the same one, or refused, by a load, a bulk check and a command."""
    expected = PERSONS_IDS.get(cell)

    column, reasons = identifier(CheckByNationalIdRequest, "national_id").read(pa.array([cell]), NOW)
    assert (None if reasons else column[0].as_py()) == expected
    assert listed(tmp_path, PERSONS, national_id=cell).get("national_id") == expected
    typed = normalize.normalize_digits(cell)
    valid = validation.field_violation(CheckByNationalIdRequest, "national_id", typed) is None
    assert (typed if valid else None) == expected


@pytest.mark.parametrize("cell", [*AMOUNTS, *BAD_AMOUNTS])
def test_amounts(cell: str, tmp_path: Path) -> None:
    """An amount is read as the same one, or refused, by a load, a bulk check and a command."""
    expected = AMOUNTS.get(cell)

    column, reasons = amount(CheckNoteRequest, "amount_rials").read(pa.array([cell]), NOW)
    assert (None if reasons else int(column[0].as_py())) == expected
    others = {"serial": "1404000000000017", "obligor_id": "9990000018", "beneficiary_id": "99000554330"}
    assert listed(tmp_path, NOTES, **others, amount_rials=cell).get("amount_rials") == expected
    typed = normalize.parse_amount(cell) if normalize.amount_rule(cell) is None else 0
    valid = validation.field_violation(CheckNoteRequest, "amount_rials", typed) is None
    assert (typed if valid else None) == expected


def listed(folder: Path, question: Question, **cells: str) -> dict[str, object]:
    """Return the fields of the row with *cells* in the list of a bulk check; none if it is refused."""
    path = folder / "list.csv"
    quoted = ('"' + cell.replace('"', '""') + '"' for cell in cells.values())
    path.write_text(f"{','.join(cells)},note\n{','.join(quoted)},x\n", "utf-8")
    (row,) = read_rows(path, question, NOW)
    return dict(row.cells)
