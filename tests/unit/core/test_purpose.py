"""Texts of the purpose metadata: any text survives the way through gRPC, and one text has one form."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estelam.core.normalize import normalize_text
from estelam.core.purpose import check_purpose, decode_purpose, encode_header, encode_purpose

TEXTS = [
    "tender-17",
    "مناقصه ۱۲",
    "علی‌رضا",
    "user@agency.ir",
    "AGENCY\\user",
    "100%",
    "a, b",
    "é",
    "𐎠",
    "a" * 64,
    "م" * 64,
]


@pytest.mark.parametrize("text", TEXTS)
def test_any_text(text: str) -> None:
    """A text is sent as ASCII and arrives as it is."""
    value = encode_purpose(text)

    assert value.isascii()
    assert text == decode_purpose(value)


@given(st.text(max_size=70))
def test_any_text_at_all(text: str) -> None:
    """Every text that a person types is accepted or refused before it is sent, and arrives as it was checked."""
    plain = normalize_text(text)
    try:
        checked = check_purpose(plain)
    except ValueError:
        return

    assert checked == decode_purpose(encode_purpose(plain)) == unicodedata.normalize("NFC", checked)


@pytest.mark.parametrize("value", ["a", "0aZ._~:/-", "tender/1404:17", "A" * 64])
def test_old_values(value: str) -> None:
    """A value of the old form encodes itself, so its keyed hash is unchanged."""
    assert [value, value] == [encode_purpose(value), decode_purpose(value)]


@pytest.mark.parametrize("value", ["a%41", "%61A", "aA"])
def test_other_spellings(value: str) -> None:
    """Escapes that are not needed give the same text."""
    assert "aA" == decode_purpose(value)


def test_normal_form() -> None:
    """Composed and decomposed characters are the same text."""
    assert decode_purpose("%C3%A9") == decode_purpose("e%CC%81") == "é"


WRONG = [
    "",
    "a b",
    "a,b",
    "a@b",
    "a'b",
    "a%",
    "a%4",
    "a%GG",
    "%FF",
    "%20",
    "a%0A",
    "%E2%80%8F",
    "%ED%A0%80",
    "م",
    "A" * 65,
]


@pytest.mark.parametrize("value", [*WRONG, "%D9%85" * 65])
def test_malformed_value(value: str) -> None:
    """Metadata that encodes no text of 1 to 64 visible characters is refused."""
    with pytest.raises(ValueError, match=r"is |has |can.t decode"):
        decode_purpose(value)


def test_header() -> None:
    """An HTTP header may hold the text itself, in UTF-8, or its encoding."""
    raw = "مناقصه @۱۲".encode().decode("latin-1")

    assert (
        "مناقصه @۱۲"
        == decode_purpose(encode_header(raw))
        == decode_purpose(encode_header(encode_purpose("مناقصه @۱۲")))
    )


def test_typed_text() -> None:
    """Direction marks and line breaks that a paste brings are removed; the joiners of Persian spelling stay."""
    assert "علی‌رضا ۱۲" == normalize_text("\u200fعلی‌رضا \n\u061c ۱۲\ufeff")
