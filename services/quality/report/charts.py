"""Charts as plain SVG without script. Colours are CSS classes, so that print, light and dark mode can differ.

A colour has one meaning in all charts: that of the cause, of an answer, or of a state; percentiles differ by their
dashes. What was not measured, and days to come, have forms of their own. Every day or hour has its figures as a
tooltip (SVG `title`), once for all shapes above it: a report has a thousand of them. In Persian the time axis runs from
right to left.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Protocol

from markupsafe import Markup, escape

from quality.evaluation.report_model import Counts, Coverage, DayReport, Outage
from quality.periods import Month
from quality.report.i18n import Localizer

CAUSES = ("provider", "exchange", "unknown", "consumer", "ungranted", "throttled", "planned", "dependency")
STACKED = ("answered", *CAUSES)
PERCENTILES = ("p99", "p95", "p50")
LONGEST_MONTH = 31
LEAST_HEIGHT = 0.2
"""Of a bar, in units of the drawing: what is lower can't be seen, and its number is in the tooltip."""
_STATES = {Coverage.NOT_MEASURED: "unmeasured", Coverage.FUTURE: "outside", Coverage.ABSENT: "outside"}
"""How a time without figures is drawn; any other has some."""


class Timed(Protocol):
    """A method or a service with its days."""

    @property
    def days(self) -> tuple[DayReport, ...]:
        """Its days."""


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

    def outline(self, first: float, end: float, low: float, high: float) -> str:
        """The same bar as a part of a path; empty if it is too low to be seen."""
        left, right = sorted((self.x(first), self.x(end)))
        high, low = self.y(high), self.y(low)
        return _outline(left, right - left, low, high - low) if low - high >= LEAST_HEIGHT else ""

    def slots(self, titles: Iterable[tuple[int, str]]) -> Iterable[str]:
        """Slots of the whole height, not drawn: where a pointer finds their *titles*."""
        yield '<g class="slots">'
        for at, title in titles:
            left, right = sorted((round(self.x(at)), round(self.x(at + 1))))
            path = _outline(left, right - left, 0, self.height)
            yield f'<path d="{path}"><title>{escape(title)}</title></path>'
        yield "</g>"

    def ticks(self, labels: Iterable[tuple[float, str]]) -> Iterable[str]:
        """Horizontal grid lines at the shares of *labels*, each with its label."""
        edge = self.x(0)
        ys = [(_number(self.y(share)), _number(self.y(share) + 4), label) for share, label in labels]
        lines = "".join(f"M{_number(edge)} {y}H{_number(self.x(self.count))}" for y, _, _ in ys)
        yield f'<path class="grid" d="{lines}"/>'
        beyond, anchor = (edge + 6, "start") if self.mirrored else (edge - 6, "end")
        place = f'direction="ltr" text-anchor="{anchor}" transform="translate({_number(beyond)} 0)"'
        yield f'<g class="axis" {place}>'
        yield from (f'<text y="{below}">{label}</text>' for _, below, label in ys)
        yield "</g>"

    def unit(self, text: str) -> str:
        """The unit of the y axis, above it."""
        x, anchor = (self.width - 2, "end") if self.mirrored else (2, "start")
        place = f'x="{x}" y="{self.top - 8}" text-anchor="{anchor}"'
        return f'<text class="axis" direction="ltr" {place}>{escape(text)}</text>'

    def labels(self, texts: Iterable[tuple[float, str]]) -> Iterable[str]:
        """Labels of the x axis at their places, in days or hours."""
        yield f'<g class="axis" text-anchor="middle" transform="translate(0 {self.height - 6})">'
        yield from (f'<text x="{self.x(place):.1f}">{escape(text)}</text>' for place, text in texts)
        yield "</g>"

    def slot_labels(self, slots: "Sequence[Slot]") -> Iterable[str]:
        """Labels of the x axis: those that *slots* have."""
        yield from self.labels((at + 0.5, slot.label) for at, slot in enumerate(slots) if slot.label)

    def bound(self, share: float, name: str, title: str) -> str:
        """A line at *share*, the bound of what is called *name*."""
        y, end = self.y(share), self.x(self.count)
        anchor = "start" if self.mirrored else "end"
        ends = f'x1="{self.x(0):.1f}" x2="{self.x(self.count):.1f}" y1="{y:.1f}" y2="{y:.1f}"'
        text = f'<text class="axis" x="{end:.1f}" y="{y - 3:.1f}" text-anchor="{anchor}">{escape(name)}</text>'
        return f'<line class="bound" {ends}><title>{escape(title)}</title></line>{text}'

    def group(self, parts: Iterable[str], label: str) -> Markup:
        """The SVG element, stretched to any width, with links in it."""
        box = f'viewBox="0 0 {self.width} {self.height}" preserveAspectRatio="none"'
        head = f'<svg class="chart" {box} role="group" aria-label="{escape(label)}">'
        return Markup(head + "".join(parts) + "</svg>")  # noqa: S704 - only numbers and escaped text

    def render(self, parts: Iterable[str], label: str, *, stretched: bool = False) -> Markup:
        """The SVG element; a *stretched* one ignores the aspect ratio."""
        box = f'viewBox="0 0 {self.width} {self.height}"' + (' preserveAspectRatio="none"' if stretched else "")
        head = f'<svg class="chart" {box} role="img" aria-label="{escape(label)}">'
        return Markup(head + "".join(parts) + "</svg>")  # noqa: S704 - only numbers and escaped text


@dataclass(frozen=True, slots=True)
class Slot:
    """One place on the time axis, a day or an hour."""

    name: str
    """As tooltips call it."""
    label: str
    """What stands below the axis; empty for most."""
    counts: Counts | None
    state: str | None = None
    """How it is drawn if it has no figures; None if it has some."""


def day_slots(days: Sequence[DayReport], l10n: Localizer) -> list[Slot]:
    """A slot for each of *days*, with the number of the day below some of them and, of several months, their names."""
    many = len(days) > LONGEST_MONTH
    return [
        Slot(l10n.day(day.day), _day_label(day, l10n, is_in_months=many), day.counts, _state_without_figures(day))
        for day in days
    ]


def _day_label(day: DayReport, l10n: Localizer, *, is_in_months: bool) -> str:
    year, month, number = map(int, day.jalali.split("-"))
    if is_in_months:
        return l10n.month(Month(year, month)) if number == 1 else ""
    return l10n.digits(str(number)) if number == 1 or number % 5 == 0 else ""


def latency(slots: Sequence[Slot], bounds: Mapping[str, float], l10n: Localizer, label: str) -> Markup:
    """The three percentiles of each slot in milliseconds, on a logarithmic scale, and the promised *bounds* of some."""
    found = [v for slot in slots if slot.counts for name in PERCENTILES if (v := getattr(slot.counts, name))]
    frame = Frame(len(slots), 190, mirrored=l10n.persian, width=460)
    values = [*found, *bounds.values()]
    low, high = _round_down(min(values, default=1)), _round_up(max(values, default=10))

    def share(value: float) -> float:
        return math.log(value / low) / math.log(high / low) if high > low else 0.5

    steps = [step * 10.0**power for power in range(-3, 6) for step in (1, 2, 5)]
    parts = list(frame.ticks((share(step), l10n.number(step, 3)) for step in steps if low <= step <= high))
    parts += [*frame.slot_labels(slots), frame.unit(l10n("ms"))]
    for name in PERCENTILES:
        points = [(at, getattr(slot.counts, name, None)) for at, slot in enumerate(slots)]
        path = "".join(
            _line([(frame.x(at + 0.5), frame.y(share(value))) for at, value in run]) for run in _contiguous(points)
        )
        parts.append(f'<path class="line {name}" d="{path}"/>')
    parts += frame.slots(
        (at, _latency_title(slot, l10n)) for at, slot in enumerate(slots) if slot.counts and slot.counts.p50
    )
    for name in PERCENTILES:
        if name in bounds:
            title = f"{_percentile(l10n, name)}{l10n.comma} {l10n('at_most')} {_milliseconds(l10n, bounds[name])}"
            parts.append(frame.bound(share(bounds[name]), _percentile(l10n, name), title))
    return frame.render(parts, label)


def _line(points: Sequence[tuple[float, float]]) -> str:
    """A part of a path through *points*; one alone is a short stroke, so that it is seen."""
    if len(points) == 1:
        [(x, y)] = points
        return f"M{x - 2:.1f},{y:.1f}h4"
    rounded = [(round(x, 1), round(y, 1)) for x, y in points]
    steps = (f"{_number(x - before)} {_number(y - above)}" for (before, above), (x, y) in pairwise(rounded))
    return f"M{_number(rounded[0][0])} {_number(rounded[0][1])}l{' '.join(steps)}"


def _outline(left: float, width: float, bottom: float, height: float) -> str:
    """A rectangle as a part of a path; a *height* below 0 goes up."""
    return f"M{_number(left)} {_number(bottom)}v{_number(height)}h{_number(width)}V{_number(bottom)}z"


def _number(value: float) -> str:
    """A coordinate with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")


def _latency_title(slot: Slot, l10n: Localizer) -> str:
    values = [
        f"{_percentile(l10n, name)}: {l10n.milliseconds(value)}"
        for name in PERCENTILES
        if (value := getattr(slot.counts, name)) is not None
    ]
    return f"{l10n.comma} ".join([slot.name, *values])


def _percentile(l10n: Localizer, name: str) -> str:
    return l10n("median" if name == "p50" else name)


def _milliseconds(l10n: Localizer, value: float) -> str:
    return f"{l10n.milliseconds(value)} {l10n('ms')}"


def volume(slots: Sequence[Slot], l10n: Localizer, label: str, *, explained: Sequence[str] = STACKED) -> Markup:
    """Inquiries of each slot: the answered ones, and the others by cause; tooltips count what is *explained*."""
    frame = Frame(len(slots), 150, mirrored=l10n.persian)
    most = _round_up(max((slot.counts.inquiries for slot in slots if slot.counts), default=0) or 1)
    parts = [frame.unit(l10n("inquiries"))]
    parts += frame.ticks((part, l10n.count(round(most * part))) for part in (0, 0.5, 1))
    for at, slot in enumerate(slots):
        if slot.state or not slot.counts:
            parts += _without_figures(frame, at, slot, l10n)
    stacks = [[getattr(slot.counts, kind) for kind in STACKED] if _is_drawn(slot) else [] for slot in slots]
    parts += _stacked(frame, STACKED, stacks, most)
    parts += _figures(frame, slots, explained, lambda counts, kind: l10n.count(getattr(counts, kind)), l10n)
    return frame.render([*parts, *frame.slot_labels(slots)], label)


def _is_drawn(slot: Slot) -> bool:
    return slot.counts is not None and not slot.state


def _stacked(frame: Frame, kinds: Sequence[str], stacks: Sequence[Sequence[float]], most: float) -> Iterable[str]:
    """One path for each of *kinds*: its part of each slot's column, above those of the kinds before it."""
    for number, kind in enumerate(kinds):
        bars = (
            frame.outline(at + 0.14, at + 0.86, sum(stack[:number]) / most, sum(stack[: number + 1]) / most)
            for at, stack in enumerate(stacks)
            if stack
        )
        if path := "".join(bars):
            yield f'<path class="{kind}" d="{path}"/>'


def _figures(
    frame: Frame, slots: Sequence[Slot], kinds: Sequence[str], text: Callable[[Counts, str], str], l10n: Localizer
) -> Iterable[str]:
    """Each slot with the *text* of each of *kinds* that it has as a tooltip."""
    values = (
        [f"{_kind(l10n, kind)}: {text(slot.counts, kind)}" for kind in kinds if getattr(slot.counts, kind)]
        if slot.counts and not slot.state
        else []
        for slot in slots
    )
    titles = ((at, [slots[at].name, *found]) for at, found in enumerate(values) if found)
    return frame.slots((at, f"{l10n.comma} ".join(title)) for at, title in titles)


def _kind(l10n: Localizer, kind: str) -> str:
    return l10n(kind if kind == "answered" else f"fault_{kind}")


def _without_figures(frame: Frame, at: int, slot: Slot, l10n: Localizer) -> Iterable[str]:
    if slot.state:
        yield frame.bar(at + 0.14, at + 0.86, 0, 1, slot.state, f"{slot.name}{l10n.comma} {l10n(slot.state)}")


def _state_without_figures(day: DayReport) -> str | None:
    """How *day* is drawn if it has no figures; None if it has some."""
    return None if day.counts and day.counts.inquiries else _STATES.get(day.coverage)


def failures(slots: Sequence[Slot], l10n: Localizer, label: str) -> Markup:
    """Share of each slot's inquiries without an answer, by attribution; tooltips have the numbers too."""
    frame = Frame(len(slots), 150, mirrored=l10n.persian)
    shares = [
        [100 * getattr(one, cause) / one.inquiries if one.inquiries else 0.0 for cause in CAUSES] if one else []
        for one in (slot.counts if _is_drawn(slot) else None for slot in slots)
    ]
    most = _round_up(max(map(sum, shares), default=0) or 1)
    parts = list(frame.ticks((part, l10n.share(most * part)) for part in (0, 0.5, 1)))
    parts += [*frame.slot_labels(slots), frame.unit(l10n("of_inquiries"))]
    for at, slot in enumerate(slots):
        parts += _without_figures(frame, at, slot, l10n)
    parts += _stacked(frame, CAUSES, shares, most)
    parts += _figures(frame, slots, CAUSES, lambda counts, cause: _count_and_share(counts, cause, l10n), l10n)
    return frame.render(parts, label)


def _count_and_share(counts: Counts, cause: str, l10n: Localizer) -> str:
    number = getattr(counts, cause)
    return f"{l10n.count(number)} ({l10n.share(100 * number / counts.inquiries)})"


def outage_timeline(
    outages: Sequence[Outage], begins: datetime, methods: Sequence[Timed], l10n: Localizer, label: str
) -> Markup:
    """The month of one service with these *methods* as a band with its outages, and the days that were not measured."""
    days = methods[0].days
    frame = Frame(len(days), 54, mirrored=l10n.persian, top=6)
    parts: list[str] = []
    for state, run in groupby(enumerate(_measured_states(methods)), key=itemgetter(1)):
        places = [at for at, _ in run]
        bars = "".join(frame.outline(at + 0.03, at + 0.97, 0, 1) for at in places)
        when = " \u2013 ".join(dict.fromkeys(l10n.day(days[at].day) for at in (places[0], places[-1])))
        title = f"{when}{l10n.comma} {l10n('measured_day' if state == 'measured' else state)}"
        parts.append(f'<path class="{state}" d="{bars}"><title>{escape(title)}</title></path>')
    parts += frame.slot_labels(day_slots(days, l10n))
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


def _measured_states(methods: Sequence[Timed]) -> Iterable[str]:
    """How each day of *methods* was measured."""
    for of_methods in zip(*(method.days for method in methods), strict=True):
        states = {_STATES.get(one.coverage) for one in of_methods}
        gaps = any(one.minutes.unmeasured for one in of_methods)
        yield ("partly_measured" if gaps else "measured") if None in states else max(map(str, states))


def _contiguous(points: Iterable[tuple[int, float | None]]) -> Iterable[list[tuple[int, float]]]:
    run: list[tuple[int, float]] = []
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
