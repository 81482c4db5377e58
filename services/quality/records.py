"""Records of the quality store, as the monitor writes them and the evaluation reads them.

`minute` counts minutes since 1970 in UTC, `method` is package.Service/Method, `service` a service's name in the catalogue,
and `consumer` the legal id of the calling organisation.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date

from quality.attribution import Attribution


@dataclass(slots=True)
class Tally:
    """What became of inquiries, and how long their answers took: two tallies can be added."""

    counts: Counter[Attribution | None] = field(default_factory=Counter)
    """By fault; None counts the answered."""
    latencies: Counter[int] = field(default_factory=Counter)
    """Answered inquiries by the bucket of their latency."""

    def add(self, other: "Tally") -> None:
        """Count what *other* counts too."""
        self.counts.update(other.counts)
        self.latencies.update(other.latencies)

    @property
    def total(self) -> int:
        """All inquiries."""
        return self.counts.total()


@dataclass(frozen=True, slots=True)
class Observation:
    """What became of one consumer's inquiries by one method in one minute."""

    minute: int
    method: str
    consumer: str
    tally: Tally


@dataclass(frozen=True, slots=True)
class Probe:
    """What an inquiry from outside met; no fault means that an answer came."""

    minute: int
    method: str
    consumer: str
    fault: Attribution | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PlannedOutage:
    """An outage that a provider announced; *end_minute* is the first minute after it.

    One that was withdrawn before it began ends where it was to begin: it has no minute.
    """

    service: str
    announced_minute: int
    first_minute: int
    end_minute: int
    reason_fa: str
    reason_en: str
    announced_end_minute: int | None = None
    """The end that was announced, where it was ended or withdrawn before that."""
    number: int = 0
    """What its provider calls it by; given when it is kept."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old a service's data was, and since when it is complete."""

    minute: int
    service: str
    age_minutes: int
    covered_since: date | None


@dataclass(frozen=True, slots=True)
class ObservedHead:
    """The end of a service's ledger, as it was seen."""

    minute: int
    service: str
    number: int
    hash: bytes
    entries: int


@dataclass(frozen=True, slots=True)
class MetricsSample:
    """What a service said of itself: over grpc.health.v1, and in its figures, which count from its start on."""

    minute: int
    service: str
    health: str = ""
    """SERVING or NOT_SERVING; empty where no probe heard either."""
    serving: bool | None = None
    """None, as each figure, where the figures could not be read."""
    answered: int | None = None
    refused: int | None = None
    unrecorded: int | None = None
    """Refusals that are in no ledger, for want of budget."""
