"""Collects observations from the services' ledgers. Each entry is counted once: the last observed head is stored."""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from estelam.core.clock import Clock, to_datetime
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger.tables import block_table, entry_table, header_of
from estelam.receipts import receipt
from estelam.storage import coverage
from estelam.storage.store import AccessMode, Store
from quality import histogram, repository
from quality.attribution import Attribution, attribution_of
from quality.periods import minute_of
from quality.records import Freshness, Observation, ObservedHead, Tally
from quality.settings import QualitySettings

BATCH_ENTRIES = 20_000
PROBE_SETTLE_MICROS = 120_000_000
"""After this time the ids of probe inquiries are stored, so that their entries can be excluded."""


@dataclass(frozen=True, slots=True)
class CollectedBatch:
    """One batch of a ledger."""

    entries: int
    more: bool
    """Whether the ledger has further entries."""


def collect_ledger(settings: QualitySettings, service: str, clock: Clock, *, until: int | None = None) -> int:
    """Collect the new entries of the ledger of *service*, sealed before *until* (Unix time in microseconds).

    Without *until*, the newest entries wait if there are probes: their ids must be stored first.
    Returns the number of entries.
    """
    if until is None and settings.probe:
        until = clock.micros() - PROBE_SETTLE_MICROS
    entries, more = 0, True
    with (
        contextlib.closing(Store(settings.store, facts=AccessMode.WRITE)) as quality,
        contextlib.closing(Store(settings.ledgers[service])) as source,
    ):
        while more:
            with quality.transaction() as opened, source.transaction() as ledger:
                now = minute_of(clock.now())
                found = collect_batch(opened, ledger, service, now=now, until=until)
                fresh = read_freshness(ledger, service, now=now)
                repository.save_freshness(opened, [fresh] if fresh else [])
            entries, more = entries + found.entries, found.more
    return entries


def collect_batch(
    quality: Connection, ledger: Connection, service: str, *, now: int, until: int | None = None
) -> CollectedBatch:
    """Collect one batch of the *ledger* of *service* within the caller's transaction.

    The head is stored together with the observations, so that no entry is counted twice. Blocks sealed at *until*
    or later are left for a later call.
    """
    last = repository.last_heads(quality, now + 1).get(service)
    first = last.entries + 1 if last else 1
    blocks = select(block_table).where(block_table.c.first_sequence >= first).order_by(block_table.c.number)
    newest = None
    with ledger.execute(blocks, execution_options={"yield_per": repository.ROWS_PER_FETCH}) as rows:
        for row in rows:
            if newest and newest.first_sequence + newest.entry_count - first >= BATCH_ENTRIES:
                break
            header = header_of(row)
            if until is not None and header.sealed_at_micros >= until:
                break
            newest = header
    if newest is None:
        return CollectedBatch(0, more=False)
    after = newest.first_sequence + newest.entry_count
    entries = _entries(ledger, first, after)
    own = repository.take_own_inquiries(quality, [entry.inquiry_id for entry in entries])
    # Entries of earlier batches that are annulled now: they were counted.
    counted = [
        one for entry in entries if 0 < entry.annuls < first for one in _entries(ledger, entry.annuls, entry.annuls + 1)
    ]
    repository.add_observations(quality, _observations(entries, own, counted))
    digest = hashlib.sha256(receipt.canonical(newest)).digest()
    repository.save_heads(quality, [ObservedHead(now, service, newest.number, digest, after - 1)])
    return CollectedBatch(after - first, more=after - first >= BATCH_ENTRIES)


def read_freshness(facts: Connection, service: str, *, now: int) -> Freshness | None:
    """Age of the data of *service*, from the coverage declared in its store; None if none is declared."""
    declared = coverage.read_coverage(facts)
    if declared is None:
        return None
    return Freshness(now, service, max(now - minute_of(declared.as_of), 0), declared.since)


def _entries(ledger: Connection, first: int, end: int) -> list[pb.Entry]:
    place = entry_table.c.sequence
    sealed = select(entry_table.c.sealed).where(place >= first, place < end).order_by(place)
    return [pb.Entry.FromString(content) for content in ledger.execute(sealed).scalars()]


def _observations(
    entries: list[pb.Entry], own: frozenset[bytes], annulled_since: list[pb.Entry]
) -> Iterator[Observation]:
    """Tallies of the inquiries in *entries*, less those of *annulled_since*, which were counted before.

    Neither annulled entries nor probe inquiries, whose ids are *own*, count.
    """
    tallies: dict[tuple[int, str, str], Tally] = {}
    annulled = {entry.annuls for entry in entries}
    for entry in entries:
        if entry.outcome != pb.OUTCOME_NOTED and entry.inquiry_id not in own and entry.sequence not in annulled:
            tallies.setdefault(_key(entry), Tally()).add(_tally(entry))
    for entry in annulled_since:
        if entry.inquiry_id not in own:
            tallies.setdefault(_key(entry), Tally()).subtract(_tally(entry))
    for (minute, method, caller), tally in tallies.items():
        yield Observation(minute, method, caller, tally)


def _key(entry: pb.Entry) -> tuple[int, str, str]:
    return minute_of(to_datetime(entry.answered_at_micros)), entry.method, entry.caller


def _tally(entry: pb.Entry) -> Tally:
    fault: Attribution | None = attribution_of(entry.refusal) if entry.outcome == pb.OUTCOME_REFUSED else None
    latencies: Mapping[int, int] = {} if fault else {histogram.bucket(entry.latency_micros): 1}
    return Tally(Counter({fault: 1}), Counter(latencies))
