"""What a caller is told of a method's end: the fields `deprecation` (RFC 9745) and `sunset` (RFC 8594)."""

from datetime import UTC, date, datetime, time
from email.utils import format_datetime
from functools import lru_cache

from estelam.core.clock import TEHRAN


@lru_cache(maxsize=256)
def deprecation_metadata(deprecated: date | None, sunset: date | None) -> tuple[tuple[str, str], ...]:
    """The fields that say from which day in Iran on a method is deprecated, and from which on it may be gone."""
    found = []
    if deprecated is not None:
        found.append(("deprecation", f"@{int(_beginning(deprecated).timestamp())}"))
    if sunset is not None:
        found.append(("sunset", format_datetime(_beginning(sunset).astimezone(UTC), usegmt=True)))
    return tuple(found)


def _beginning(day: date) -> datetime:
    return datetime.combine(day, time(), TEHRAN)
