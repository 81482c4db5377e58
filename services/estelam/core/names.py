"""Names as people give them: an unknown one is refused with the closest known name, or all of them."""

from collections.abc import Collection
from difflib import get_close_matches

from estelam.core.exceptions import UsageError

MAX_NAME_LENGTH = 64
"""No known name is longer; an unknown one is repeated in a message only up to this length."""


class UnknownNameError(UsageError):
    """Nothing has the name that was given."""


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Return the closest of *known* as the end of a message about *name*; nothing where none is close."""
    close = get_close_matches(name[:MAX_NAME_LENGTH], known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def unknown_name(kind: str, name: str, known: Collection[str]) -> UnknownNameError:
    """Return the error for *name*, which no *kind* has: it suggests the closest of *known*, or lists them all."""
    shown = name[:MAX_NAME_LENGTH]
    advice = did_you_mean(shown, known) or f"; known: {', '.join(known) or 'none'}"
    return UnknownNameError(f"no {kind} is named {shown}{advice}")
