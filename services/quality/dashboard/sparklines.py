"""Small SVG charts of the last day. In Persian the time axis runs from right to left."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from markupsafe import Markup

from quality.evaluation import minute_states
from quality.evaluation.report_model import Counts
from quality.report.charts import Frame, columns
from quality.report.i18n import Localizer

CELL_MINUTES = 5
"""A cell shows the worst of this many minutes."""
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


def traffic(counts: Sequence[Counts], until: datetime, l10n: Localizer, label: str) -> Markup:
    """Inquiries of each hour *until* then: the answered ones, and the others by cause."""
    frame = Frame(len(counts), 140, mirrored=l10n.persian)
    ends = [until - timedelta(hours=back) for back in range(len(counts) - 1, -1, -1)]
    names = [_span(end - timedelta(hours=1), end, l10n) for end in ends]
    labels = ((at, l10n.time(end - timedelta(hours=1))) for at, end in enumerate(ends) if at % 4 == 0)
    return frame.render([*columns(frame, counts, names, l10n), *frame.labels(labels)], label)


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
