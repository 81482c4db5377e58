"""Drawings of the last day as plain SVG; in Persian time runs from right to left, as its reader's eye does."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from markupsafe import Markup

from quality.evaluation import minute_states
from quality.evaluation.report_model import Counts
from quality.report.charts import Frame, columns
from quality.report.i18n import Wording

CELL = 5
"""Minutes; a cell shows the worst of them."""
_WORST_FIRST = (
    minute_states.PROVIDER,
    minute_states.EXCHANGE,
    minute_states.PLANNED,
    minute_states.UP,
    minute_states.UNMEASURED,
    minute_states.ABSENT,
)


def ribbon(minutes: bytes, say: Wording, label: str) -> Markup:
    """The state of each minute as a band."""
    cells = [_worst(minutes[at : at + CELL]) for at in range(0, len(minutes), CELL)]
    frame = Frame(len(cells), 22, mirrored=say.persian, top=0, bottom=0, margin=0)
    return frame.drawn(_bars(frame, cells), label, stretched=True)


def traffic(hours: Sequence[Counts], say: Wording, label: str) -> Markup:
    """The inquiries of each hour, answered and not."""
    frame = Frame(len(hours), 120, mirrored=say.persian, bottom=8)
    return frame.drawn(columns(frame, hours, say), label)


def _worst(cell: bytes) -> int:
    return next(state for state in _WORST_FIRST if state in cell)


def _bars(frame: Frame, cells: Sequence[int]) -> Iterator[str]:
    first = 0
    for state, run in groupby(cells):
        end = first + len(list(run))
        yield frame.bar(first, end, 0, 1, minute_states.NAMES[state])
        first = end
