"""Normalization of text that people type and files hold: Persian or Arabic digits and letters, invisible characters.

Every edge where text enters uses it: commands, pages, data files, settings. The contract accepts strict ASCII.
"""

import re
import unicodedata

from persiantools import digits

_JOINERS = "\u200c\u200d"
"""The zero-width non-joiner and joiner: invisible, and part of Persian spelling."""
_INVISIBLE = {"Cc", "Cf", "Zl", "Zp"}
"""Unicode categories without a glyph: control and format characters, line and paragraph separators."""
_UNDEFINED = {"Cn", "Co", "Cs"}
"""Unicode categories of what is no defined character: unassigned and private-use code points, and surrogates."""
_IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""What Unicode's Default_Ignorable_Code_Point has beside these categories: fillers, joiners, variation selectors."""
_BLANKS_AND_DASHES = {"Zs", "Pd", "Pc"}
_AMOUNT = re.compile(r"[0-9]+|[1-9][0-9]{0,2}([ _,'])[0-9]{3}(?:\1[0-9]{3})*")
"""Digits alone, or in groups of three with one kind of separator. A point, slash or sign would change the amount."""
INT64_MAX = 2**63 - 1
"""The greatest amount that a request or a store can hold."""
_COMMAS = str.maketrans({"\u060c": ",", "\u066c": ","})
"""The Persian comma and the Arabic separator of thousands."""
_PERSIAN_LETTERS = str.maketrans({"\u064a": "ی", "\u0649": "ی", "\u0643": "ک"})
"""Arabic yeh, alef maksura and kaf, as Arabic keyboards write them."""


def normalize_identifier(text: str) -> str:
    """Return an identifier as the contract accepts it: ASCII digits, no invisible characters, one blank for several."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(character for character in text if character.isspace() or not _is_invisible(character))
    return digits.fa_to_en(digits.ar_to_fa(" ".join(text.split())))


def normalize_digits(text: str) -> str:
    """Return an identifier of digits as `normalize_identifier` does, without blanks and dashes between the digits."""
    plain = normalize_identifier(text)
    if plain.isascii() and plain.isdigit():
        return plain
    return "".join(character for character in plain if unicodedata.category(character) not in _BLANKS_AND_DASHES)


def normalize_name(text: str) -> str:
    """Return a name or an address in Persian letters, without blanks around it; its digits and other letters stay."""
    return unicodedata.normalize("NFC", text.translate(_PERSIAN_LETTERS)).strip()


def normalize_text(text: str) -> str:
    """Return a free text in normal form C, without invisible characters but joiners, and with one blank for several."""
    kept = (each for each in text if each.isspace() or each in _JOINERS or not _is_invisible(each))
    return unicodedata.normalize("NFC", " ".join("".join(kept).split()))


def find_invisible(text: str) -> int | None:
    """Return the index of the first character that a text of one line can't show for what it is; None without one.

    These are control characters, direction marks and other format characters except the joiners of Persian spelling,
    line and paragraph separators, characters that Unicode shows as nothing, and code points that it has assigned to no
    character. They make a text look different from what it is, or mean something else to each reader.
    """
    if text.isprintable() and not _IGNORABLE.search(text):
        return None
    found = (index for index, character in enumerate(text) if _is_unreadable(character) and character not in _JOINERS)
    return next(found, None)


def check_line(text: str, at_most: int) -> str:
    """Return *text* if it is one line of 1 to *at_most* characters that all show what they are.

    Raises:
        ValueError: it is blank, longer, or has a character that `find_invisible` finds.
    """
    if not text.strip():
        raise ValueError("is empty")
    if len(text) > at_most:
        raise ValueError(f"is longer than {at_most} characters")
    if find_invisible(text) is not None:
        raise ValueError("has an invisible character, such as a line break or a direction mark")
    return text


class TooLargeError(ValueError):
    """A whole number is more than INT64_MAX."""


def parse_amount(text: str) -> int:
    """Parse an amount of digits alone, or of groups of three digits with one kind of separator between them.

    Raises:
        TooLargeError: it is more than INT64_MAX.
        ValueError: *text* is no such number.
    """
    plain = normalize_identifier(text).translate(_COMMAS)
    if not _AMOUNT.fullmatch(plain):
        raise ValueError("not a whole number")
    figures = re.sub("[^0-9]", "", plain).lstrip("0") or "0"
    if len(figures) > len(str(INT64_MAX)) or int(figures) > INT64_MAX:
        raise TooLargeError("not a whole number up to 2^63 - 1")
    return int(figures)


def amount_rule(text: str) -> str | None:
    """Return the rule of `estelam.core.rule_texts` that *text* violates; None if a request can hold it."""
    try:
        parse_amount(text)
    except TooLargeError:
        return "amount.large"
    except ValueError:
        return "amount.form"
    return None


def _is_unreadable(character: str) -> bool:
    return unicodedata.category(character) in _UNDEFINED or _is_invisible(character)


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in _INVISIBLE or _IGNORABLE.match(character) is not None
