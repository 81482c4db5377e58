"""Column-wise rules give the same verdict as protovalidate for every value."""

import os
import random
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estelam.core.cel import UnsupportedExpressionError
from estelam.judiciary.v1.cheque_case_inquiry_pb2 import CheckByNationalIdRequest, CheckByTrackingIdRequest
from estelam.loading import cel
from estelam.loading.rules import FieldRules
from estelam.promissory.v1.note_inquiry_pb2 import CheckNoteRequest, GetNotePartiesRequest

VALUES = int(os.environ.get("ESTELAM_TEST_VALUES", "20000"))

PERSON = FieldRules(CheckByNationalIdRequest, "national_id")
TEXTS = {
    "person": PERSON,
    "serial": FieldRules(CheckNoteRequest, "serial"),
    "tracking": FieldRules(CheckByTrackingIdRequest, "tracking_id"),
    "agency": FieldRules(GetNotePartiesRequest, "executive_agency_id"),
}
AMOUNT = FieldRules(CheckNoteRequest, "amount_rials")

ODD = [
    "",
    " ",
    "\n",
    "9990000050\n",
    "\n9990000050",
    " 9990000050",
    "+999000005",
    "-999000005",
    "0x99900000",
    "1e10000000",
    "۹۹۹۰۰۰۰۰۵۰",
    "٩٩٩٠٠٠٠٠٥٠",
    "999000005\u200c",
    "99900000５0",
    "9990000050\x00",
    "\x00",
    "٣",
    "a",
    "-",
    "--",
    "_",
    "Ž",
    "😀" * 10,
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    *(
        digit * length
        for digit in "0123456789"
        for length in (1, 9, 10, 11, 12, 13, 15, 16, 17, 18, 19, 31, 32, 33, 99)
    ),
]


def assert_same_verdicts(rules: FieldRules, values: list[str] | list[int]) -> None:
    suspects = rules.suspect(pa.array(values)).to_pylist()
    for value, suspect in zip(values, suspects, strict=True):
        assert suspect == (rules.violation(value) is not None), value


@pytest.mark.parametrize("name", TEXTS)
def test_edge_cases(name: str) -> None:
    """Edge cases get the same verdict column-wise and from protovalidate."""
    assert_same_verdicts(TEXTS[name], ODD)


def random_texts(dice: random.Random) -> Iterator[str]:
    """Yield ids of all relevant lengths; in some, one character is replaced by one that is not an ASCII digit."""
    while True:
        length = dice.choice((10, 10, 10, 11, 11, 12, dice.randrange(36)))
        text = "".join(dice.choice("0123456789") for _ in range(length))
        if dice.random() < 0.1:
            text = text[:1] * length
        if length and dice.random() < 0.1:
            place = dice.randrange(length)
            text = text[:place] + dice.choice("۰٩aZ- \n\x00😀") + text[place + 1 :]
        yield text


def every_check_digit(text: str) -> list[str]:
    return [text[:-1] + digit for digit in "0123456789"]


@pytest.mark.parametrize("name", TEXTS)
def test_random_ids(name: str) -> None:
    """Random ids with every check digit get the same verdict column-wise and from protovalidate."""
    dice = random.Random()
    source = random_texts(dice)
    # Each with all ten check digits, of which at most two are valid.
    values = [each for _ in range(VALUES // 10) for each in every_check_digit(next(source))]

    assert_same_verdicts(TEXTS[name], values)


@settings(deadline=None)
@given(st.lists(st.text(max_size=40), min_size=1))
def test_any_text(values: list[str]) -> None:
    """Any text gets the same verdict column-wise and from protovalidate."""
    for rules in TEXTS.values():
        assert_same_verdicts(rules, values)


@settings(deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_amounts(values: list[int]) -> None:
    """Any int64 gets the same verdict column-wise and from protovalidate."""
    assert_same_verdicts(AMOUNT, [0, 1, -1, *values])


def test_all_rules_are_compiled() -> None:
    """Every contract rule that feeds use has a column-wise form."""
    assert all(rules._predicates is not None for rules in (*TEXTS.values(), AMOUNT))


@pytest.mark.parametrize(
    "expression",
    [
        "this.startsWith('9')",
        "this.size() > size",
        "has(this)",
        "this ? 1",
        "rules.gt < this",
        "this == 'a' )",
        "'\\d'",
    ],
)
def test_unsupported_expression(expression: str) -> None:
    """An expression outside the supported subset of CEL raises an error."""
    with pytest.raises(UnsupportedExpressionError):
        cel.compile_rule(expression)


def test_fallback_to_protovalidate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules without a column-wise form are validated value by value."""

    def fail(_expression: str) -> Callable[[object], object]:
        raise UnsupportedExpressionError

    monkeypatch.setattr(cel, "compile_rule", fail)
    rules = FieldRules(CheckByNationalIdRequest, "national_id")

    assert rules.suspect(pa.array(["9990000050", "9990000051"])).to_pylist() == [True, True]
    assert [rules.violation("9990000050"), rules.violation("9990000051")] == [None, PERSON.violation("9990000051")]


@pytest.mark.parametrize(
    ("expression", "values", "holds"),
    [
        ("!this.matches('^a') && this.size() == 1", ["a", "b", "bb"], [False, True, False]),
        (
            "this.matches('^[0-9]{0,2}$') || this.matches('^[0-9]{4}$')",
            ["", "12", "123", "1234"],
            [True, True, False, True],
        ),
        ("int(this) - 1 - 1 == 3", ["5", "6", "x"], [True, False, None]),
        ("int(this) / 2 * 2 == int(this) % 3 + 4", ["5", "6", "4"], [False, False, False]),
        ("int(this) + 2 * 3 == 7 || this == 'x'", ["1", "3", "x", "y"], [True, False, True, None]),
        ("this.size() == 0 || int(this) > 3", ["", "4", "3", "-4"], [True, True, False, None]),
        ("int(this) in (this.size() == 1 ? [1, 2] : [30])", ["1", "3", "30", "12"], [True, False, True, False]),
        ("this.size() < 2 ? this != 'a' : this.size() >= 3", ["a", "b", "bb", "bbb"], [False, True, False, True]),
        ("[int(this), 2].all(n, n <= 2)", ["1", "3"], [True, False]),
    ],
)
def test_cel_semantics(expression: str, values: list[str], holds: list[bool | None]) -> None:
    """Compiled expressions have the semantics of CEL."""
    assert cel.compile_rule(expression)(pa.array(values)).to_pylist() == holds


def test_overflow() -> None:
    """An integer overflow raises an error, so that the values are validated one by one."""
    with pytest.raises(pa.ArrowInvalid):
        cel.compile_rule("int(this) * 1000000000 > 0")(pa.array(["999999999999999999"]))
