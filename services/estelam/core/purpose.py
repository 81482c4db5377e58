"""Texts of the purpose metadata: any text of 1 to 64 characters, percent-encoded (RFC 3986): gRPC takes ASCII only.

Texts are in Unicode's normal form C, in which the same text always has the same keyed hash. Text of the characters
`0-9 A-Z a-z . _ ~ : / -` is its own encoding.
"""

import re
import unicodedata
from urllib.parse import quote, unquote_to_bytes

from estelam.core.normalize import check_line

MAX_CHARACTERS = 64
PATTERN = "^(?:[0-9A-Za-z._~:/-]|%[0-9A-Fa-f]{2}){1,768}$"
"""The form of an encoded text, as a regular expression of JSON Schema; a character takes up to four bytes."""

_ENCODED = re.compile(PATTERN[1:-1])
_SAFE = ":/"  # beside letters, digits and . _ ~ -


def check_purpose(text: str) -> str:
    """Return *text* in normal form C.

    Raises:
        ValueError: it is blank, longer than 64 characters, or has a character that is not visible.
    """
    return check_line(unicodedata.normalize("NFC", text), MAX_CHARACTERS)


def encode_purpose(text: str) -> str:
    """Return *text* as metadata.

    Raises:
        ValueError: see `check_purpose`.
    """
    return quote(check_purpose(text), safe=_SAFE)


def decode_purpose(value: str) -> str:
    """Return the text that the metadata *value* encodes.

    Raises:
        ValueError: it is not an encoded text; see also `check_purpose`.
    """
    if not _ENCODED.fullmatch(value):
        raise ValueError("is not percent-encoded")
    return check_purpose(unquote_to_bytes(value).decode("utf-8"))


def encode_header(value: str) -> str:
    """Return an HTTP header's *value*, its bytes as Latin-1, as metadata: raw characters are encoded, escapes stay."""
    return quote(value.encode("latin-1"), safe=f"{_SAFE}%")
