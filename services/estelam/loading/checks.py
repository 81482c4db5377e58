"""Checks that concern several columns of a row; each runs over a whole batch of rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Mask = Any
"""A column of booleans."""
Columns = Mapping[str, Any]
"""The normalized columns of a batch of rows, by name; all values are text."""


@dataclass(frozen=True, slots=True)
class Check:
    """A reason to reject rows."""

    column: str
    """The column that the reason is reported for."""
    reason: str
    """A constant text that contains no value of the row."""
    failed: Callable[[Columns], Mask]
    """Returns true for the rows to reject."""
