"""The HTTP server of the metrics and the readiness probe."""

from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from estelam.telemetry.metrics import Metrics


@pytest.fixture
def page() -> Iterator[tuple[Metrics, str]]:
    metrics = Metrics()
    with metrics.serve("127.0.0.1:0", setting="metrics_listen") as listener:
        yield metrics, f"127.0.0.1:{listener.port}"


def status(address: str) -> int:
    try:
        with urlopen(f"http://{address}", timeout=10) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code


def test_ready(page: tuple[Metrics, str]) -> None:
    """`/ready` responds 200 while the service is healthy, and 503 otherwise."""
    metrics, address = page
    seen = [status(f"{address}/ready")]
    for healthy in (True, False):
        metrics.set_serving(healthy=healthy)
        seen.append(status(f"{address}/ready"))

    assert [503, 200, 503] == seen


@pytest.mark.parametrize("path", ["/metrics", "/", "/ready/", "/READY"])
def test_other_paths_serve_metrics(page: tuple[Metrics, str], path: str) -> None:
    """Every other path serves the metrics."""
    metrics, address = page
    metrics.set_serving(healthy=True)
    with urlopen(f"http://{address}{path}", timeout=10) as answer:
        assert b"estelam_serving 1.0" in answer.read()
