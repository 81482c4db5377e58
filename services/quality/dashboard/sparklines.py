"""Small SVG charts of the last day. In Persian the time axis runs from right to left."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from markupsafe import Markup

from quality.evaluation import minute_states
from quality.evaluation.report_model import Counts
from quality.report.charts import Frame, columns
from quality.report.i18n import Localizer

CELL_MINUTES = 5
"""A cell shows the worst of this many minutes."""
_WORST_FIRST = (
    minute_states.PROVIDER,
    minute_states.EXCHANGE,
    minute_states.UNKNOWN,
    minute_states.PLANNED,
    minute_states.UP,
    minute_states.UNMEASURED,
    minute_states.ABSENT,
)


def ribbon(minutes: bytes, l10n: Localizer, label: str) -> Markup:
    """The state of each minute as a coloured band."""
    cells = [_worst(minutes[at : at + CELL_MINUTES]) for at in range(0, len(minutes), CELL_MINUTES)]
    frame = Frame(len(cells), 22, mirrored=l10n.persian, top=0, bottom=0, margin=0)
    return frame.render(_bars(frame, cells), label, stretched=True)


def traffic(hours: Sequence[Counts], l10n: Localizer, label: str) -> Markup:
    """Answered and failed inquiries of each hour."""
    frame = Frame(len(hours), 120, mirrored=l10n.persian, bottom=8)
    return frame.render(columns(frame, hours, l10n), label)


def _worst(cell: bytes) -> int:
    return next(state for state in _WORST_FIRST if state in cell)


def _bars(frame: Frame, cells: Sequence[int]) -> Iterator[str]:
    first = 0
    for state, run in groupby(cells):
        end = first + len(list(run))
        yield frame.bar(first, end, 0, 1, minute_states.NAMES[state])
        first = end
