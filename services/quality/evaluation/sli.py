"""Measures service level indicators and compares them with objectives."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta

from estelam.telemetry import histogram
from quality.attribution import Attribution
from quality.evaluation.error_budget import ErrorBudget, error_budget
from quality.evaluation.minute_states import StateMinutes
from quality.evaluation.period_data import PeriodData, days_between
from quality.periods import instant_of
from quality.records import Tally
from quality.slo import Objective, Sli, Value

PERCENTILES = {Sli.P50: 0.50, Sli.P95: 0.95, Sli.P99: 0.99}


@dataclass(frozen=True, slots=True)
class Scope:
    """What is measured: methods of one service, consumers and days."""

    service: str
    methods: Collection[str]
    consumers: Collection[str] | None
    """Legal ids; None for all consumers."""
    since: date
    until: date | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of one objective; *met* is None if there was nothing to measure."""

    metric: Sli
    at_least: float | None
    at_most: Value | None
    measured: Value | None
    met: bool | None
    state: str
    """met, broken, no_case (nothing happened that could be measured) or not_measured."""
    margin: float | None
    """Distance to the bound, negative if the objective is not met: in the unit of the metric, or days for a date."""
    budget: ErrorBudget | None
    """Of an availability that was measured; None for other metrics."""


def evaluate(objective: Objective, data: PeriodData, scope: Scope) -> Verdict:
    """Measure the metric of *objective* in *scope*, and compare it."""
    measured = measure(objective.metric, data, scope)
    if measured is None:
        met, state = None, "no_case" if _is_known(objective.metric, data, scope) else "not_measured"
    else:
        met = objective.is_met_by(measured)
        state = "met" if met else "broken"
    margin = _margin(objective, measured)
    budget = None if measured is None else _budget(objective, data, scope)
    return Verdict(objective.metric, objective.at_least, objective.at_most, measured, met, state, margin, budget)


def _is_known(metric: Sli, data: PeriodData, scope: Scope) -> bool:
    """Whether there was nothing to measure for *metric*, where it has no value, rather than no measurement."""
    if metric in {Sli.OUTAGE_NOTICE, Sli.CHANGE_NOTICE}:
        return True
    if metric is Sli.AVAILABILITY:
        return not any(StateMinutes.of(data.own_minutes[name]).unmeasured for name in scope.methods)
    is_counted = any(data.is_counted(name) for name in scope.methods)
    if metric in {Sli.FRESHNESS, Sli.COVERAGE}:  # a service without a ledger, as the adapter, has no data of its own
        return is_counted and scope.service not in data.heads
    return is_counted


def measure(metric: Sli, data: PeriodData, scope: Scope) -> Value | None:
    """Measure *metric* in *scope*; None if there is nothing to measure."""
    if metric is Sli.AVAILABILITY:
        return _availability(data, scope)
    if metric is Sli.FRESHNESS:
        ages = data.ages.get(scope.service, {})
        days = {day for day, _, _ in days_between(data, scope.since, scope.until)}
        return max((age / 60 for day, age in ages.items() if day in days), default=None)
    if metric is Sli.COVERAGE:
        return data.covered_since.get(scope.service)
    if metric is Sli.OUTAGE_NOTICE:
        return _outage_notice(data, scope)
    if metric is Sli.CHANGE_NOTICE:
        return _change_notice(data, scope)
    return measure_traffic(metric, scope_traffic(data, scope))


def measure_traffic(metric: Sli, tally: Tally) -> float | None:
    """Measure a *metric* that depends on inquiries alone."""
    if metric in PERCENTILES:
        micros = histogram.percentile(tally.latencies, PERCENTILES[metric])
        return None if micros is None else micros / 1000
    failed = tally.counts[Attribution.PROVIDER] + tally.counts[Attribution.EXCHANGE]
    share = {
        Sli.ERROR_RATE: (failed, failed + tally.counts[None]),
        Sli.CONSUMER_FAULT_RATE: (tally.counts[Attribution.CONSUMER], tally.total),
        Sli.UNGRANTED_RATE: (tally.counts[Attribution.UNGRANTED], tally.total),
    }
    part, total = share[metric]
    return 100 * part / total if total else None


def scope_traffic(data: PeriodData, scope: Scope) -> Tally:
    """Tally of all inquiries in *scope*."""
    total = Tally()
    for (method, consumer), days in data.traffic.items():
        if method in scope.methods and (scope.consumers is None or consumer in scope.consumers):
            for day, tally in days.items():
                if scope.since <= day and (scope.until is None or day <= scope.until):
                    total.add(tally)
    return total


def _availability(data: PeriodData, scope: Scope) -> float | None:
    """Availability of the worst method: another method is no substitute."""
    found = [StateMinutes.of(minutes).availability for minutes in _minutes(data, scope)]
    return min((one for one in found if one is not None), default=None)


def _budget(objective: Objective, data: PeriodData, scope: Scope) -> ErrorBudget | None:
    """The error budget of the method that has spent the most of its own."""
    if objective.metric is not Sli.AVAILABILITY or objective.at_least is None:
        return None
    passed = data.end_minute - data.first_minute
    days = days_between(data, scope.since, scope.until)
    low, left = days[0][1], max(0, days[-1][2] - max(passed, days[0][1]))
    budgets = (
        error_budget(objective.at_least, minutes[: max(0, passed - low)], left) for minutes in _minutes(data, scope)
    )
    return max(budgets, key=lambda one: one.spent_minutes, default=None)


def _minutes(data: PeriodData, scope: Scope) -> list[bytearray]:
    """The minutes of each method of *scope*, on its days."""
    days = days_between(data, scope.since, scope.until)
    return [data.own_minutes[method][days[0][1] : days[-1][2]] for method in scope.methods] if days else []


def _outage_notice(data: PeriodData, scope: Scope) -> float | None:
    notices = [
        (outage.first_minute - outage.announced_minute) / 60
        for outage in data.planned_outages
        if outage.service == scope.service
        and outage.first_minute >= data.first_minute
        and scope.since <= instant_of(outage.first_minute).date()
        and (scope.until is None or instant_of(outage.first_minute).date() <= scope.until)
    ]
    return min(notices, default=None)


def _change_notice(data: PeriodData, scope: Scope) -> float | None:
    days = {day for day, _, _ in data.days}
    notices = [
        (method.sunset - (method.notice or method.sunset)) / timedelta(days=1)
        for name in scope.methods
        for _, method in [data.methods[name]]
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
