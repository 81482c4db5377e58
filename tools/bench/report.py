"""The one table that all measurements end in."""

from collections.abc import Sequence

from rich.table import Table

from tools.bench.metric import Metric


def table(figures: Sequence[Metric]) -> Table:
    """Each figure with what was measured, and whether it reaches its target."""
    shown = Table(
        title="Medians of paired runs; in brackets the lowest and the highest ratio of a pair", show_lines=True
    )
    for heading in ("figure", "what was measured"):
        shown.add_column(heading)
    for heading in ("value", "target", "met"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for figure in figures:
        target = figure.target
        bound = f"{'>=' if target.at_least else '<='} {figure.form.format(target.bound)}" if target else ""
        met = ("yes" if target.met(figure.value) else "no") if target else ""
        shown.add_row(figure.name, figure.measured, figure.form.format(figure.value), bound, met)
    return shown
