"""Charts as plain SVG without script. Colours are CSS classes, so that print, light and dark mode can differ.

In Persian the time axis runs from right to left.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from markupsafe import Markup, escape

from quality.evaluation.report_model import Counts, DayReport, Outage
from quality.report.i18n import Localizer

CAUSES = ("provider", "exchange", "unknown", "consumer", "ungranted", "throttled", "planned")


@dataclass(frozen=True, slots=True)
class Frame:
    """Coordinate system of a chart: days on the x axis, a scale from 0 to 1 on the y axis."""

    count: int
    height: int
    mirrored: bool
    top: int = 12
    bottom: int = 24
    width: int = 720
    margin: int = 46

    def x(self, place: float) -> float:
        """The x coordinate of *place*, in days."""
        at = self.margin + (self.width - self.margin - (8 if self.margin else 0)) * place / self.count
        return self.width - at if self.mirrored else at

    def y(self, share: float) -> float:
        """The y coordinate of *share*, from 0 to 1."""
        return self.top + (self.height - self.top - self.bottom) * (1 - share)

    def bar(self, first: float, end: float, low: float, high: float, kind: str) -> str:
        """A bar from *first* to *end* (days) and from *low* to *high* (shares), of CSS class *kind*."""
        left, right = sorted((self.x(first), self.x(end)))
        top, bottom = self.y(high), self.y(low)
        size = f'width="{right - left:.1f}" height="{max(bottom - top, 0):.2f}"'
        return f'<rect class="{kind}" x="{left:.1f}" y="{top:.2f}" {size}/>'

    def tick(self, share: float, label: str) -> str:
        """A horizontal grid line at *share*, with its label."""
        y, edge = self.y(share), self.x(0)
        beyond = edge + 6 if self.mirrored else edge - 6
        anchor = "start" if self.mirrored else "end"
        return (
            f'<line class="grid" x1="{edge:.1f}" x2="{self.x(self.count):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="axis" direction="ltr" x="{beyond:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">{label}</text>'
        )

    def day_labels(self, l10n: Localizer) -> Iterable[str]:
        """Labels of the x axis: day numbers."""
        for day in (1, *range(5, self.count + 1, 5)):
            x = self.x(day - 0.5)
            label = l10n.digits(str(day))
            yield f'<text class="axis" x="{x:.1f}" y="{self.height - 6}" text-anchor="middle">{label}</text>'

    def render(self, parts: Iterable[str], label: str, *, stretched: bool = False) -> Markup:
        """The SVG element; a *stretched* one ignores the aspect ratio."""
        box = f'viewBox="0 0 {self.width} {self.height}"' + (' preserveAspectRatio="none"' if stretched else "")
        head = f'<svg class="chart" {box} role="img" aria-label="{escape(label)}">'
        return Markup(head + "".join(parts) + "</svg>")  # noqa: S704 - only numbers and escaped text


def latency(days: Sequence[DayReport], l10n: Localizer, label: str) -> Markup:
    """The three percentiles of each day, on a logarithmic scale."""
    counts = [day.counts for day in days]
    values = [v for one in counts if one for v in (one.p50, one.p95, one.p99) if v]
    frame = Frame(len(days), 190, mirrored=l10n.persian, width=460)
    low, high = _round_down(min(values, default=1)), _round_up(max(values, default=10))

    def share(value: float) -> float:
        return math.log(value / low) / math.log(high / low) if high > low else 0.5

    steps = [step * 10.0**power for power in range(-3, 6) for step in (1, 2, 5)]
    parts = [frame.tick(share(step), l10n.number(step, 3)) for step in steps if low <= step <= high]
    parts += frame.day_labels(l10n)
    for name in ("p99", "p95", "p50"):
        points = [(at + 0.5, getattr(one, name, None)) for at, one in enumerate(counts)]
        for run in _contiguous(points):
            path = " ".join(f"{frame.x(at):.1f},{frame.y(share(value)):.1f}" for at, value in run)
            parts.append(f'<polyline class="line {name}" points="{path}"/>')
            parts += [
                f'<circle class="dot {name}" cx="{frame.x(at):.1f}" cy="{frame.y(share(value)):.1f}" r="2.4"/>'
                for at, value in run
            ]
    return frame.render(parts, label)


def volume(days: Sequence[DayReport], l10n: Localizer, label: str) -> Markup:
    """Answered and failed inquiries of each day."""
    frame = Frame(len(days), 130, mirrored=l10n.persian)
    return frame.render(
        [*columns(frame, [day.counts for day in days if day.counts], l10n), *frame.day_labels(l10n)], label
    )


def columns(frame: Frame, counts: Sequence[Counts], l10n: Localizer) -> Iterable[str]:
    """A stacked column for each of *counts* (answered, failed), with the grid of their scale."""
    most = _round_up(max((one.inquiries for one in counts), default=0) or 1)
    yield from (frame.tick(part, l10n.count(round(most * part))) for part in (0, 0.5, 1))
    for at, one in enumerate(counts):
        answered, total = one.answered / most, one.inquiries / most
        yield frame.bar(at + 0.14, at + 0.86, 0, answered, "answered")
        yield frame.bar(at + 0.14, at + 0.86, answered, total, "failed")


def failures(days: Sequence[DayReport], l10n: Localizer, label: str) -> Markup:
    """Share of each day's inquiries without an answer, by attribution."""
    frame = Frame(len(days), 150, mirrored=l10n.persian)
    shares = [
        [100 * getattr(one, cause) / one.inquiries if one.inquiries else 0.0 for cause in CAUSES]
        for one in (day.counts for day in days)
        if one
    ]
    most = _round_up(max(map(sum, shares), default=0) or 1)
    parts = [frame.tick(part, l10n.share(most * part)) for part in (0, 0.5, 1)]
    parts += frame.day_labels(l10n)
    for at, stack in enumerate(shares):
        below = 0.0
        for cause, value in zip(CAUSES, stack, strict=True):
            if value:
                parts.append(frame.bar(at + 0.14, at + 0.86, below / most, (below + value) / most, cause))
            below += value
    return frame.render(parts, label)


def outage_timeline(
    outages: Sequence[Outage], begins: datetime, days: Sequence[date], l10n: Localizer, label: str
) -> Markup:
    """The month of one service as a band with its outages."""
    frame = Frame(len(days), 54, mirrored=l10n.persian, top=6)
    parts = [frame.bar(0, len(days), 0, 1, "band")]
    parts += frame.day_labels(l10n)
    # The longest are drawn first, so that they hide nothing; a short one keeps a minimum width.
    for outage in sorted(outages, key=lambda one: -one.minutes):
        first = (outage.first - begins).total_seconds() / 86400
        end = max((outage.end - begins).total_seconds() / 86400, first + 0.12)
        parts.append(frame.bar(first, end, 0, 1, outage.fault))
    return frame.render(parts, label)


def _contiguous(points: Iterable[tuple[float, float | None]]) -> Iterable[list[tuple[float, float]]]:
    run: list[tuple[float, float]] = []
    for at, value in points:
        if value:
            run.append((at, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _round_up(most: float) -> float:
    """The smallest round number that is not below *most*."""
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in (1, 2, 3, 4, 5, 6, 8, 10) if step * power >= most)


def _round_down(least: float) -> float:
    """The largest round number that is not above *least*."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (5, 2, 1) if step * power <= least)
