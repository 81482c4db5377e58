"""The one table that a measurement ends in."""

import operator
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table

from bench.figures import Pair
from bench.load import Report


@dataclass(frozen=True, slots=True)
class _Row:
    """A figure of both servers, and how the full one's compares with the bare one's in the same pair."""

    name: str
    figure: Callable[[Report], float]
    form: str
    compare: Callable[[float, float], float]
    target: str = ""

    def cells(self, pairs: Sequence[Pair]) -> tuple[str, ...]:
        compared = [self.compare(self.figure(pair.full), self.figure(pair.bare)) for pair in pairs]
        form = "{:.2f}" if self.compare is operator.truediv else self.form
        low, middle, high = (form.format(of(compared)) for of in (min, statistics.median, max))
        return (
            self.name,
            self.form.format(statistics.median(self.figure(pair.bare) for pair in pairs)),
            self.form.format(statistics.median(self.figure(pair.full) for pair in pairs)),
            f"{middle} ({low} to {high})",
            self.target,
        )


_MANY = (
    _Row("calls a second", operator.attrgetter("throughput"), "{:,.0f}", operator.truediv, ">= 0.90"),
    _Row("server CPU, us a call", operator.attrgetter("server_micros"), "{:,.0f}", operator.truediv),
    _Row("p50, ms", operator.attrgetter("p50"), "{:,.1f}", operator.sub),
    _Row("p95, ms", operator.attrgetter("p95"), "{:,.1f}", operator.sub),
    _Row("p99, ms", operator.attrgetter("p99"), "{:,.1f}", operator.sub),
    _Row("calls that failed", operator.attrgetter("failed"), "{:,.0f}", operator.sub),
    _Row("load generator's core, busy", operator.attrgetter("client_share"), "{:.0%}", operator.sub),
)
_ONE = (
    _Row("p50, ms", operator.attrgetter("p50"), "{:,.2f}", operator.sub, "<= 2.00"),
    _Row("p99, ms", operator.attrgetter("p99"), "{:,.2f}", operator.sub),
    _Row("server CPU, us a call", operator.attrgetter("server_micros"), "{:,.0f}", operator.truediv),
    _Row("calls that failed", operator.attrgetter("failed"), "{:,.0f}", operator.sub),
)


def table(*, many: Sequence[Pair], one: Sequence[Pair], reply_bytes: int) -> Table:
    """Medians over the rounds. What compares the two is the median of the pairs, with the lowest and the highest."""
    shown = Table(title=f"The full service beside a bare handler that gives {reply_bytes} constant bytes")
    for heading in ("", "bare", "full", "full beside bare", "target"):
        shown.add_column(heading, justify="right" if heading else "left")
    for title, rows, pairs in (("128 callers", _MANY, many), ("one caller alone", _ONE, one)):
        shown.add_row(f"[bold]{title}")
        for row in rows:
            shown.add_row(*row.cells(pairs))
        batch = statistics.median(pair.batch for pair in pairs)
        shown.add_row("inquiries in a commit, mean", "", f"{batch:,.1f}", end_section=True)
    return shown
