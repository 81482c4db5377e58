"""The rows of a batch that keep every check, and why the others do not."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from estelam.loading.checks import Check
from estelam.loading.reader import Batch
from estelam.loading.rejects import Reject


def apply_checks(batch: Batch, checks: Sequence[Check]) -> tuple[Any, dict[str, Any], list[Reject]]:
    """Numbers and texts of the rows that keep all *checks*, and what was refused, in the order of the file."""
    bad: dict[int, Reject] = {}
    for check in checks:
        doubtful = check.suspect(batch.columns)
        for place in pc.indices_nonzero(doubtful).to_pylist() if pc.any(doubtful).as_py() else ():
            if place not in bad and (reason := check.reason(batch.columns, place)):
                bad[place] = Reject(batch.numbers[place].as_py(), check.column, reason)
    if not bad:
        return batch.numbers, batch.columns, batch.rejects
    kept = pa.array([place not in bad for place in range(len(batch.numbers))], pa.bool_())
    texts = {name: column.filter(kept) for name, column in batch.columns.items()}
    return batch.numbers.filter(kept), texts, sorted([*batch.rejects, *bad.values()])
