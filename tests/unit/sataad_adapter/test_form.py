"""The officer's form: amounts in words, and the list of agencies."""

from pathlib import Path

import pytest

from estelam.core.clock import Clock
from sataad_adapter.web.agencies import Agencies, AgencyListError, read_agencies
from sataad_adapter.web.number_words import amount_lines, number_words

IN_WORDS = {
    0: ("صفر", "zero"),
    10: ("ده", "ten"),
    21: ("بیست و یک", "twenty-one"),
    100: ("یکصد", "one hundred"),
    1_000: ("یک هزار", "one thousand"),
    1_001_000: ("یک میلیون و یک هزار", "one million one thousand"),
    2_500_000_000: ("دو میلیارد و پانصد میلیون", "two billion five hundred million"),
    12 * 10**12 + 7: ("دوازده هزار میلیارد و هفت", "twelve trillion seven"),
    9 * 10**18 + 300: ("نه میلیارد میلیارد و سیصد", "nine quintillion three hundred"),
}


def test_amount_in_words() -> None:
    """Zeros, hundreds and every scale are read out in both languages, and a whole amount in tomans too."""
    assert IN_WORDS == {value: (number_words(value, "fa"), number_words(value, "en")) for value in IN_WORDS}
    assert ["۱۲۰ ریال: یکصد و بیست ریال", "۱۲ تومان: دوازده تومان"] == amount_lines(120, "fa")
    assert ["125 rials: one hundred twenty-five rials"] == amount_lines(125, "en")


def test_agencies(tmp_path: Path) -> None:
    """An agency is found by its name, and a list too long for a page is searched."""
    file = tmp_path / "agencies.csv"
    file.write_text("name,agency_id\nشرکت نمونه‌ای,A-1\n" + "".join(f"Agency {n},B-{n}\n" for n in range(500)), "utf-8")
    agencies = Agencies(file, Clock())

    assert "A-1" == agencies.id_of(" شركت نمونه‌اي")
    assert "Agency" == agencies.id_of("Agency")
    assert {"A-1": "شرکت نمونه‌ای"} == agencies.suggested("نمونه")
    assert {} == agencies.suggested("")
    assert ("شرکت نمونه‌ای", "") == (agencies.name("A-1"), agencies.name("C"))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("id,name\n", "line 1: the header"),
        ("agency_id,name\na b,x\n", "line 2: agency_id"),
        ("agency_id,name\nA,x\nA,y\n", "line 3: the agency A is there twice"),
        ("agency_id,name\nA,\n", "line 2: the agency A has no name"),
    ],
)
def test_wrong_agency_list(tmp_path: Path, content: str, problem: str) -> None:
    """A list of another form is refused with its line."""
    file = tmp_path / "agencies.csv"
    file.write_text(content, "utf-8")

    with pytest.raises(AgencyListError, match=problem):
        read_agencies(file)
