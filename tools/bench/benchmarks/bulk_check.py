"""Throughput of a bank's bulk check, relative to the server's capacity."""

import statistics
from collections.abc import Iterator

from tools.bench.datasets import cases
from tools.bench.environment import LOAD_CORE, BenchEnvironment, check_by_tracking_id, judiciary_server, load
from tools.bench.metric import Metric, at_least, remarks


def measure(environment: BenchEnvironment) -> Iterator[Metric]:
    """Tracking ids per second of `estelam judiciary bulk-check-cheques` / calls per second of the load generator."""
    scale, suite = environment.scale, environment.with_cases(environment.scale.few_rows)
    certificates, answers = environment.folder / "certificates.csv", environment.folder / "answers.csv"
    certificates.write_text("\n".join(["tracking_id", *cases.tracking_ids(scale.few_rows, scale.ids), ""]), "ascii")
    with judiciary_server(suite) as server:
        asked = check_by_tracking_id(scale.few_rows)
        best = [load(server, asked, suite.caller("cbi"), seconds=scale.seconds)]
        address = f"127.0.0.1:{server.port}"
        swept = suite.command(
            "judiciary", "bulk-check-cheques", certificates, "--out", answers, "--address", address, core=LOAD_CORE
        )
        best.append(load(server, asked, suite.caller("cbi"), seconds=scale.seconds))
    throughput = statistics.mean(report.throughput for report in best)
    yield Metric(
        f"bulk check of {scale.ids:,} tracking ids / the server at its best",
        f"{scale.ids / swept.seconds:,.0f} ids/s / {throughput:,.0f} calls/s before and after; {remarks(best)}",
        scale.ids / swept.seconds / throughput,
        at_least(0.8),
    )
