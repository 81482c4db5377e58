"""`estelam quality serve` as a process, beside real services of which one is killed."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from development import sandbox as suite
from development.process_limits import ProcessError
from development.processes import QUALITY, SERVICES, ServiceProcess, free_ports, run_command
from development.sandbox import Sandbox
from quality.attribution import Attribution
from quality.settings import QualitySettings
from tests.integration.quality.conftest import CBI, SETAD
from tests.integration.quality.monitored_services import last_samples, probe_results

pytestmark = pytest.mark.timeout(300)

QUICK = {"ESTELAM_QUALITY_PROBE_INTERVAL_SECONDS": "1", "ESTELAM_QUALITY_PROBE_SECONDS": "5"}


@pytest.fixture
def complete_sandbox(tmp_path: Path) -> Sandbox:
    """A sandbox with sample data and a quality store, in which every service has an address."""
    names = (*SERVICES, *(f"{name}-metrics" for name in SERVICES))
    sandbox = suite.create_sandbox(tmp_path / "suite", ports=free_ports(*names, "dashboard"))
    suite.load_samples(sandbox)
    suite.prepare_quality(sandbox)
    return sandbox


@pytest.fixture
def begin(complete_sandbox: Sandbox) -> Iterator[Callable[..., dict[str, ServiceProcess]]]:
    """Starts services of the sandbox and the quality process, each as a separate process."""
    services: dict[str, ServiceProcess] = {}

    def start(*names: str) -> dict[str, ServiceProcess]:
        services.update(
            {name: ServiceProcess(name, complete_sandbox, environ=QUICK if name == QUALITY else None) for name in names}
        )
        for service in services.values():
            service.launch()
        for service in services.values():
            service.wait()
        return services

    try:
        yield start
    finally:
        for service in services.values():
            service.kill()


def wait_for(happened: Callable[[], bool]) -> None:
    """Wait until *happened* returns True."""
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def dashboard_state(url: str) -> tuple[bool, str]:
    """Whether the data of the dashboard is stale, and the overall state."""
    found = httpx.get(url, trust_env=False).json()
    return found["stale"], found["state"]


@pytest.mark.slow
def test_killed_service(complete_sandbox: Sandbox, begin: Callable[..., dict[str, ServiceProcess]]) -> None:
    """Monitor and dashboard show a killed service and its recovery, and the process shuts down with 0."""
    services = begin(*SERVICES, QUALITY)
    settings: QualitySettings = complete_sandbox.quality()
    key = ("CheckNote", SETAD)
    wait_for(lambda: probe_results(settings).get(key) == (None, ""))
    wait_for(lambda: all(one.serving and one.health == "SERVING" for one in last_samples(settings).values()))
    url = f"http://{services[QUALITY].address}/status.json"
    wait_for(lambda: (False, "up") == dashboard_state(url))

    services["promissory"].kill()
    wait_for(lambda: probe_results(settings)[key] == (Attribution.PROVIDER, "CONNECTION_REFUSED"))
    assert (Attribution.PROVIDER, "PROVIDER_UNAVAILABLE") == probe_results(settings)["VerifyNote", SETAD]
    assert (None, "") == probe_results(settings)["CheckByNationalId", CBI]
    wait_for(lambda: (False, "provider") == dashboard_state(url))

    services["promissory"].start()
    wait_for(lambda: probe_results(settings)[key] == (None, ""))
    assert 0 == services[QUALITY].stop()


@pytest.mark.slow
def test_single_monitor(complete_sandbox: Sandbox, begin: Callable[..., dict[str, ServiceProcess]]) -> None:
    """A second monitor on the same store refuses to start."""
    services = begin(QUALITY)
    second = ServiceProcess(QUALITY, complete_sandbox)
    services["another"] = second

    with pytest.raises(ProcessError, match="another process serves from this store"):
        second.start()
    assert services[QUALITY].exit_status is None


@pytest.mark.slow
def test_missing_folder_of_store(tmp_path: Path) -> None:
    """Without the store's folder the process names the command to run, and `estelam migrate` creates this store too."""
    sandbox = suite.create_sandbox(tmp_path / "suite")
    environ = {**sandbox.environ, "ESTELAM_QUALITY_STORE": f"sqlite:///{tmp_path / 'none'}"}
    refused = run_command(sandbox, "quality", "serve", environ=environ)
    alone = run_command(sandbox, "migrate", "quality", environ=environ)
    every = run_command(sandbox, "migrate", environ=environ)

    assert (1, True) == (refused.returncode, refused.stderr.endswith("run: estelam migrate\n"))
    assert (0, "quality  current\n") == (alone.returncode, alone.stdout)
    assert (0, ["judiciary", "promissory", "quality"]) == (
        every.returncode,
        sorted(line.split()[0] for line in every.stdout.splitlines()),
    )


def test_missing_store(tmp_path: Path) -> None:
    """Without a store the process exits with 1 and names the command to run."""
    done = run_command(suite.create_sandbox(tmp_path / "suite"), "quality", "serve")

    assert (1, "") == (done.returncode, done.stdout)
    assert "the store can't be opened; run: estelam migrate\n" == done.stderr
