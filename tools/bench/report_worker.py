"""A process that reports a month to the working group and tells what it took: settings come in, figures go out."""

import json
import sys
import time
from dataclasses import asdict, dataclass, replace

from estelam.core.clock import Clock
from quality.evaluation.audience import WORKING_GROUP
from quality.report.generate import report
from quality.settings import QualitySettings
from tools.bench.processes import peak_mib


@dataclass(frozen=True, slots=True)
class ReportCost:
    """What a report took, all that is imported for it included."""

    inquiries: int
    cpu_seconds: float
    peak_mib: float


def main(month: str, micros: int) -> ReportCost:
    """Report *month* at an instant, by the settings that come in."""
    settings = QualitySettings.model_validate_json(sys.stdin.read())
    clock = replace(Clock(), micros=lambda: micros)
    [written] = report(settings, month=month, audiences=[WORKING_GROUP], clock=clock)
    return ReportCost(written.inquiries, time.process_time(), peak_mib())


if __name__ == "__main__":
    print(json.dumps(asdict(main(sys.argv[1], int(sys.argv[2])))))
