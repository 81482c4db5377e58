"""Files whose long identifiers a spreadsheet has rounded."""

from pathlib import Path

import pytest

from estelam.loading.errors import LoadError
from judiciary.feeds import CASES
from tests.integration.storage.loaded_table import CIVIL, LoadedTable
from tools.env.sandbox import Sandbox

ROUNDED = "140500000000007000"


@pytest.fixture
def cases(sandbox: Sandbox, tmp_path: Path) -> LoadedTable:
    return LoadedTable(sandbox.judiciary().store, tmp_path)


def case(number: int, tracking_id: str, person: str = "") -> str:
    return f"{number},{CIVIL},{tracking_id},{person},"


def test_rounded_file_is_refused(cases: LoadedTable) -> None:
    """A file of several cases whose tracking ids end in zeros is refused, unless the operator says that they do."""
    rounded = [case(number, ROUNDED) for number in range(40)]

    with pytest.raises(LoadError, match="tracking_id: 40 values end in zeros from their 16th digit on"):
        cases.load(CASES, *rounded)
    assert cases.load(CASES, *rounded, policy={"allow_round_identifiers": True}).rows == 40


def test_rounded_case_numbers_are_refused(cases: LoadedTable) -> None:
    """A file whose case numbers a spreadsheet has rounded is refused: cases that got one number would be merged."""
    rounded = [case(140500000000000000 + number * 1000, f"{number}") for number in range(1, 4)]

    with pytest.raises(LoadError, match="case_number: 3 values end in zeros from their 16th digit on"):
        cases.load(CASES, *rounded, *(f"1403/{row}" for row in rounded))
    assert cases.load(CASES, *rounded, policy={"allow_round_identifiers": True}).rows == 3


@pytest.mark.parametrize(
    "rows",
    [
        [case(number, f"1405000000{number:08}") for number in range(1, 3001)],
        [case(1, ROUNDED, "9990000050"), case(1, ROUNDED, "9990000069"), case(1, ROUNDED, "9990000018")],
        [case(number, f"{number}000") for number in range(1, 50)],
        [case(1405000000000000 + number, f"{number}") for number in range(1, 3001)],
    ],
    ids=["consecutive", "one case", "short", "consecutive cases"],
)
def test_genuine_zeros_are_no_sign_of_rounding(cases: LoadedTable, rows: list[str]) -> None:
    """As many zeros as chance explains, one case with several parties, and short identifiers are loaded."""
    assert cases.load(CASES, *rows).rows == len(rows)
