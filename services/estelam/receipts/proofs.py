"""Inclusion and consistency proofs as text, in the forms of C2SP."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from estelam.core.note_keys import decode_base64, encode_base64
from estelam.receipts.tree import HASH_BYTES, MAX_SIZE

MAX_HASHES = 63
"""The hashes of a consistency proof that are read."""
_CONSISTENCY = re.compile(
    rf"old (?P<old>0|[1-9][0-9]{{0,18}})\n(?P<hashes>(?:\S+\n){{0,{MAX_HASHES}}})\n(?P<note>(?s:.+))"
)


class ConsistencyProof(NamedTuple):
    """A proof that the tree of *note* begins with that of *old* entries; it is not verified."""

    old: int
    path: list[bytes]
    note: str


def inclusion_text(index: int, path: Iterable[bytes], note: str, *, entry: bytes = b"") -> str:
    """Return an inclusion proof (tlog-proof); its line `extra` holds the serialized *entry*, if given."""
    extra = f"extra {encode_base64(entry)}\n" if entry else ""
    return f"c2sp.org/tlog-proof@v1\n{extra}index {index}\n{_lines(path)}\n{note}"


def consistency_text(old: int, path: Iterable[bytes], note: str) -> str:
    """Return the proof that the tree of *note* begins with that of *old* entries, as tlog-witness takes it."""
    return f"old {old}\n{_lines(path)}\n{note}"


def parse_consistency(text: str) -> ConsistencyProof:
    """Return the consistency proof in *text*, which is as `consistency_text` writes it.

    Raises:
        ValueError: it is not.
    """
    found = _CONSISTENCY.fullmatch(text)
    if found is None or int(found["old"]) > MAX_SIZE:
        raise ValueError("not a consistency proof")
    path = [decode_base64(line) for line in found["hashes"].splitlines()]
    if any(len(each) != HASH_BYTES for each in path):
        raise ValueError("a hash of the consistency proof has a wrong length")
    return ConsistencyProof(int(found["old"]), path, found["note"])


def _lines(hashes: Iterable[bytes]) -> str:
    return "".join(f"{encode_base64(each)}\n" for each in hashes)
