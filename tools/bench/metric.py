"""A figure, the target that it is held against, and what paired runs say."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tools.bench.load.plan import Report

Baseline = TypeVar("Baseline")
Candidate = TypeVar("Candidate")


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should reach."""

    bound: float
    at_least: bool

    def met(self, value: float) -> bool:
        """Whether *value* reaches it."""
        return value >= self.bound if self.at_least else value <= self.bound


def at_least(bound: float) -> Target:
    """A figure of which more is better."""
    return Target(bound, at_least=True)


def at_most(bound: float) -> Target:
    """A figure of which less is better."""
    return Target(bound, at_least=False)


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table."""

    name: str
    measured: str
    """What was seen on the way, in words."""
    value: float
    target: Target | None = None
    """None: worth knowing, and held against nothing."""
    form: str = "{:,.2f}"
    """How the value and its target are written, unit included."""


def paired(
    rounds: int, first: Callable[[], Baseline], second: Callable[[], Candidate]
) -> tuple[list[Baseline], list[Candidate]]:
    """What both give, run right after one another so many times.

    Who goes first changes each time, so that a drift of the machine favours neither.
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
    """The median over the pairs of the first's *value* / the second's, and in words both medians and the spread."""
    ratios = [value(one) / max(value(other), 1e-9) for one, other in zip(firsts, seconds, strict=True)]
    medians = " / ".join(form.format(statistics.median(map(value, reports))) for reports in (firsts, seconds))
    return statistics.median(ratios), f"{medians} ({min(ratios):.2f} to {max(ratios):.2f})"


def remarks(reports: Sequence[Report]) -> str:
    """What must be known to believe *reports*: how busy the load generator was, and how many calls failed."""
    failed = sum(report.failed for report in reports)
    busy = statistics.median(report.client_share for report in reports)
    return f"generator {busy:.0%} busy, {failed:,} of {sum(report.calls for report in reports) + failed:,} failed"
