"""Names of the catalogue as people give them: an unknown one is refused with the known names."""

from collections.abc import Collection
from difflib import get_close_matches

from estelam.core.exceptions import UsageError

MAX_NAME_LENGTH = 64
"""No name of the catalogue is longer; an unknown name is repeated in a message only up to this length."""


class UnknownNameError(UsageError):
    """The catalogue has no such name."""


def unknown_name(kind: str, name: str, known: Collection[str]) -> UnknownNameError:
    """Return the error for *name*, which no *kind* has: it suggests the closest of *known*, or lists them all."""
    shown = name[:MAX_NAME_LENGTH]
    if close := get_close_matches(shown, known, n=1):
        return UnknownNameError(f"no {kind} is named {shown}; did you mean {close[0]}?")
    return UnknownNameError(f"no {kind} is named {shown}; known: {', '.join(known) or 'none'}")
