"""Metrics with targets, and the comparison of paired runs."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tools.bench.load.plan import Report

Baseline = TypeVar("Baseline")
Candidate = TypeVar("Candidate")


@dataclass(frozen=True, slots=True)
class Target:
    """A bound that a metric should reach."""

    bound: float
    at_least: bool

    def met(self, value: float) -> bool:
        """Whether *value* reaches it."""
        return value >= self.bound if self.at_least else value <= self.bound


def at_least(bound: float) -> Target:
    """The target of a metric of which more is better."""
    return Target(bound, at_least=True)


def at_most(bound: float) -> Target:
    """The target of a metric of which less is better."""
    return Target(bound, at_least=False)


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the result table."""

    name: str
    measured: str
    """Intermediate measurements, as text."""
    value: float
    target: Target | None = None
    """None: reported without a target."""
    form: str = "{:,.2f}"
    """Format of the value and its target, with the unit."""


def paired(
    rounds: int, first: Callable[[], Baseline], second: Callable[[], Candidate]
) -> tuple[list[Baseline], list[Candidate]]:
    """The results of both, run one after the other *rounds* times.

    The order changes each round, so that a drift of the machine favours neither.
    """
    firsts: list[Baseline] = []
    seconds: list[Candidate] = []
    for turn in range(rounds):
        if turn % 2:
            seconds.append(second())
            firsts.append(first())
        else:
            firsts.append(first())
            seconds.append(second())
    return firsts, seconds


def compare(
    firsts: Sequence[Report], seconds: Sequence[Report], value: Callable[[Report], float], form: str
) -> tuple[float, str]:
    """The median over the pairs of first / second, and a text with both medians and the spread."""
    ratios = [value(one) / max(value(other), 1e-9) for one, other in zip(firsts, seconds, strict=True)]
    medians = " / ".join(form.format(statistics.median(map(value, reports))) for reports in (firsts, seconds))
    return statistics.median(ratios), f"{medians} ({min(ratios):.2f} to {max(ratios):.2f})"


def remarks(reports: Sequence[Report]) -> str:
    """How busy the load generator was and how many calls failed, as text."""
    failed = sum(report.failed for report in reports)
    busy = statistics.median(report.client_share for report in reports)
    return f"generator {busy:.0%} busy, {failed:,} of {sum(report.calls for report in reports) + failed:,} failed"
