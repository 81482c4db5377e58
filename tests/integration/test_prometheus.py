"""A real Prometheus reads a real service and the monitor, and answers every query of the dashboard."""

import contextlib
import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from development.processes import free_ports
from development.sandbox import CHECK_NOTE, Sandbox
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock
from estelam.web.event_loop import run_in_event_loop
from quality.monitor.monitor import run_monitor
from tests.conftest import plain_channel, promissory_opening
from tests.integration.quality.monitored_services import NOTES, settings_of
from tests.support.service import RunningService
from tests.unit.test_observability import PROMETHEUS, queries

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
MAY_BE_EMPTY = ("estelam_witness_failures_total", "ALERTS")
"""What a service without witnesses, and without a fault, does not export."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Prometheus: apt-get install prometheus"),
]


@contextlib.contextmanager
def prometheus(folder: Path, targets: dict[str, int]) -> Iterator[Callable[[str], list[Any]]]:
    """Run Prometheus with the committed configuration and these *targets*; yields a function that queries it."""
    settings = yaml.safe_load((PROMETHEUS / "prometheus.yaml").read_text("utf-8"))
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    for job in settings["scrape_configs"]:
        job["static_configs"] = [
            {"targets": [f"127.0.0.1:{port}"], "labels": each["labels"]}
            for each in job["static_configs"]
            if (port := targets.get(each["labels"]["service"]))
        ]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    shutil.copy(PROMETHEUS / "alerts.yaml", folder)
    address = f"127.0.0.1:{free_ports('prometheus')['prometheus']}"
    arguments = ("--config.file=prometheus.yaml", f"--web.listen-address={address}", "--storage.tsdb.path=data")
    process = subprocess.Popen(["prometheus", *arguments], cwd=folder, stderr=subprocess.DEVNULL)

    def query(expression: str) -> list[Any]:
        url = f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        with OPENER.open(url, timeout=10) as reply:
            answer = json.load(reply)
        assert "success" == answer["status"]
        return list(answer["data"]["result"])

    try:
        yield query
    finally:
        process.terminate()
        process.wait(30)


def wait_for(query: Callable[[str], list[Any]], expression: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError):
            if query(expression):
                return
        assert time.monotonic() < deadline, expression
        time.sleep(0.2)


def test_dashboard_queries(loaded: Sandbox, tmp_path: Path) -> None:
    """Every query of the dashboard is valid and has values, and no alert fires on a healthy service."""
    ports = free_ports("promissory", "quality")
    listen = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    opening = promissory_opening(loaded, shutdown_delay_seconds=0, metrics_listen=listen["promissory"])
    with RunningService(opening) as service:
        with plain_channel(service.address, ClientIdentity.named(loaded.pki, "setad")) as channel:
            check_note: Any = channel.unary_unary(f"/{CHECK_NOTE}")
            with pytest.raises(grpc.RpcError):
                check_note(b"\xff", timeout=20)  # a refusal, by its reason
        settings = settings_of(
            loaded,
            tmp_path,
            {NOTES: service.address},
            metrics_listen=listen["quality"],
            probe_interval_seconds=0.5,
            ledgers={NOTES: loaded.promissory().store},
            feeds={},
        )
        with run_in_event_loop(run_monitor(settings, Clock())), prometheus(tmp_path, ports) as query:
            wait_for(query, 'count(up{job=~"estelam.*"} == 1) == 2')
            wait_for(query, "rate(estelam_commit_seconds_count[1m]) > 0 and on () estelam_probe_available == 1")
            wait_for(query, "estelam_ledger_collected_timestamp_seconds > 0")
            wait_for(query, "increase(estelam_probes_total[1m]) >= 0")
            wait_for(query, 'rate(estelam_inquiries_total{outcome="REQUEST_MALFORMED"}[1m]) >= 0')
            found = {
                expression: query(expression.replace("$__rate_interval", "1m").replace("$service", ".*"))
                for expression in queries()
            }
            # Pending ones too, but for those that short-lived certificates or a slow machine's commits cause.
            firing = query('ALERTS{alertname!~"EstelamCertificate.*|EstelamCommitSlow"}')

    empty = {expression for expression, rows in found.items() if not rows}
    assert {one for one in empty if not any(name in one for name in MAY_BE_EMPTY)} == set()
    assert [] == [one["metric"]["alertname"] for one in firing]
