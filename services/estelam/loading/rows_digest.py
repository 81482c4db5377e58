"""Digest of a file's rows, by which they are recognized in any form and order.

It is the sum, modulo 2^256, of the SHA-256 of each row's normalized cells: the same whatever the file's format,
compression, encoding mark, separator, quotes, line ends, columns' order and rows' order, and kept in 32 bytes while a
file is read. It recognizes mistakes, not forgeries: who writes a file can change a row.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_SEPARATOR = "\x1f"
"""Between the cells of a row; no valid cell has a control character."""


class RowsDigest:
    """The digest of the rows added so far."""

    def __init__(self) -> None:
        self._sum = 0

    def add(self, columns: Iterable[Any]) -> None:
        """Add valid rows, given as their normalized *columns* in the order of the feed."""
        rows = pc.binary_join_element_wise(*columns, _SEPARATOR).cast(pa.binary()).to_pylist()
        self._sum += sum(map(int.from_bytes, [sha256(row).digest() for row in rows]))

    def hexdigest(self) -> str:
        """Return the digest in 64 hexadecimal digits."""
        return f"{self._sum % 2**256:064x}"
