"""The order of tests across processes: long tests first, distributed over all processes."""

import pytest
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

# Prefixes of node ids. Each case of these is scheduled alone; all other tests are scheduled by file.
ALONE = (
    "tests/e2e/test_chaos.py::test_short_scenario_has_no_loss",
    "tests/conformance/test_own_services.py::test_conform_on_sqlite",
    "tests/conformance/test_own_services.py::test_conform_on_postgresql",
)
FIRST = (
    *ALONE,
    "tests/guarantees/test_1_fail_closed.py",
    "tests/e2e/test_workers.py",
    "tests/e2e/test_envoy.py",
    "tests/e2e/test_bulk_check.py",
    "tests/e2e/test_operations.py",
    "tests/guarantees/test_2_durability.py",
    "tests/guarantees/test_5_parties_gate.py",
    "tests/e2e/test_disk_faults.py",
    "tests/guarantees/test_9_malformed_input.py",
    "tests/integration/storage/test_recall.py",
    "tests/unit/tools/test_bench.py",
    "tests/e2e/test_shutdown.py",
)


def rank(item: pytest.Item) -> int:
    """The position of *item* in the start order."""
    return next((place for place, name in enumerate(FIRST) if item.nodeid.startswith(name)), len(FIRST))


class FileScheduling(LoadFileScheduling):  # type: ignore[misc]  # it has no types
    """Schedules the tests of a file together, except those in ALONE."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith(ALONE) else str(super()._split_scope(nodeid))
