"""Records of the quality store, as the monitor writes them and the evaluation reads them.

`minute` counts minutes since 1970 in UTC, `method` is package.Service/Method, `service` a service's name in the
catalogue, and `consumer` the legal id of the calling organisation.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import TypeVar

from estelam.receipts import checkpoint
from estelam.receipts.tree import Frontier
from quality.attribution import Attribution

K = TypeVar("K", bound=Hashable)


def add_counts(total: Counter[K], more: Mapping[K, int]) -> None:
    """Add *more* to *total*, in half the time of `Counter.update` for the one or two counts that most rows have."""
    for key, count in more.items():
        total[key] = total.get(key, 0) + count


@dataclass(slots=True)
class Tally:
    """Outcomes and latencies of inquiries. Tallies can be added."""

    counts: Counter[Attribution | None] = field(default_factory=Counter)
    """Number of inquiries by attribution; None counts the answered ones."""
    latencies: Counter[int] = field(default_factory=Counter)
    """Number of answered inquiries by latency bucket (see `histogram`)."""

    def add(self, other: "Tally") -> None:
        """Add the counts of *other*."""
        add_counts(self.counts, other.counts)
        add_counts(self.latencies, other.latencies)

    def subtract(self, other: "Tally") -> None:
        """Subtract the counts of *other*."""
        self.counts.subtract(other.counts)
        self.latencies.subtract(other.latencies)

    def move(self, sources: Iterable[Attribution], target: Attribution) -> None:
        """Count the failures of all *sources* to *target*."""
        self.counts[target] += sum(self.counts.pop(each, 0) for each in sources)

    @property
    def total(self) -> int:
        """Number of all inquiries."""
        return self.counts.total()


@dataclass(frozen=True, slots=True)
class Observation:
    """Tally of one consumer's inquiries with one method in one minute."""

    minute: int
    method: str
    consumer: str
    tally: Tally


@dataclass(frozen=True, slots=True)
class SentCalls:
    """What a service counted of one consumer's calls of one method, by the minute in which their replies were sent."""

    minute: int
    method: str
    consumer: str
    tally: Tally
    late: int = 0
    """Those of them that got ANSWER_LATE or no reply, so that the ledger may hold an answer to them."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Result of one probe call; without a fault it was answered."""

    minute: int
    method: str
    consumer: str
    fault: Attribution | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PlannedOutage:
    """An outage that the exchange centre announced, on the provider's notice. *end_minute* is exclusive.

    An outage that was withdrawn before it began has *end_minute* equal to *first_minute*.
    """

    service: str
    announced_minute: int
    first_minute: int
    end_minute: int
    reason_fa: str
    reason_en: str
    announced_end_minute: int | None = None
    """The announced end, if the outage was ended early or withdrawn."""
    number: int = 0
    """Number of the announcement, assigned when it is stored."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """Age of a service's data, and the date since which it is complete."""

    minute: int
    service: str
    age_minutes: int
    covered_since: date | None


@dataclass(frozen=True, slots=True)
class ObservedHead:
    """Size and root of a service's ledger, as they were observed."""

    minute: int
    service: str
    size: int
    root: bytes

    def __str__(self) -> str:
        return f"{self.size}:{self.root.hex()}"


class AlarmKind(StrEnum):
    """How a ledger does not continue what was verified of it."""

    ROLLBACK = "rollback"
    """It ends before: a backup was restored, or its end was cut off."""
    FORK = "fork"
    """It contains something else in that place: a restored ledger that has grown since, or a rewritten one. Two signed
    checkpoints prove it."""
    DAMAGED = "damaged"
    """It is not what its key has signed, so that nothing is proven: rows of its store were lost or changed."""


@dataclass(frozen=True, slots=True)
class VerifiedLedger:
    """What was verified of a service's ledger; its entries up to there are counted."""

    service: str
    note: str = ""
    """The checkpoint, a signed note; empty if nothing was verified yet."""
    tree: Frontier = field(default_factory=Frontier)
    counted_until_micros: int = 0
    """When the newest entry that was ever counted was signed, in microseconds since 1970."""
    restored_until_micros: int = 0
    """`counted_until_micros` when a restore was acknowledged last: entries up to then are not counted again, should
    the lost ones come back."""
    cosignature: str = ""
    """The line by which the monitor cosigned the checkpoint; empty if it did not."""

    @property
    def cosigned_note(self) -> str:
        """The checkpoint with the monitor's cosignature, if there is one."""
        return self.note + self.cosignature


@dataclass(frozen=True, slots=True)
class LedgerAlarm:
    """A ledger that did not continue what was verified of it. The alarm stands until somebody acknowledges it."""

    service: str
    kind: AlarmKind
    found_minute: int
    verified: str
    """The checkpoint that was verified last, or cosigned, a signed note."""
    found: str
    """The newest checkpoint then, a signed note, verified unless the kind is DAMAGED; empty if there was none."""
    witness: str
    """The verifier key that cosigned before; empty if none did. It never cosigns this ledger again."""
    number: int = 0
    """Number of the alarm, assigned when it is stored."""
    acknowledged_minute: int | None = None
    operator: str = ""
    """Who acknowledged it."""
    reason: str = ""
    """Why."""

    @property
    def verified_head(self) -> str:
        """`verified` as SIZE:ROOT; "none" if there was none, "damaged" if it can't be read."""
        return _head(self.verified)

    @property
    def found_head(self) -> str:
        """`found` in the same form."""
        return _head(self.found)


def _head(note: str) -> str:
    try:
        return str(checkpoint.parse(note).checkpoint) if note else "none"
    except ValueError:
        return "damaged"


@dataclass(frozen=True, slots=True)
class MetricsSample:
    """Health (grpc.health.v1) and metrics of a service. Its counters start at zero with each process."""

    minute: int
    service: str
    health: str = ""
    """SERVING or NOT_SERVING; empty if the service did not reply."""
    serving: bool | None = None
    """None, like each counter, if the metrics could not be read."""
    answered: int | None = None
    refused: int | None = None
    unrecorded: int | None = None
    """Refusals that exceeded the quota for recording and are in no ledger."""
