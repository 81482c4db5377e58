"""Inclusion and consistency proofs as text, in the forms of C2SP."""

import base64
from collections.abc import Iterable


def inclusion_text(index: int, path: Iterable[bytes], note: str, *, entry: bytes = b"") -> str:
    """Return an inclusion proof (tlog-proof); its line `extra` holds the serialized *entry*, if given."""
    extra = f"extra {_encode(entry)}\n" if entry else ""
    return f"c2sp.org/tlog-proof@v1\n{extra}index {index}\n{_lines(path)}\n{note}"


def consistency_text(old: int, path: Iterable[bytes], note: str) -> str:
    """Return the proof that the tree of *note* begins with that of *old* entries, as tlog-witness takes it."""
    return f"old {old}\n{_lines(path)}\n{note}"


def _lines(hashes: Iterable[bytes]) -> str:
    return "".join(f"{_encode(each)}\n" for each in hashes)


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
