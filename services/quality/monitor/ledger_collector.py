"""Collects observations from the services' ledgers, and verifies that each continues what was collected before.

Each entry is counted once: what was verified is stored in the same transaction. A ledger that does not continue it is
not collected until somebody acknowledges the alarm.
"""

import contextlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from estelam.core.clock import CLOCK_TOLERANCE, Clock, to_datetime, to_micros
from estelam.core.pem import KeyFileError
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger.errors import LedgerCorruptError, LedgerUncheckedError
from estelam.ledger.tables import annulment_table, archive_table, checkpoint_table, entry_table, parse_entry
from estelam.ledger.verified_rows import VerifiedRows
from estelam.receipts import checkpoint
from estelam.storage import coverage
from estelam.storage.store import AccessMode, Store, StoreError
from estelam.telemetry import histogram
from quality import ledger_states, repository, traffic_store
from quality.attribution import Attribution, attribution_of
from quality.periods import instant_of, minute_of
from quality.records import Freshness, LedgerAlarm, Observation, ObservedHead, Tally, VerifiedLedger
from quality.settings import QualitySettings
from quality.witness.continuity import Contradiction, LedgerWitness

log = structlog.get_logger()

BATCH_ENTRIES = 20_000
ANNULLABLE_MINUTES = 31 * 24 * 60
"""An answer annulled later than that stays counted: whether a probe asked is not known any more."""
PROBE_SETTLE_MICROS = 120_000_000
"""After this time the ids of probe inquiries are stored, so that their entries can be excluded."""


class FutureCommitError(LedgerUncheckedError):
    """A commit states a time in the future."""


class ArchivedEntriesError(LedgerUncheckedError):
    """Entries were archived before they were collected."""


_REASONS: Mapping[type[Exception], str] = {
    FutureCommitError: "a commit states a time in the future; check the clocks of the provider and of this host",
    ArchivedEntriesError: "entries were archived before they were collected; ask the provider for them",
    LedgerUncheckedError: "no certificate in ledger_certificates is of its signing key and was valid then; add it",
    LedgerCorruptError: "a checkpoint or an entry is damaged; ask the provider to run: estelam ledger verify",
    KeyFileError: "a certificate, key or list of keys in the settings can't be used; run: estelam quality check",
    StoreError: "a store can't be opened; check its address in the settings, and that its database runs",
    SQLAlchemyError: "a database can't be reached, or refused the role; check it, its address and the provider's role",
    OSError: "a file can't be read or written; check the files in the settings and their permissions",
    Exception: "an unexpected error; run: estelam quality collect",
}
"""What an operator can do, by the kind of failure: the first that fits. The texts are constant: they name nobody."""


def failure_reason(error: Exception) -> str:
    """Return why a ledger could not be collected, as a text for the log."""
    return next(text for kind, text in _REASONS.items() if isinstance(error, kind))


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
    witness = LedgerWitness.of(settings, service, clock)
    with (
        contextlib.closing(Store(settings.store, facts=AccessMode.WRITE)) as quality,
        contextlib.closing(Store(settings.ledgers[service])) as source,
    ):
        while more:
            with quality.transaction() as opened, source.transaction() as ledger:
                now = minute_of(clock.now())
                found = collect_batch(opened, ledger, service, witness, now=now, until=until)
                fresh = read_freshness(ledger, service, now=now, required=settings.feeds.get(service))
                repository.save_freshness(opened, [fresh] if fresh else [])
            entries, more = entries + found.entries, found.more
        with quality.transaction() as opened:
            if service not in ledger_states.standing(ledger_states.all_alarms(opened)):
                size = ledger_states.verified_ledger(opened, service).tree.size
                read_until = clock.micros() if until is None else until
                traffic_store.save_position(opened, service, traffic_store.LEDGER, size, read_until)
    return entries


def standing_alarms(settings: QualitySettings) -> list[LedgerAlarm]:
    """Return the alarms that nobody has acknowledged."""
    with contextlib.closing(Store(settings.store)) as store, store.transaction() as quality:
        return list(ledger_states.standing(ledger_states.all_alarms(quality)).values())


def collect_batch(
    quality: Connection, ledger: Connection, service: str, witness: LedgerWitness, *, now: int, until: int | None = None
) -> CollectedBatch:
    """Collect one batch of the *ledger* of *service* within the caller's transaction.

    What was verified is stored together with the observations, so that no entry is counted twice. Commits signed at
    *until* or later are left for a later call.

    Raises:
        LedgerCorruptError, LedgerUncheckedError: an entry or a checkpoint is damaged, or not signed by a known key, or
            the next commit states a time in the future.
    """
    alarms = ledger_states.all_alarms(quality)
    if service in ledger_states.standing(alarms):
        return CollectedBatch(0, more=False)
    verified = ledger_states.verified_ledger(quality, service)
    first = verified.tree.size
    may_cosign = witness.name not in {alarm.witness for alarm in alarms if alarm.service == service}
    try:
        witness.check_end(ledger, verified.note)
        if may_cosign:
            witness.check_cosigned(ledger)
        if (end := _end_of_batch(ledger, first, until)) is None:
            _check_not_future(ledger, first, now)
            return CollectedBatch(0, more=False)
        leaves = _leaves(ledger, first, end.size)
        if len(leaves) < end.size - first:
            _check_not_archived(ledger, first, end.size)
        grown = witness.extend(ledger, verified, leaves.values(), end.note, end.signed_at_micros)
        if may_cosign:
            grown = witness.cosign(ledger, grown)
    except Contradiction as found:
        alarm = LedgerAlarm(service, found.kind, now, found.seen, found.note, witness.name)
        number = ledger_states.raise_alarm(quality, alarm)
        log.error("ledger.contradiction", service=service, contradiction=found.kind.value, alarm=number)
        return CollectedBatch(0, more=False)
    parsed = _parse(leaves)
    _check_annulments(ledger, parsed, first, end.size)
    entries = {index: entry for index, entry in parsed.items() if _is_new(entry, verified)}
    # Entries that were counted before and are annulled now.
    annulled = [entry.annuls for entry in entries.values() if entry.HasField("annuls")]
    earlier = [_counted_before(ledger, grown, index) for index in annulled if index not in entries]
    counted = [entry for entry in earlier if _minute(entry) >= now - ANNULLABLE_MINUTES]
    current = [entry for index, entry in entries.items() if index not in annulled]
    own = repository.own_inquiries(quality, [entry.inquiry_id for entry in (*current, *counted)])
    traffic_store.add_observations(quality, _observations(current, own, counted))
    ledger_states.save_verified(quality, grown)
    repository.save_heads(quality, [ObservedHead(now, service, grown.tree.size, grown.tree.root)])
    return CollectedBatch(end.size - first, more=end.size - first >= BATCH_ENTRIES)


def _check_annulments(ledger: Connection, entries: Mapping[int, pb.Entry], first: int, end: int) -> None:
    """Check that the entries from *first* to before *end* annul each entry once, as the ledger's table says.

    Raises:
        LedgerCorruptError: they do not: an answer would be subtracted twice, or one that readers show as given.
    """
    by = annulment_table.c.annulled_by
    stated = [(entry.annuls, index) for index, entry in entries.items() if entry.HasField("annuls")]
    stored = ledger.execute(select(annulment_table.c["index"], by).where(by >= first, by < end).order_by(by)).all()
    if stated != [tuple(row) for row in stored]:
        raise LedgerCorruptError(f"the annulments by entries from {first} on are not those that they state, once each")


def _counted_before(ledger: Connection, verified: VerifiedLedger, index: int) -> pb.Entry:
    """Return entry *index*, an earlier one, read again; it must still be what was verified.

    Raises:
        LedgerCorruptError: it is not.
        StoreError: it is archived.
    """
    leaf = _leaves(ledger, index, index + 1).get(index, b"")
    VerifiedRows(ledger, checkpoint.parse(verified.note).checkpoint).check(index, leaf)
    return parse_entry(index, leaf)


def _is_new(entry: pb.Entry, verified: VerifiedLedger) -> bool:
    """Whether *entry* can't have been counted before a restore of the ledger was acknowledged."""
    return entry.answered_at_micros > verified.restored_until_micros


def _end_of_batch(ledger: Connection, first: int, until: int | None) -> Any:
    """Return the checkpoint that ends the batch from entry *first* on; None if there is no later one."""
    columns = checkpoint_table.c
    later = select(checkpoint_table).where(columns.size > first).order_by(columns.size)
    end = None
    with ledger.execute(later, execution_options={"yield_per": repository.ROWS_PER_FETCH}) as rows:
        for row in rows:
            if type(row.signed_at_micros) is not int:  # SQLite stores a value of any type
                raise LedgerCorruptError(f"the checkpoint of {row.size} entries can't be read")
            size = end.size if end else first
            if size - first >= BATCH_ENTRIES or (until is not None and row.signed_at_micros >= until):
                break
            end = row
    return end


def _check_not_future(ledger: Connection, first: int, now: int) -> None:
    """Raise a FutureCommitError if the commit after entry *first* is not collected because of a time in the future.

    Otherwise a ledger whose clock is ahead would silently not be verified until then.
    """
    columns = checkpoint_table.c
    micros = ledger.execute(
        select(columns.signed_at_micros).where(columns.size > first).order_by(columns.size).limit(1)
    ).scalar()
    if micros is not None and micros > to_micros(instant_of(now + 1) + CLOCK_TOLERANCE):
        raise FutureCommitError(
            f"the commit after entry {first} states a time in the future, and is not verified before it; check the "
            "clocks of the provider and of this host"
        )


def read_freshness(
    facts: Connection, service: str, *, now: int, required: Collection[str] | None = None
) -> Freshness | None:
    """Age of the data of *service*, from the coverage declared in its store; None if none is declared.

    Nor is one where it was derived for other feeds than the *required* ones, if they are given: the service gives no NO
    from it.
    """
    declared = coverage.read_coverage(facts, required)
    if declared is None:
        return None
    return Freshness(now, service, max(now - minute_of(declared.as_of), 0), declared.since)


def _check_not_archived(ledger: Connection, first: int, end: int) -> None:
    """Raise an ArchivedEntriesError if entries from *first* to before *end* are archived, and so not in the store."""
    ranges = archive_table.c
    overlaps = select(ranges.end_index).where(ranges.end_index > first, ranges.first_index < end)
    if ledger.execute(overlaps.limit(1)).first():
        raise ArchivedEntriesError(f"entries from {first} on were archived before they were collected")


def _leaves(ledger: Connection, first: int, end: int) -> dict[int, bytes]:
    index = entry_table.c["index"]
    query = select(index, entry_table.c.leaf).where(index >= first, index < end).order_by(index)
    found = {row[0]: row[1] for row in ledger.execute(query)}
    if any(type(leaf) is not bytes for leaf in found.values()):  # SQLite stores a value of any type
        raise LedgerCorruptError(f"an entry from {first} on can't be read")
    return found


def _parse(leaves: Mapping[int, bytes]) -> dict[int, pb.Entry]:
    return {place: parse_entry(place, leaf) for place, leaf in leaves.items()}


def _observations(
    entries: list[pb.Entry], own: frozenset[bytes], annulled_since: list[pb.Entry]
) -> Iterator[Observation]:
    """Tallies of the inquiries in *entries*, less those of *annulled_since*, which were counted before.

    Probe inquiries, whose ids are *own*, do not count.
    """
    tallies: dict[tuple[int, str, str], Tally] = {}
    for change, some in ((Tally.add, entries), (Tally.subtract, annulled_since)):
        for entry in some:
            if entry.outcome != pb.OUTCOME_NOTED and entry.inquiry_id not in own:
                change(tallies.setdefault(_key(entry), Tally()), _tally(entry))
    for (minute, method, caller), tally in tallies.items():
        yield Observation(minute, method, caller, tally)


def _key(entry: pb.Entry) -> tuple[int, str, str]:
    return _minute(entry), entry.method, entry.caller


def _minute(entry: pb.Entry) -> int:
    return minute_of(to_datetime(entry.answered_at_micros))


def _tally(entry: pb.Entry) -> Tally:
    fault: Attribution | None = attribution_of(entry.refusal) if entry.outcome == pb.OUTCOME_REFUSED else None
    latencies: Mapping[int, int] = {} if fault else {histogram.bucket(entry.latency_micros): 1}
    return Tally(Counter({fault: 1}), Counter(latencies))
