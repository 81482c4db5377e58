"""Inclusion and consistency proofs as text, in the forms of C2SP."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from estelam.core.note_keys import decode_base64, encode_base64
from estelam.receipts.tree import HASH_BYTES, MAX_SIZE

MAX_HASHES = 63
"""The hashes of a proof that are read."""
_CONSISTENCY = re.compile(
    rf"old (?P<old>0|[1-9][0-9]{{0,18}})\n(?P<hashes>(?:\S+\n){{0,{MAX_HASHES}}})\n(?P<note>(?s:.+))"
)

_INCLUSION = re.compile(
    r"c2sp\.org/tlog-proof@v1\n(?:extra (?P<entry>\S+)\n)?index (?P<index>0|[1-9][0-9]{0,18})\n"
    rf"(?P<hashes>(?:\S+\n){{0,{MAX_HASHES}}})\n(?P<note>(?s:.+))"
)


class ConsistencyProof(NamedTuple):
    """A proof that the tree of *note* begins with that of *old* entries; it is not verified."""

    old: int
    path: list[bytes]
    note: str


class InclusionProof(NamedTuple):
    """A proof that the tree of *note* has an entry at *index*; it is not verified."""

    index: int  # type: ignore[assignment]  # it hides the method of tuples
    path: list[bytes]
    note: str
    entry: bytes
    """The serialized entry; empty if the proof does not hold it."""


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


def parse_proof(text: str) -> ConsistencyProof | InclusionProof:
    """Return the proof in *text*, which is as `inclusion_text` or `consistency_text` writes it.

    Raises:
        ValueError: it is not.
    """
    found = _INCLUSION.fullmatch(text)
    if found is None:
        return parse_consistency(text)
    path = [decode_base64(line) for line in found["hashes"].splitlines()]
    if any(len(each) != HASH_BYTES for each in path):
        raise ValueError("a hash of the inclusion proof has a wrong length")
    return InclusionProof(int(found["index"]), path, found["note"], decode_base64(found["entry"] or ""))


def _lines(hashes: Iterable[bytes]) -> str:
    return "".join(f"{encode_base64(each)}\n" for each in hashes)
