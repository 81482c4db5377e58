"""Rules held against what was measured: met or broken, and by how much."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta

from quality import histogram
from quality.attribution import Fault
from quality.evaluation.minute_states import Time
from quality.evaluation.period_data import Seen, days_of
from quality.periods import instant_of
from quality.repository import Tally
from quality.slo import Metric, Objective, Value

SHARES = {Metric.P50: 0.50, Metric.P95: 0.95, Metric.P99: 0.99}


@dataclass(frozen=True, slots=True)
class Scope:
    """Of what something is measured: some methods of one service, some consumers, some days."""

    service: str
    methods: Collection[str]
    consumers: Collection[str] | None
    """Legal ids; None for all."""
    since: date
    until: date | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One objective and what was measured of it: neither met nor broken where nothing could be measured."""

    metric: Metric
    at_least: float | None
    at_most: Value | None
    measured: Value | None
    met: bool | None
    margin: float | None
    """By how much it was met or, below zero, broken: in the metric's own unit; of a date, in days."""


def judge(objective: Objective, measured: Value | None) -> Verdict:
    """*objective* held against what was *measured*."""
    met = None if measured is None else objective.holds(measured)
    return Verdict(objective.metric, objective.at_least, objective.at_most, measured, met, _margin(objective, measured))


def measure(metric: Metric, seen: Seen, scope: Scope) -> Value | None:
    """The *metric* of *scope*; None where there is nothing to measure."""
    if metric is Metric.AVAILABILITY:
        return _availability(seen, scope)
    if metric is Metric.FRESHNESS:
        ages = seen.ages.get(scope.service, {})
        days = {day for day, _, _ in days_of(seen, scope.since, scope.until)}
        return max((age / 60 for day, age in ages.items() if day in days), default=None)
    if metric is Metric.COVERAGE:
        return seen.covered_since.get(scope.service)
    if metric is Metric.OUTAGE_NOTICE:
        return _outage_notice(seen, scope)
    if metric is Metric.CHANGE_NOTICE:
        return _change_notice(seen, scope)
    return of_traffic(metric, traffic(seen, scope))


def of_traffic(metric: Metric, tally: Tally) -> float | None:
    """A *metric* that inquiries alone decide."""
    if metric in SHARES:
        micros = histogram.percentile(tally.latencies, SHARES[metric])
        return None if micros is None else micros / 1000
    failed = tally.counts[Fault.PROVIDER] + tally.counts[Fault.EXCHANGE]
    share = {
        Metric.ERROR_RATE: (failed, failed + tally.counts[None]),
        Metric.CONSUMER_FAULT_RATE: (tally.counts[Fault.CONSUMER], tally.total),
        Metric.UNGRANTED_RATE: (tally.counts[Fault.UNGRANTED], tally.total),
    }
    part, whole = share[metric]
    return 100 * part / whole if whole else None


def traffic(seen: Seen, scope: Scope) -> Tally:
    """All inquiries in *scope*."""
    whole = Tally()
    for (method, consumer), days in seen.traffic.items():
        if method in scope.methods and (scope.consumers is None or consumer in scope.consumers):
            for day, tally in days.items():
                if scope.since <= day and (scope.until is None or day <= scope.until):
                    whole.add(tally)
    return whole


def _availability(seen: Seen, scope: Scope) -> float | None:
    """That of the worst method: who needs one is not served by another."""
    days = days_of(seen, scope.since, scope.until)
    if not days:
        return None
    low, high = days[0][1], days[-1][2]
    found = [Time.of(seen.minutes[method][low:high]).availability for method in scope.methods]
    return min((one for one in found if one is not None), default=None)


def _outage_notice(seen: Seen, scope: Scope) -> float | None:
    notices = [
        (outage.first_minute - outage.announced_minute) / 60
        for outage in seen.announced
        if outage.service == scope.service
        and outage.first_minute >= seen.first_minute
        and scope.since <= instant_of(outage.first_minute).date()
        and (scope.until is None or instant_of(outage.first_minute).date() <= scope.until)
    ]
    return min(notices, default=None)


def _change_notice(seen: Seen, scope: Scope) -> float | None:
    days = {day for day, _, _ in seen.days}
    notices = [
        (method.sunset - (method.notice or method.sunset)) / timedelta(days=1)
        for name in scope.methods
        for _, method in [seen.methods[name]]
        if method.sunset in days
    ]
    return min(notices, default=None)


def _margin(objective: Objective, measured: Value | None) -> float | None:
    if measured is None:
        return None
    bound = objective.bound
    if isinstance(bound, date) and isinstance(measured, date):
        return float((bound - measured).days)
    difference = float(measured) - float(bound)  # type: ignore[arg-type]
    return difference if objective.at_least is not None else -difference
