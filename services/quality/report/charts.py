"""Charts as plain SVG without script. Colours are CSS classes, so that print, light and dark mode can differ.

A colour has one meaning in all charts: that of the cause, of an answer, or of a state; percentiles differ by their
dashes. What was not measured, and days to come, have forms of their own. Every shape has its figures as a tooltip
(SVG `title`). In Persian the time axis runs from right to left.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup, escape

from quality.evaluation.report_model import Counts, Coverage, DayReport, MethodReport, Outage
from quality.report.i18n import Localizer

CAUSES = ("provider", "exchange", "unknown", "consumer", "ungranted", "throttled", "planned")
STACKED = ("answered", *CAUSES)
_STATES = {Coverage.NOT_MEASURED: "unmeasured", Coverage.FUTURE: "outside", Coverage.ABSENT: "outside"}
"""How a time without figures is drawn; any other has some."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Coordinate system of a chart: days on the x axis, a scale from 0 to 1 on the y axis."""

    count: int
    height: int
    mirrored: bool
    top: int = 22
    bottom: int = 24
    width: int = 720
    margin: int = 58

    def x(self, place: float) -> float:
        """The x coordinate of *place*, in days."""
        at = self.margin + (self.width - self.margin - (8 if self.margin else 0)) * place / self.count
        return self.width - at if self.mirrored else at

    def y(self, share: float) -> float:
        """The y coordinate of *share*, from 0 to 1."""
        return self.top + (self.height - self.top - self.bottom) * (1 - share)

    def bar(self, first: float, end: float, low: float, high: float, kind: str, title: str) -> str:
        """A bar from *first* to *end* (days) and from *low* to *high* (shares), of CSS class *kind*."""
        left, right = sorted((self.x(first), self.x(end)))
        top, bottom = self.y(high), self.y(low)
        size = f'width="{right - left:.1f}" height="{max(bottom - top, 0):.2f}"'
        return f'<rect class="{kind}" x="{left:.1f}" y="{top:.2f}" {size}><title>{escape(title)}</title></rect>'

    def tick(self, share: float, label: str) -> str:
        """A horizontal grid line at *share*, with its label."""
        y, edge = self.y(share), self.x(0)
        beyond = edge + 6 if self.mirrored else edge - 6
        anchor = "start" if self.mirrored else "end"
        return (
            f'<line class="grid" x1="{edge:.1f}" x2="{self.x(self.count):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="axis" direction="ltr" x="{beyond:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">{label}</text>'
        )

    def unit(self, text: str) -> str:
        """The unit of the y axis, above it."""
        x, anchor = (self.width - 2, "end") if self.mirrored else (2, "start")
        place = f'x="{x}" y="{self.top - 8}" text-anchor="{anchor}"'
        return f'<text class="axis" direction="ltr" {place}>{escape(text)}</text>'

    def labels(self, texts: Iterable[tuple[float, str]]) -> Iterable[str]:
        """Labels of the x axis at their places, in days or hours."""
        for place, text in texts:
            x = self.x(place)
            yield f'<text class="axis" x="{x:.1f}" y="{self.height - 6}" text-anchor="middle">{escape(text)}</text>'

    def day_labels(self, l10n: Localizer) -> Iterable[str]:
        """Labels of the x axis: day numbers."""
        days = (1, *range(5, self.count + 1, 5))
        yield from self.labels((day - 0.5, l10n.digits(str(day))) for day in days)

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
    parts += [*frame.day_labels(l10n), frame.unit(l10n("ms"))]
    for name in ("p99", "p95", "p50"):
        points = [(at + 0.5, getattr(one, name, None)) for at, one in enumerate(counts)]
        for run in _contiguous(points):
            path = " ".join(f"{frame.x(at):.1f},{frame.y(share(value)):.1f}" for at, value in run)
            parts.append(f'<polyline class="line {name}" points="{path}"/>')
            parts += [
                f'<circle class="dot {name}" cx="{frame.x(at):.1f}" cy="{frame.y(share(value)):.1f}" r="2.4">'
                f"<title>{escape(_titled(l10n, days[int(at)], name, l10n.milliseconds(value), 'ms'))}</title></circle>"
                for at, value in run
            ]
    return frame.render(parts, label)


def _titled(l10n: Localizer, day: DayReport, name: str, value: str, unit: str = "") -> str:
    key = "median" if name == "p50" else name
    return f"{l10n.day(day.day)}{l10n.comma} {l10n(key)}: {value} {l10n(unit) if unit else ''}".strip()


def volume(days: Sequence[DayReport], l10n: Localizer, label: str) -> Markup:
    """Inquiries of each day: the answered ones, and the others by cause."""
    frame = Frame(len(days), 150, mirrored=l10n.persian)
    slots = [_state_without_figures(day) or day.counts for day in days]
    names = [l10n.day(day.day) for day in days]
    return frame.render([*columns(frame, slots, names, l10n), *frame.day_labels(l10n)], label)


def columns(frame: Frame, slots: Sequence[Counts | str | None], names: Sequence[str], l10n: Localizer) -> Iterable[str]:
    """A stacked column for each of *slots*, called *names*, with the grid of their scale; a state stands for itself."""
    counted = [one for one in slots if isinstance(one, Counts)]
    most = _round_up(max((one.inquiries for one in counted), default=0) or 1)
    yield frame.unit(l10n("inquiries"))
    yield from (frame.tick(part, l10n.count(round(most * part))) for part in (0, 0.5, 1))
    for at, (one, name) in enumerate(zip(slots, names, strict=True)):
        if isinstance(one, Counts):
            below = 0
            for kind in STACKED:
                if value := getattr(one, kind):
                    title = f"{name}{l10n.comma} {_kind(l10n, kind)}: {l10n.count(value)}"
                    yield frame.bar(at + 0.14, at + 0.86, below / most, (below + value) / most, kind, title)
                below += value
        elif one:
            yield _unknown(frame, at, one, name, l10n)


def _kind(l10n: Localizer, kind: str) -> str:
    return l10n(kind if kind == "answered" else f"fault_{kind}")


def _unknown(frame: Frame, at: int, state: str, name: str, l10n: Localizer) -> str:
    return frame.bar(at + 0.14, at + 0.86, 0, 1, state, f"{name}{l10n.comma} {l10n(state)}")


def _state_without_figures(day: DayReport) -> str | None:
    """How *day* is drawn if it has no figures; None if it has some."""
    return None if day.counts and day.counts.inquiries else _STATES.get(day.coverage)


def failures(days: Sequence[DayReport], l10n: Localizer, label: str) -> Markup:
    """Share of each day's inquiries without an answer, by attribution."""
    frame = Frame(len(days), 150, mirrored=l10n.persian)
    shares = [
        [100 * getattr(one, cause) / one.inquiries if one.inquiries else 0.0 for cause in CAUSES] if one else []
        for one in (day.counts for day in days)
    ]
    most = _round_up(max(map(sum, shares), default=0) or 1)
    parts = [frame.tick(part, l10n.share(most * part)) for part in (0, 0.5, 1)]
    parts += [*frame.day_labels(l10n), frame.unit(l10n("of_inquiries"))]
    for at, (stack, day) in enumerate(zip(shares, days, strict=True)):
        if state := _state_without_figures(day):
            parts.append(_unknown(frame, at, state, l10n.day(day.day), l10n))
            continue
        below = 0.0
        for cause, value in zip(CAUSES, stack, strict=False):
            if value:
                title = _titled(l10n, day, f"fault_{cause}", l10n.share(value))
                parts.append(frame.bar(at + 0.14, at + 0.86, below / most, (below + value) / most, cause, title))
            below += value
    return frame.render(parts, label)


def outage_timeline(
    outages: Sequence[Outage], begins: datetime, methods: Sequence[MethodReport], l10n: Localizer, label: str
) -> Markup:
    """The month of one service with these *methods* as a band with its outages, and the days that were not measured."""
    days = methods[0].days
    frame = Frame(len(days), 54, mirrored=l10n.persian, top=6)
    parts: list[str] = []
    for at, of_methods in enumerate(zip(*(method.days for method in methods), strict=True)):
        states = {_STATES.get(one.coverage) for one in of_methods}
        gaps = any(one.minutes.unmeasured for one in of_methods)
        state = ("partly_measured" if gaps else "measured") if None in states else max(map(str, states))
        title = f"{l10n.day(of_methods[0].day)}{l10n.comma} {l10n('measured_day' if state == 'measured' else state)}"
        parts.append(frame.bar(at + 0.03, at + 0.97, 0, 1, state, title))
    parts += frame.day_labels(l10n)
    # The longest are drawn first, so that they hide nothing; a short one keeps a minimum width.
    for outage in sorted(outages, key=lambda one: -one.minutes):
        first = (outage.first - begins).total_seconds() / 86400
        end = max((outage.end - begins).total_seconds() / 86400, first + 0.12)
        title = (
            f"{l10n('fault_' + outage.fault)}{l10n.comma} {l10n.instant(outage.first)} \u2013 "
            f"{l10n.instant(outage.end)}{l10n.comma} {l10n.length(outage.down)}"
        )
        parts.append(frame.bar(first, end, 0, 1, outage.fault, title))
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
