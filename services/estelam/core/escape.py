"""Text from files, callers and servers, made harmless where it is shown: on terminals, and in spreadsheets."""

import json
from typing import Any

from estelam.core.normalize import find_invisible

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""By one of these, also in full width, a spreadsheet recognizes a formula."""


def visible(text: str) -> str:
    """Return *text* with the escapes of Python for each character that could control a terminal or mislead a reader.

    These are the characters that `find_invisible` finds: line breaks and tabs too, but not the joiners of Persian.
    """
    if find_invisible(text) is None:
        return text
    return "".join(each if find_invisible(each) is None else _escaped(each) for each in text)


def visible_lines(text: str) -> str:
    """Return *text* as `visible` does, but for its line breaks."""
    return "\n".join(map(visible, text.split("\n")))


def visible_json(text: str) -> str:
    """Return the JSON document *text*, of one line, with the escapes of JSON for what `visible` escapes."""
    if find_invisible(text) is None:
        return text
    return "".join(each if find_invisible(each) is None else json.dumps(each)[1:-1] for each in text)


def spreadsheet_cell(value: Any) -> Any:
    """Return *value* for a cell of CSV; a text is `visible`, and marked with an apostrophe if it may be a formula."""
    if not isinstance(value, str):
        return value
    shown = visible(value)
    return f"'{shown}" if value.startswith(_FORMULA_STARTS) else shown


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
