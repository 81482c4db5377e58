"""Small SVG charts of the last day and of many days. In Persian the time axis runs from right to left."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from markupsafe import Markup, escape

from quality.evaluation import minute_states
from quality.evaluation.report_model import Counts, Coverage, DayReport
from quality.report.charts import Frame, Slot
from quality.report.i18n import Localizer

CELL_MINUTES = 5
"""A cell shows the worst of this many minutes."""
HOUR = timedelta(hours=1)
FAILED = ("provider", "exchange", "unknown")
BAND_HEIGHT, GAP, LEAST_FAILURE = 34, 0.12, 0.12
_DOWN = (minute_states.PROVIDER, minute_states.EXCHANGE, minute_states.UNKNOWN)
_WORST_FIRST = (
    minute_states.PROVIDER,
    minute_states.EXCHANGE,
    minute_states.UNKNOWN,
    minute_states.PLANNED,
    minute_states.UP,
    minute_states.UNMEASURED,
    minute_states.ABSENT,
)


def ribbon(
    minutes: bytes, state: str, until: datetime, texts: Mapping[str, str], l10n: Localizer, label: str
) -> Markup:
    """The state of each minute *until* then as a coloured band, with the names of the states in *texts*.

    The last cell has the present *state*, as the badge beside it; an outage that has just ended is in the cell before.
    """
    cells = [_worst(minutes[at : at + CELL_MINUTES]) for at in range(0, len(minutes), CELL_MINUTES)]
    present = minute_states.NAMES.index(state)
    if cells[-1] in _DOWN and present not in _DOWN:
        cells[-2] = _worst(minutes[-2 * CELL_MINUTES :])
    cells[-1] = present
    frame = Frame(len(cells), 22, mirrored=l10n.persian, top=0, bottom=0, margin=0)
    return frame.render(_bars(frame, cells, until, texts, l10n), label, stretched=True)


def hours(until: datetime, l10n: Localizer) -> list[str]:
    """The times at every sixth hour of the day that ends with *until*, the oldest first: the axis of a ribbon."""
    return [l10n.time(until - timedelta(hours=back)) for back in (24, 18, 12, 6, 0)]


def hour_slots(counts: Sequence[Counts], until: datetime, l10n: Localizer) -> list[Slot]:
    """A slot for each hour *until* then."""
    ends = [until - timedelta(hours=back) for back in range(len(counts) - 1, -1, -1)]
    return [
        Slot(_span(end - HOUR, end, l10n), l10n.time(end - HOUR) if at % 4 == 0 else "", one)
        for at, (end, one) in enumerate(zip(ends, counts, strict=True))
    ]


def band(days: Sequence[DayReport], texts: Mapping[str, str], l10n: Localizer, label: str, root: str) -> Markup:
    """A bar for each of *days*: the share of its minutes in each state, and from where it failed a link to its outages.

    A failure is never narrower than LEAST_FAILURE, so that a minute of it can be seen.
    """
    frame = Frame(len(days), BAND_HEIGHT, mirrored=l10n.persian, top=0, bottom=0, margin=0)
    return frame.group((_day_bar(frame, at, day, texts, l10n, root) for at, day in enumerate(days)), label)


def _day_bar(frame: Frame, at: int, day: DayReport, texts: Mapping[str, str], l10n: Localizer, root: str) -> str:
    lost = {name: getattr(day.minutes, name) or 0 for name in FAILED}
    name, low = l10n.day(day.day), 0.0
    if day.minutes.availability is None:
        state = {Coverage.PLANNED: "planned", Coverage.NOT_MEASURED: "unmeasured"}.get(day.coverage, "absent")
        return frame.bar(at + GAP, at + 1 - GAP, 0, 1, state, f"{name}{l10n.comma} {texts['state_' + state]}")
    total = (day.minutes.up or 0) + sum(lost.values())
    states = [f"{texts['state_' + cause]} {l10n.length(minutes)}" for cause, minutes in lost.items() if minutes]
    title = f"{l10n.comma} ".join([name, l10n.share(day.minutes.availability), *states])
    parts = []
    for cause, minutes in lost.items():
        if minutes:
            high = min(1.0, low + max(minutes / total, LEAST_FAILURE))
            parts.append(frame.bar(at + GAP, at + 1 - GAP, low, high, cause, title))
            low = high
    parts.append(frame.bar(at + GAP, at + 1 - GAP, low, 1, "up", title))
    drawn = "".join(parts)
    month = day.jalali.rpartition("-")[0]
    return f'<a href="{escape(root)}?month={month}" aria-label="{escape(title)}">{drawn}</a>' if states else drawn


def _span(first: datetime, end: datetime, l10n: Localizer) -> str:
    return f"{l10n.time(first)} \u2013 {l10n.time(end)}"


def _worst(cell: bytes) -> int:
    return next(state for state in _WORST_FIRST if state in cell)


def _bars(
    frame: Frame, cells: Sequence[int], until: datetime, texts: Mapping[str, str], l10n: Localizer
) -> Iterator[str]:
    first = 0
    for state, run in groupby(cells):
        end = first + len(list(run))
        name = minute_states.NAMES[state]
        begins, ends = (until - timedelta(minutes=CELL_MINUTES * (len(cells) - at)) for at in (first, end))
        yield frame.bar(first, end, 0, 1, name, f"{_span(begins, ends, l10n)}{l10n.comma} {texts['state_' + name]}")
        first = end
