"""From a service's ledger to observations: each entry once, as far as the last head that was seen of it."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from estelam import coverage, receipt
from estelam.clock import to_datetime
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger import block_table, entry_table, header_of
from quality import histogram, store
from quality.faults import Fault, fault_of
from quality.months import minute_of
from quality.store import Freshness, Observation, SeenHead, Tally

ENTRIES_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Collected:
    """What a ledger had to tell."""

    entries: int
    more: bool
    """Whether there is more in it than was read at once."""


def collect(quality: Connection, ledger: Connection, service: str, *, now: int) -> Collected:
    """Read on in the *ledger* of *service* and add what it tells; the caller's transaction keeps all or nothing.

    What was read last is known by the head that is kept with it, so that nothing is counted twice.
    """
    last = store.last_heads(quality, now + 1).get(service)
    first = last.entries + 1 if last else 1
    blocks = select(block_table).where(block_table.c.first_sequence >= first).order_by(block_table.c.number)
    newest = None
    with ledger.execute(blocks, execution_options={"yield_per": store.ROWS_AT_ONCE}) as rows:
        for row in rows:
            if newest and newest.first_sequence + newest.entry_count - first >= ENTRIES_AT_ONCE:
                break
            newest = header_of(row)
    if newest is None:
        return Collected(0, more=False)
    end = newest.first_sequence + newest.entry_count
    store.record(quality, _observed(ledger, first, end))
    digest = hashlib.sha256(receipt.canonical(newest)).digest()
    store.headed(quality, [SeenHead(now, service, newest.number, digest, end - 1)])
    return Collected(end - first, more=end - first >= ENTRIES_AT_ONCE)


def how_fresh(facts: Connection, service: str, *, now: int) -> Freshness | None:
    """How old the data of *service* is, by what its store declares; None where it declares nothing."""
    declared = coverage.read(facts)
    if declared is None:
        return None
    return Freshness(now, service, max(now - minute_of(declared.through), 0), declared.since)


def _observed(ledger: Connection, first: int, end: int) -> Iterator[Observation]:
    whole: dict[tuple[int, str, str], Tally] = {}
    place = entry_table.c.sequence
    sealed = select(entry_table.c.sealed).where(place >= first, place < end).order_by(place)
    with ledger.execute(sealed, execution_options={"yield_per": store.ROWS_AT_ONCE}) as rows:
        for kept in rows.scalars():
            entry = pb.Entry.FromString(kept)
            if entry.outcome != pb.OUTCOME_NOTED:
                key = (minute_of(to_datetime(entry.answered_at_micros)), entry.method, entry.caller)
                whole.setdefault(key, Tally()).add(_tally(entry))
    for (minute, method, caller), tally in whole.items():
        yield Observation(minute, method, caller, tally)


def _tally(entry: pb.Entry) -> Tally:
    fault: Fault | None = fault_of(entry.refusal) if entry.outcome == pb.OUTCOME_REFUSED else None
    latencies: Mapping[int, int] = {} if fault else {histogram.bucket(entry.latency_micros): 1}
    return Tally(Counter({fault: 1}), Counter(latencies))
