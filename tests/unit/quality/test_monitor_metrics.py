"""Metrics of the monitor: what one round of probes shows of a method."""

import pytest

from quality.attribution import Attribution
from quality.monitor.monitor_metrics import MonitorMetrics
from quality.records import Probe


@pytest.mark.parametrize(
    ("faults", "available"),
    [
        ([None, Attribution.PROVIDER], 1),
        ([Attribution.CONSUMER], 1),
        ([Attribution.CONSUMER, Attribution.PROVIDER], 0),
        ([Attribution.EXCHANGE], 0),
        ([Attribution.UNKNOWN], 0),
    ],
)
def test_available_as_in_reports(faults: list[Attribution | None], available: int) -> None:
    """A method is available by the same rule as in a report."""
    metrics = MonitorMetrics()
    metrics.record_probes([Probe(1, "m", f"{number}", fault, "") for number, fault in enumerate(faults)])

    assert available == metrics.registry.get_sample_value("estelam_probe_available", {"method": "m"})
