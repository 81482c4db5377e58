"""The effect of the number of loaded cases on throughput."""

from collections.abc import Iterator
from functools import partial

from tools.bench.environment import BenchEnvironment, check_by_national_id, check_by_tracking_id, judiciary_server, load
from tools.bench.metric import Metric, at_least, compare, paired, remarks

_METHODS = {"CheckByNationalId": check_by_national_id, "CheckByTrackingId": check_by_tracking_id}


def measure(environment: BenchEnvironment) -> Iterator[Metric]:
    """Throughput of both judiciary methods with many cases / with few."""
    scale = environment.scale
    many, few = environment.with_cases(scale.rows), environment.with_cases(scale.few_rows)
    with judiciary_server(many) as large, judiciary_server(few) as small:
        for name, questions in _METHODS.items():
            full, empty = paired(
                scale.rounds,
                partial(load, large, questions(scale.rows), many.caller("cbi"), seconds=scale.seconds),
                partial(load, small, questions(scale.few_rows), few.caller("cbi"), seconds=scale.seconds),
            )
            ratio, text = compare(full, empty, lambda report: report.throughput, "{:,.0f}")
            yield Metric(
                f"{name}, {scale.rows:,} cases / {scale.few_rows:,}",
                f"{text} calls/s; {remarks([*full, *empty])}",
                ratio,
                at_least(0.90),
            )
