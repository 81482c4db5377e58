"""The Go project's packages for transparency logs, golang.org/x/mod/sumdb/note and tlog, as verifier of our ledgers."""

import base64
import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.receipt_programs import built_go, has_go

needs_go = pytest.mark.skipif(not has_go(), reason="Go or golang.org/x/mod is not on this machine")


def signed_note(key: str, note: str) -> dict[str, Any]:
    """The claim that *key*, in C2SP's form, signed or cosigned *note*."""
    return {"Key": key, "Note": note}


def contains(leaf: bytes, index: int, size: int, root: bytes, path: Sequence[bytes]) -> dict[str, Any]:
    """The claim that the tree of *size* leaves with *root* has *leaf* at *index*."""
    return {"Leaf": leaf, "Index": index, "Size": size, "Root": root, "Path": path}


def continues(old: int, old_root: bytes, size: int, root: bytes, path: Sequence[bytes]) -> dict[str, Any]:
    """The claim that the tree of *size* leaves with *root* begins with that of *old* leaves with *old_root*."""
    return {"Old": old, "OldRoot": old_root, "Size": size, "Root": root, "Path": path}


def verdicts(claims: Iterable[Mapping[str, Any]]) -> list[bool]:
    """Return whether Go's packages accept each of *claims*."""
    program = built_go(Path(__file__).with_name("verify_log.go"))
    lines = "\n".join(json.dumps(claim, default=lambda part: base64.b64encode(part).decode()) for claim in claims)
    done = subprocess.run([program], input=lines, capture_output=True, text=True, timeout=60, check=True)
    return [word == "true" for word in done.stdout.split()]
