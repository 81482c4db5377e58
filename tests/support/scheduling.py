"""In which order the suite's processes take tests: what takes long first, and not all of it in one process."""

import pytest
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

# How names begin. Each case of these goes to whichever process is free; of all other tests those of a file share one.
ALONE = (
    "tests/e2e/test_chaos.py::test_nothing_is_lost_in_the_short_form",
    "tests/guarantees/test_1_fail_closed.py::test_an_error_at_any_line_of_the_course_is_a_refusal_in_constant_words",
    "tests/conformance/test_own_services.py::test_conform_on_sqlite",
    "tests/conformance/test_own_services.py::test_conform_on_postgresql",
)
FIRST = (
    *ALONE,
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
    """The place of *item* in the order of beginning."""
    return next((place for place, name in enumerate(FIRST) if item.nodeid.startswith(name)), len(FIRST))


class Turns(LoadFileScheduling):  # type: ignore[misc]  # it has no types
    """Tests of a file go together, but for those that go alone."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith(ALONE) else str(super()._split_scope(nodeid))
