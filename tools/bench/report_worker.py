"""A process that generates a monthly report and prints its cost: settings on stdin, JSON on stdout."""

import json
import sys
import time
from dataclasses import asdict, dataclass, replace

from estelam.core.clock import Clock
from quality.evaluation.audience import WORKING_GROUP
from quality.report.generate import generate_reports
from quality.settings import QualitySettings
from tools.bench.processes import peak_mib


@dataclass(frozen=True, slots=True)
class ReportCost:
    """The cost of a report, including imports."""

    inquiries: int
    cpu_seconds: float
    peak_mib: float


def main(month: str, micros: int) -> ReportCost:
    """Generate the report of *month* as of an instant in microseconds, with the settings from stdin."""
    settings = QualitySettings.model_validate_json(sys.stdin.read())
    clock = replace(Clock(), micros=lambda: micros)
    [written] = generate_reports(settings, month=month, audiences=[WORKING_GROUP], clock=clock)
    return ReportCost(written.inquiries or 0, time.process_time(), peak_mib())


if __name__ == "__main__":
    print(json.dumps(asdict(main(sys.argv[1], int(sys.argv[2])))))
