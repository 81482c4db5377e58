"""The result table of all benchmarks."""

from collections.abc import Sequence

from rich.table import Table

from tools.bench.metric import Metric


def table(metrics: Sequence[Metric]) -> Table:
    """One row per metric: what was measured, value, target, and whether it is met."""
    shown = Table(
        title="Medians of paired runs; in brackets the lowest and the highest ratio of a pair", show_lines=True
    )
    for heading in ("metric", "what was measured"):
        shown.add_column(heading)
    for heading in ("value", "target", "met"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for metric in metrics:
        target = metric.target
        bound = f"{'>=' if target.at_least else '<='} {metric.form.format(target.bound)}" if target else ""
        met = ("yes" if target.met(metric.value) else "no") if target else ""
        shown.add_row(metric.name, metric.measured, metric.form.format(metric.value), bound, met)
    return shown
