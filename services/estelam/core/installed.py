"""The entry points of what is installed in this process: services, their stores, and commands."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points


@cache
def installed(group: str) -> tuple[EntryPoint, ...]:
    """Return the entry points of *group* by name; the first time reads the metadata of every package, 5 ms."""
    return tuple(sorted(entry_points(group=group), key=lambda entry: entry.name))
