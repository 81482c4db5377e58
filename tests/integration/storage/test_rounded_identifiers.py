"""Files whose long identifiers a spreadsheet has rounded."""

from pathlib import Path

import pytest

from development.sandbox import Sandbox
from estelam.loading.errors import LoadError
from judiciary.feeds import CASES
from tests.conftest import both_engines_in_full
from tests.integration.storage.loaded_table import CIVIL, LoadedTable

ROUNDED = "140500000000007000"


@pytest.fixture
def cases(sandbox: Sandbox, tmp_path: Path) -> LoadedTable:
    return LoadedTable(sandbox.judiciary().store, tmp_path)


def case(number: int, tracking_id: str, person: str = "") -> str:
    return f"{number},{CIVIL},{tracking_id},{person},"


def test_rounded_file_is_refused(cases: LoadedTable) -> None:
    """A file of several cases whose tracking ids end in zeros is refused, unless the operator says that they do."""
    rounded = [case(number, ROUNDED) for number in range(40)]

    with pytest.raises(LoadError, match="tracking_id: 40 of 40 values end in zeros from their 16th digit on"):
        cases.load(CASES, *rounded)
    assert cases.load(CASES, *rounded, policy={"allow_round_identifiers": True}).rows == 40


def test_rounded_case_numbers_are_refused(cases: LoadedTable) -> None:
    """A file whose case numbers a spreadsheet has rounded is refused: cases that got one number would be merged."""
    rounded = [case(140500000000000000 + number * 1000, f"{number}") for number in range(1, 4)]

    with pytest.raises(LoadError, match="case_number: 3 of 3 values end in zeros from their 16th digit on"):
        cases.load(CASES, *rounded, *(f"1403/{row}" for row in rounded))
    assert cases.load(CASES, *rounded, policy={"allow_round_identifiers": True}).rows == 3


@pytest.mark.parametrize(
    ("digits", "rounded", "genuine", "expected"),
    [
        (16, 2, 0, "warned"),
        (16, 5, 0, "warned"),
        (16, 6, 0, "refused"),
        (16, 2, 1, "loaded"),
        (16, 4, 40, "loaded"),
        (18, 1, 0, "warned"),
        (18, 2, 0, "refused"),
        (18, 2, 40, "warned"),
    ],
)
def test_chance_decides(cases: LoadedTable, digits: int, rounded: int, genuine: int, expected: str) -> None:
    """A file is refused where chance explains its zeros once in a million times, with a warning once in a hundred."""
    step = 10 ** (digits - 15)
    rows = [case(10 ** (digits - 1) + number * step, f"{number}") for number in range(1, rounded + 1)]
    rows += [case(10 ** (digits - 1) + number * step + 1, f"9{number}") for number in range(1, genuine + 1)]

    if expected == "refused":
        with pytest.raises(LoadError, match=f"case_number: {rounded} of"):
            cases.load(CASES, *rows)
        return
    warned = {"maybe_rounded_case_number": rounded} if expected == "warned" else {}
    assert {name: count for name, count in cases.load(CASES, *rows).warnings.items() if count} == warned


@both_engines_in_full
def test_the_rows_of_a_record_count_once(cases: LoadedTable) -> None:
    """One case with six parties is one identifier, whose zeros are only reported."""
    people = ("9990000050", "9990000069", "9990000018", "9990000026", "99000554330", "999441044163")
    rows = [case(1, "1405000000000010", person) for person in people] + [case(2, "1405000000000020")]

    assert cases.load(CASES, *rows).warnings["maybe_rounded_tracking_id"] == 2


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
