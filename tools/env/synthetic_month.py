"""A synthetic month of quality observations: traffic, planned and unplanned outages, a consumer's fault, gaps."""

import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, time

from sqlalchemy import Connection

from development import sandbox as suite
from estelam.telemetry import histogram
from quality import repository, traffic_store
from quality.attribution import Attribution
from quality.periods import Month, midnight, minute_of
from quality.records import Freshness, Observation, ObservedHead, PlannedOutage, Probe, Tally

PROMISSORY, CHEQUE, VERIFICATION = "promissory-note-inquiry", "cheque-case-inquiry", "note-verification"
DAY = 1440
AT_ONCE = 20_000
MARGIN = 1.01
"""Factor on the expected number of inquiries, since a random sample may fall slightly below it."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One consumer's traffic to one method: inquiries in a busy minute, and median latency in milliseconds."""

    method: str
    consumer: str
    busy: float
    median: float


@dataclass(frozen=True, slots=True)
class Event:
    """A fault from minute *first* to before minute *end*, counted from the month's start."""

    methods: tuple[str, ...]
    fault: Attribution
    reason: str
    first: int
    end: int
    consumer: str = ""

    def hits(self, minute: int, method: str, consumer: str) -> bool:
        """Whether it affects *consumer*'s calls of *method* in *minute*."""
        return self.first <= minute < self.end and method in self.methods and self.consumer in {"", consumer}


NOTES = (suite.CHECK_NOTE, suite.GET_NOTE_PARTIES, suite.VERIFY_NOTE)
CHEQUES = (suite.CHECK_BY_NATIONAL_ID, suite.CHECK_BY_TRACKING_ID)
_SETAD, _CBI, _AGENCY = (suite.ORGANIZATIONS[name] for name in ("setad", "cbi", "agency"))
STREAMS = (
    Stream(suite.CHECK_NOTE, _SETAD, 90, 14),
    Stream(suite.CHECK_NOTE, _AGENCY, 30, 15),
    Stream(suite.GET_NOTE_PARTIES, _SETAD, 55, 17),
    Stream(suite.VERIFY_NOTE, _SETAD, 55, 36),
    Stream(suite.CHECK_BY_NATIONAL_ID, _CBI, 210, 22),
    Stream(suite.CHECK_BY_TRACKING_ID, _CBI, 60, 19),
)


def _at(day: int, hour: int, minute: int = 0) -> int:
    return (day - 1) * DAY + hour * 60 + minute


EVENTS = (
    Event(NOTES, Attribution.PROVIDER, "STORE_UNAVAILABLE", _at(12, 22), _at(13, 2)),
    Event(NOTES, Attribution.PROVIDER, "STORE_UNAVAILABLE", _at(19, 10, 14), _at(19, 15, 51)),
    Event(CHEQUES, Attribution.EXCHANGE, "", _at(7, 3, 20), _at(7, 3, 38)),
    Event(CHEQUES, Attribution.CONSUMER, "CERTIFICATE_EXPIRED", _at(24, 8), _at(24, 13, 30), _CBI),
)
# No probe ran in these intervals; in the second there was no traffic either.
_UNPROBED = ((_at(3, 1), _at(3, 3)), (_at(28, 2), _at(28, 5)))
_SILENT = _UNPROBED[1]
_SLOW_DAYS = range(16, 22)


@dataclass(frozen=True, slots=True)
class SyntheticMonth:
    """The number of inquiries and observations written to a store."""

    inquiries: int
    observations: int


def seed(connection: Connection, month: Month, *, least: int | None = None) -> SyntheticMonth:
    """Fill an empty store with *month*: as busy as STREAMS say, or scaled to at least *least* inquiries."""
    chance = random.Random(str(month))
    times = 1.0 if least is None else MARGIN * least / _expected(month)
    total, observations, rows = 0, 0, []
    for one in _observations(month, times, chance):
        total += one.tally.total
        observations += 1
        rows.append(one)
        if len(rows) == AT_ONCE:
            traffic_store.insert_observations(connection, rows)
            rows.clear()
    traffic_store.insert_observations(connection, rows)
    repository.save_probes(connection, _probes(month))
    first = month.first_minute
    repository.insert_outage(
        connection,
        PlannedOutage(
            PROMISSORY,
            first + _at(7, 9),
            first + EVENTS[0].first,
            first + EVENTS[0].end,
            "جابه‌جایی پایگاه داده به میزبان تازه",
            "Move of the database to a new host",
        ),
    )
    repository.save_freshness(connection, _freshness(month, chance))
    repository.save_heads(connection, _heads(month, chance))
    return SyntheticMonth(total, observations)


def _observations(month: Month, times: float, chance: random.Random) -> Iterator[Observation]:
    shapes = {stream: [_latencies(stream.median * slow, chance) for slow in (1.0, 3.2)] for stream in STREAMS}
    first, end = month.first_minute, month.end_minute
    for at in range(end - first):
        for stream in STREAMS:
            wanted = _load(at, times * stream.busy) * chance.uniform(0.8, 1.2)
            asked = int(wanted) + (chance.random() < wanted % 1)
            if asked and not _SILENT[0] <= at < _SILENT[1]:
                slow = at // DAY + 1 in _SLOW_DAYS and stream.method in CHEQUES
                tally = _tally(at, stream, asked, shapes[stream][slow], chance)
                yield Observation(first + at, stream.method, stream.consumer, tally)
        if chance.random() < 0.0004:
            stranger = suite.ORGANIZATIONS["stranger"]
            yield Observation(first + at, suite.CHECK_NOTE, stranger, Tally(Counter({Attribution.UNGRANTED: 3})))


def _expected(month: Month) -> float:
    """The expected number of inquiries of *month* in minutes without a fault."""
    return sum(
        _load(at, stream.busy)
        for at in range(month.end_minute - month.first_minute)
        for stream in STREAMS
        if not (_SILENT[0] <= at < _SILENT[1] or _event(at, stream))
    )


def _event(at: int, stream: Stream) -> Event | None:
    return next((one for one in EVENTS if one.hits(at, stream.method, stream.consumer)), None)


def _tally(at: int, stream: Stream, asked: int, latencies: list[int], chance: random.Random) -> Tally:
    if event := _event(at, stream):
        # Calls that never reached the service are not in its ledger.
        return Tally(Counter() if event.fault is Attribution.EXCHANGE else Counter({event.fault: max(asked // 8, 1)}))
    counts: Counter[Attribution | None] = Counter()
    for fault, rate in ((Attribution.CONSUMER, 0.004), (Attribution.PROVIDER, 0.0004)):
        counts[fault] = int(asked * rate) + (chance.random() < asked * rate % 1)
    if stream.consumer == _AGENCY and 600 <= at % DAY < 606:
        counts[Attribution.THROTTLED] = asked // 3
    counts[None] = max(asked - counts.total(), 0)
    return Tally(counts, Counter(chance.choices(latencies, k=counts[None])))


def _load(at: int, busy: float) -> float:
    """Traffic in minute *at*: more by day, less on the weekly holiday and the day before it."""
    hour, rest = at % DAY / 60, (0.22, 1, 1, 1, 1, 1, 0.55)[at // DAY % 7]
    return busy * rest * (0.06 + 0.94 * math.exp(-(((hour - 11.5) / 3.4) ** 2)))


def _latencies(median: float, chance: random.Random) -> list[int]:
    return [histogram.bucket(int(median * 1000 * math.exp(chance.gauss(0, 0.55)))) for _ in range(4000)]


def _probes(month: Month) -> Iterator[Probe]:
    first, end = month.first_minute, month.end_minute
    for at in range(end - first):
        if any(begins <= at < ends for begins, ends in _UNPROBED):
            continue
        for stream in STREAMS:
            event = _event(at, stream)
            fault, reason = (event.fault, event.reason) if event else (None, "")
            yield Probe(first + at, stream.method, stream.consumer, fault, reason)


def _freshness(month: Month, chance: random.Random) -> Iterator[Freshness]:
    for day, first, _ in month.day_minutes():
        for service, most in ((PROMISSORY, 6), (CHEQUE, 20)):
            late = 27 * 60 if (service, day) == (CHEQUE, month.days()[17]) else 0
            age = max(late, int(chance.uniform(1, most) * 60))
            since = date(2021, 3, 21) if service == CHEQUE else date(2020, 3, 20)
            yield Freshness(first + 8 * 60, service, age, since)


def _heads(month: Month, chance: random.Random) -> Iterator[ObservedHead]:
    last = minute_of(midnight(month.days()[-1])) + time(23, 50).hour * 60
    for service, entries in ((PROMISSORY, 4_812_377), (CHEQUE, 5_230_911)):
        yield ObservedHead(last, service, entries, chance.randbytes(32))
