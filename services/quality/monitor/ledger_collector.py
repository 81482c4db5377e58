"""Collects observations from the services' ledgers. Each entry is counted once: the last observed head is stored."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from estelam.core.clock import Clock, to_datetime
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger.tables import checkpoint_table, entry_table
from estelam.receipts import checkpoint
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
    """Collect the new entries of the ledger of *service*, signed before *until* (Unix time in microseconds).

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

    The head is stored together with the observations, so that no entry is counted twice. Commits signed at *until*
    or later are left for a later call.
    """
    last = repository.last_heads(quality, now + 1).get(service)
    first = last.size if last else 0
    columns = checkpoint_table.c
    commits = select(columns.size, columns.signed_at_micros).where(columns.size > first).order_by(columns.size)
    end = first
    with ledger.execute(commits, execution_options={"yield_per": repository.ROWS_PER_FETCH}) as rows:
        for size, signed_at_micros in rows:
            if end - first >= BATCH_ENTRIES or (until is not None and signed_at_micros >= until):
                break
            end = size
    if end == first:
        return CollectedBatch(0, more=False)
    entries = _entries(ledger, first, end)
    own = repository.take_own_inquiries(quality, [entry.inquiry_id for entry in entries.values()])
    # Entries of earlier batches that are annulled now: they were counted.
    annulled = [entry.annuls for entry in entries.values() if entry.HasField("annuls")]
    counted = [entry for index in annulled if index < first for entry in _entries(ledger, index, index + 1).values()]
    current = [entry for index, entry in entries.items() if index not in annulled]
    repository.add_observations(quality, _observations(current, own, counted))
    note = ledger.execute(select(columns.note).where(columns.size == end)).scalar_one()
    head = checkpoint.parse(note).checkpoint
    repository.save_heads(quality, [ObservedHead(now, service, head.size, head.root)])
    return CollectedBatch(end - first, more=end - first >= BATCH_ENTRIES)


def read_freshness(facts: Connection, service: str, *, now: int) -> Freshness | None:
    """Age of the data of *service*, from the coverage declared in its store; None if none is declared."""
    declared = coverage.read_coverage(facts)
    if declared is None:
        return None
    return Freshness(now, service, max(now - minute_of(declared.as_of), 0), declared.since)


def _entries(ledger: Connection, first: int, end: int) -> dict[int, pb.Entry]:
    index = entry_table.c["index"]
    query = select(index, entry_table.c.leaf).where(index >= first, index < end).order_by(index)
    return {place: pb.Entry.FromString(leaf) for place, leaf in ledger.execute(query)}


def _observations(
    entries: list[pb.Entry], own: frozenset[bytes], annulled_since: list[pb.Entry]
) -> Iterator[Observation]:
    """Tallies of the inquiries in *entries*, less those of *annulled_since*, which were counted before.

    Probe inquiries, whose ids are *own*, do not count.
    """
    tallies: dict[tuple[int, str, str], Tally] = {}
    for entry in entries:
        if entry.outcome != pb.OUTCOME_NOTED and entry.inquiry_id not in own:
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
