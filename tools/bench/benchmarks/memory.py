"""Memory of the server with many cases loaded, and its growth with calls."""

from collections.abc import Iterator

from tools.bench.environment import BenchEnvironment, check_by_national_id, check_by_tracking_id, judiciary_server, load
from tools.bench.load.plan import Report
from tools.bench.metric import Metric, at_most, remarks
from tools.bench.processes import resident_mib


def measure(environment: BenchEnvironment) -> Iterator[Metric]:
    """Resident memory with many cases loaded, and its growth with calls."""
    scale = environment.scale
    suite = environment.with_cases(scale.rows)
    asked = (check_by_tracking_id(scale.rows), check_by_national_id(scale.rows))
    with judiciary_server(suite) as server:
        # The first calls of each method allocate once: growth is counted after them.
        for questions in asked:
            load(server, questions, suite.caller("cbi"), seconds=scale.seconds)
        seen = [resident_mib(server.pid)]
        reports: list[Report] = []
        while sum(report.calls for report in reports) < scale.calls:
            questions = asked[len(seen) % 2]
            reports.append(load(server, questions, suite.caller("cbi"), seconds=4 * scale.seconds))
            seen.append(resident_mib(server.pid))
    calls = sum(report.calls for report in reports)
    yield Metric(
        f"resident memory, serving {scale.rows:,} cases",
        f"{seen[0]:.1f} MiB at first, {seen[-1]:.1f} after {calls:,} calls, {max(seen):.1f} at most",
        max(seen),
        at_most(200),
        "{:,.1f} MiB",
    )
    yield Metric(
        f"its growth over {scale.calls:,} calls",
        f"over {calls:,} calls, {seen[-1] - seen[len(seen) // 2]:.1f} MiB of it in the second half; {remarks(reports)}",
        seen[-1] - seen[0],
        at_most(4),
        "{:,.1f} MiB",
    )
