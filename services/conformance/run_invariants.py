"""What must hold over a whole run: nothing that is new each time occurs twice, and a ledger only grows."""

import hashlib
import threading
from bisect import bisect_left, insort
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from conformance.mismatch import LENGTH, METADATA, RECORDED, UNDISCLOSED, Mismatch
from estelam.core.clock import to_datetime
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.receipts.receipt import VerifiedReceipt
from estelam.receipts.tree import leaf_hash, node_hash

CLOCK_TOLERANCE = timedelta(seconds=60)


class InquiryIds:
    """The ids of all inquiries of the run."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def check(self, inquiry_id: str, clocks: Sequence[datetime]) -> Iterator[Mismatch]:
        """Yield what is wrong with a new *inquiry_id*, a UUID of version 7, at the time of one of *clocks*."""
        with self._lock:
            is_repeated = inquiry_id in self._seen
            self._seen.add(inquiry_id)
        if is_repeated:
            yield Mismatch("an inquiry id of its own", f"{inquiry_id}, which an earlier reply has", METADATA)
        stated = _time_of(inquiry_id)
        if clocks and all(stated is None or abs(stated - clock) > CLOCK_TOLERANCE for clock in clocks):
            wanted = " or ".join(f"{clock:%Y-%m-%dT%H:%M:%SZ}" for clock in clocks)
            found = f"one of {stated:%Y-%m-%dT%H:%M:%SZ}" if stated else f"{inquiry_id}, after the year 9999"
            yield Mismatch(f"an inquiry id of its time, {wanted}", found, METADATA)


def _time_of(inquiry_id: str) -> datetime | None:
    """Return the time that a UUID of version 7 states; None if that is after the year 9999."""
    try:
        return to_datetime((UUID(inquiry_id).int >> 80) * 1000)
    except ValueError:
        return None


class AnswerShapes:
    """What an eavesdropper sees of the answers: their length and trailers, which must not depend on the answer."""

    def __init__(self) -> None:
        self._first: dict[Hashable, tuple[tuple[str, ...], int, str]] = {}
        self._lock = threading.Lock()

    def check(self, kind: Hashable, answer: str, keys: tuple[str, ...], length: int) -> Iterator[Mismatch]:
        """Yield a mismatch if an *answer* differs from the first of the same *kind* in its trailers or its length."""
        with self._lock:
            first_keys, first_length, first = self._first.setdefault(kind, (keys, length, answer))
        if keys != first_keys:
            wanted = f"the trailers of an earlier {first}: {', '.join(first_keys)}"
            yield Mismatch(wanted, f"those of this {answer}: {', '.join(keys)}", LENGTH)
        elif length != first_length:
            yield Mismatch(f"{first_length} bytes, as an earlier {first} had", f"{answer} in {length} bytes", LENGTH)


class Salts:
    """The salts of all receipts of the run."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        self._lock = threading.Lock()

    def check(self, receipt: pb.Receipt, entry: pb.Entry) -> Iterator[Mismatch]:
        """Yield a mismatch if the salt of *receipt* occurred before, or follows from what is known without it."""
        with self._lock:
            is_repeated = receipt.salt in self._seen
            self._seen.add(receipt.salt)
        if is_repeated:
            yield Mismatch("a random salt", "the salt of an earlier receipt", UNDISCLOSED)
        known = (receipt.request, receipt.reply, entry.inquiry_id, receipt.inquiry_id.encode(), entry.caller.encode())
        hashes = [hashlib.new(name, each).digest() for name in ("md5", "sha1", "sha256") for each in known]
        if any(receipt.salt in each for each in (*hashes, *known, entry.keys_commitment)):
            yield Mismatch("a random salt", "a function of the reply, the request or the inquiry id", UNDISCLOSED)


_ENOUGH_SALTS = 16
"""In so many random salts no byte is the same in each."""


def _fixed_bytes(salts: Sequence[bytes]) -> list[int]:
    return [place for place, values in enumerate(zip(*salts, strict=False)) if len(set(values)) == 1]


@dataclass(slots=True)
class LedgerHistory:
    """What the receipts of one ledger show of it: it only grows, each checkpoint contains every earlier one."""

    roots: dict[int, bytes] = field(default_factory=dict)
    """The root of the tree of each size."""
    keys_commitments: set[bytes] = field(default_factory=set)
    _salts: list[bytes] = field(default_factory=list)
    _entries: list[tuple[int, int]] = field(default_factory=list)
    """Index and time of each entry, by index."""
    _nodes: dict[tuple[int, int], bytes] = field(default_factory=dict)
    """The hash of each complete subtree that is known, from its first leaf to before its last: it never changes."""

    def add(self, verified: VerifiedReceipt, receipt: pb.Receipt) -> Iterator[Mismatch]:
        """Yield what in a valid *receipt* contradicts the earlier ones."""
        entry, head, index = verified.entry, verified.checkpoint, verified.index
        place = bisect_left(self._entries, (index, 0))
        before, after = self._entries[place - 1 : place] if place else [], self._entries[place : place + 1]
        if after and after[0][0] == index:
            yield Mismatch("a new entry in the ledger", f"entry {index}, which an earlier receipt has", RECORDED)
        else:
            insort(self._entries, (index, entry.answered_at_micros))
        if before and before[0][1] > entry.answered_at_micros:
            wrong = f"entry {index} at {_time(entry.answered_at_micros)}, entry {before[0][0]} at {_time(before[0][1])}"
            yield Mismatch("entries in the order of their times", wrong, RECORDED)
        elif after and after[0][1] < entry.answered_at_micros:
            wrong = f"entry {index} at {_time(entry.answered_at_micros)}, entry {after[0][0]} at {_time(after[0][1])}"
            yield Mismatch("entries in the order of their times", wrong, RECORDED)
        if entry.keys_commitment in self.keys_commitments:
            wrong = f"entry {index} with the commitment of another entry"
            yield Mismatch("search keys with a salt of their own", wrong, UNDISCLOSED)
        self.keys_commitments.add(entry.keys_commitment)
        self._salts.append(receipt.salt)
        if len(self._salts) == _ENOUGH_SALTS and (fixed := _fixed_bytes(self._salts)):
            yield Mismatch("random salts", f"byte {fixed[0]} equal in each of {_ENOUGH_SALTS}", UNDISCLOSED)
        if self.roots.setdefault(head.size, head.root) != head.root:
            wrong = f"a tree of {head.size} entries with a different root than before"
            yield Mismatch("one tree of each size", wrong, RECORDED)
        found: dict[tuple[int, int], bytes] = {}
        _walk(index, 0, head.size, leaf_hash(receipt.entry), receipt.inclusion_path, found)
        if different := [span for span, node in found.items() if not self._add_node(span, node)]:
            first, end = min(different)
            wrong = f"entries {first} to {end - 1} with a different hash than before"
            yield Mismatch("a checkpoint that is consistent with every earlier one", wrong, RECORDED)

    def _add_node(self, span: tuple[int, int], node: bytes) -> bool:
        """Add a complete subtree, and those that follow from it; return whether it agrees with what is known."""
        if span in self._nodes:
            return self._nodes[span] == node
        self._nodes[span] = node
        first, end = span
        width = end - first
        if first // width % 2:
            sibling, parent = (first - width, first), (first - width, end)
        else:
            sibling, parent = (end, end + width), (first, end + width)
        other = self._nodes.get(sibling)
        if other is None:
            return True
        return self._add_node(parent, node_hash(*((other, node) if sibling < span else (node, other))))


def _walk(
    index: int, first: int, end: int, leaf: bytes, path: Sequence[bytes], found: dict[tuple[int, int], bytes]
) -> bytes:
    """Return the hash of the leaves from *first* to before *end*, and add the complete subtrees to *found*."""
    if end - first == 1:
        node = leaf
    else:
        middle = first + (1 << (end - first - 1).bit_length() - 1)
        in_left = index < middle
        own = _walk(index, *((first, middle) if in_left else (middle, end)), leaf, path[:-1], found)
        _add_complete(found, (middle, end) if in_left else (first, middle), path[-1])
        node = node_hash(own, path[-1]) if in_left else node_hash(path[-1], own)
    _add_complete(found, (first, end), node)
    return node


def _add_complete(found: dict[tuple[int, int], bytes], span: tuple[int, int], node: bytes) -> None:
    if (span[1] - span[0]).bit_count() == 1:
        found[span] = node


def _time(micros: int) -> str:
    return f"{to_datetime(micros):%H:%M:%S.%f}"
