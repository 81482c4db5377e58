"""How the parties of a case in a data file relate to the stored ones."""

from enum import StrEnum


class Parties(StrEnum):
    """What a file says of the parties of a case that it names."""

    MERGED = "merged"
    """It adds to the stored parties."""
    REPLACED = "replaced"
    """It names all of them: stored parties that it lacks are removed."""
