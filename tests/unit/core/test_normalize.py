"""Normalization of human input."""

import re
import sys
import unicodedata

import pytest

from estelam.core import normalize


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("۹۹۹۰۰۰۰۰۱۸", "9990000018"),
        ("٩٩٩٠٠٠٠٠١٨", "9990000018"),
        (" 999-000001-8 ", "9990000018"),
        ("999\u200c0000\u200e018", "9990000018"),
        ("1404 0000 0000 0017", "1404000000000017"),
        ("999000001²", "999000001²"),
        ("۱۴۰۴–۰۰۰۰‑۰۰۰۰—۰۰۱۷", "1404000000000017"),
        ("1404000000000017\r\n", "1404000000000017"),
        ("14040000\t00000017", "1404000000000017"),
    ],
)
def test_digits(typed: str, expected: str) -> None:
    """Digits are converted and separators removed, and nothing else is changed."""
    assert expected == normalize.normalize_digits(typed)


def test_identifier_keeps_hyphen() -> None:
    """An identifier with letters keeps its hyphen."""
    assert normalize.normalize_identifier("\u200fSETAD-۰۰۰۱ ") == "SETAD-0001"


@pytest.mark.parametrize("typed", ["2,500,000,000", "۲٬۵۰۰٬۰۰۰٬۰۰۰", "۲،۵۰۰،۰۰۰،۰۰۰", "2 500 000 000", "2500000000"])
def test_amount(typed: str) -> None:
    """An amount is parsed in digits alone, and with separators of thousands."""
    assert normalize.parse_amount(typed) == 2_500_000_000


@pytest.mark.parametrize("typed", ["", "x", "1e9", "²", "1" * 20, "ده", "2.5", "۲/۵", "۲٫۵", "-5"])
def test_bad_amount(typed: str) -> None:
    """Anything but a whole number is refused as an amount."""
    with pytest.raises(ValueError, match="whole number"):
        normalize.parse_amount(typed)


@pytest.mark.parametrize("separator", " ,_'٬،")
@pytest.mark.parametrize("typed", ["2,5", "2,500,00", "25,00,000", "2500,000", "2,500000", "0,250", "۲,۵۰"])
def test_misplaced_separators(typed: str, separator: str) -> None:
    """An amount whose separators are not between all its groups of three digits is refused: a digit may be missing."""
    with pytest.raises(ValueError, match="whole number"):
        normalize.parse_amount(typed.replace(",", separator))


@pytest.mark.parametrize("typed", [",250", "250,", "2,,500", ",", "2,500_000", "2 500,000", "2'500٬000"])
def test_stray_and_mixed_separators(typed: str) -> None:
    """An amount with a separator at an end, with two in a row or with two kinds of them is refused."""
    with pytest.raises(ValueError, match="whole number"):
        normalize.parse_amount(typed)


INVISIBLE = [
    character
    for character in map(chr, range(sys.maxunicode + 1))
    if unicodedata.category(character) in {"Cf", "Cc", "Zl", "Zp"}
    or re.search("VARIATION SELECTOR|HANGUL .*FILLER|GRAPHEME JOINER", unicodedata.name(character, ""))
]
UNDEFINED = "\u0378\ue000\uf8ff\ufdd0\ufffe\uffff\U0003fffe\U000f0000\U0010fffd\udc80"
"""Unassigned and private-use code points, noncharacters, and a surrogate."""


def test_every_invisible_character() -> None:
    """Whatever character has no glyph, an identifier is the digits that are seen."""
    assert "\u061c" in INVISIBLE
    assert len(INVISIBLE) > 400
    for character in INVISIBLE:
        assert "999" == normalize.normalize_digits(f"{character}9{character}99{character}")
        if not character.isspace():
            assert "SETAD-1" == normalize.normalize_identifier(f"{character}SET{character}AD-1")


def test_every_space() -> None:
    """Whatever the space, it separates digits and stands before and after an identifier without effect."""
    for character in filter(str.isspace, map(chr, range(sys.maxunicode + 1))):
        assert "99" == normalize.normalize_digits(f"{character}9{character}9{character}")
        assert "SETAD-1" == normalize.normalize_identifier(f"{character}SETAD-1{character}")
        assert 1000 == normalize.parse_amount(f"{character}1{character}000")


def test_two_words_stay_two() -> None:
    """Two words of an identifier are not joined, so that the contract refuses them."""
    assert "SETAD 1" == normalize.normalize_identifier("SETAD\n1")


def test_name() -> None:
    """A name has Persian letters and keeps its joiners, digits and the spaces within."""
    assert "علی\u200cاکبر کریمی ۲" == normalize.normalize_name(" علي\u200cاكبر كريمى ۲\u00a0")


def test_invisible_in_name() -> None:
    """Every invisible character of a name is found, except the joiners of Persian spelling."""
    for character in INVISIBLE:
        found = normalize.find_invisible(f"آرش{character}نمونه\u200cای")
        assert (None if character in "\u200c\u200d" else 3) == found
    for character in UNDEFINED:
        assert normalize.find_invisible(f"آرش{character}") == 3
    assert normalize.find_invisible("شرکت نمونه\u00a0۲، پلاک ۱ (تهران)") is None


def test_line() -> None:
    """A text of one line may have Persian joiners, and is refused if it is blank, too long or not visible."""
    assert normalize.check_line("جابه\u200cجایی", 9) == "جابه\u200cجایی"
    for text, why in (
        ("\u00a0", "empty"),
        ("ab" * 5, "longer than 9"),
        ("a\u202eb", "invisible"),
        ("a\nb", "invisible"),
    ):
        with pytest.raises(ValueError, match=why):
            normalize.check_line(text, 9)
