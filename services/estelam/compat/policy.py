"""The rules for change, as figures; docs/change-policy.md says them in words."""

from datetime import timedelta

MIN_NOTICE = timedelta(days=180)
"""From the day on which callers are told of a method's end to its sunset, at least."""
OVERLAP = timedelta(days=90)
"""For which a replacement is in service beside what it replaces, at least."""
