"""Values of options that several commands have."""

import pytest
import typer

from estelam.cli.options import number, whole_number


@pytest.mark.parametrize(("text", "value"), [("2.5", 2.5), ("۲٫۵", 2.5), ("٣", 3.0), (" ۰.۵ ", 0.5), ("3600", 3600.0)])
def test_numbers_in_any_digits(text: str, value: float) -> None:
    """A number is read in ASCII, Persian and Arabic digits."""
    assert value == number(0, 3600)(text)


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "1e3", "-1", "2,5", "3601", "۳۶۰۱"])
def test_other_numbers_are_refused(text: str) -> None:
    """What is no number in the range is refused with the range."""
    with pytest.raises(typer.BadParameter, match="give a number from 0 to 3,600"):
        number(0, 3600)(text)


@pytest.mark.parametrize("text", ["", "x", "2.5", "-1", "101"])
def test_other_whole_numbers_are_refused(text: str) -> None:
    """What is no whole number in the range is refused with the range."""
    assert 100 == whole_number(0, 100)("۱۰۰")
    with pytest.raises(typer.BadParameter, match="give a whole number from 0 to 100"):
        whole_number(0, 100)(text)
