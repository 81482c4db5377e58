"""The quality process as `estelam quality serve` runs it, beside real services of which one is killed."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from quality.attribution import Attribution
from quality.settings import QualitySettings
from tests.integration.quality.conftest import CBI, SETAD
from tests.integration.quality.monitored_services import last_samples, probe_results
from tools.env import sandbox as suite
from tools.env.processes import QUALITY, SERVICES, ProcessError, ServiceProcess, free_ports, run_command
from tools.env.sandbox import Sandbox

pytestmark = pytest.mark.timeout(300)

QUICK = {"ESTELAM_QUALITY_PROBE_INTERVAL_SECONDS": "1", "ESTELAM_QUALITY_PROBE_SECONDS": "5"}


@pytest.fixture
def whole(tmp_path: Path) -> Sandbox:
    """A suite with the samples, and the watch's own store, of which everything has an address."""
    names = (*SERVICES, *(f"{name}-metrics" for name in SERVICES))
    sandbox = suite.create_sandbox(tmp_path / "suite", ports=free_ports(*names, "dashboard"))
    suite.load_samples(sandbox)
    suite.prepare_quality(sandbox)
    return sandbox


@pytest.fixture
def begin(whole: Sandbox) -> Iterator[Callable[..., dict[str, ServiceProcess]]]:
    """Starts services of the suite, and the watch over them, each a process of its own."""
    services: dict[str, ServiceProcess] = {}

    def start(*names: str) -> dict[str, ServiceProcess]:
        services.update(
            {name: ServiceProcess(name, whole, environ=QUICK if name == QUALITY else None) for name in names}
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
    """Wait until it has *happened*."""
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def shown(board: str) -> tuple[bool, str]:
    """Whether the live board sees anything, and how it says that all stands."""
    found = httpx.get(board, trust_env=False).json()
    return found["stale"], found["state"]


def test_the_watch_sees_a_service_killed_and_come_back_and_ends_in_order(
    whole: Sandbox, begin: Callable[..., dict[str, ServiceProcess]]
) -> None:
    services = begin(*SERVICES, QUALITY)
    settings: QualitySettings = whole.quality()
    key = ("CheckNote", SETAD)
    wait_for(lambda: probe_results(settings).get(key) == (None, ""))
    wait_for(lambda: all(one.serving and one.health == "SERVING" for one in last_samples(settings).values()))
    board = f"http://{services[QUALITY].address}/status.json"
    wait_for(lambda: (False, "up") == shown(board))

    services["promissory"].kill()
    wait_for(lambda: probe_results(settings)[key] == (Attribution.EXCHANGE, "UNREACHABLE"))
    assert (Attribution.PROVIDER, "PROVIDER_UNAVAILABLE") == probe_results(settings)["VerifyNote", SETAD]
    assert (None, "") == probe_results(settings)["CheckByNationalId", CBI]
    wait_for(lambda: (False, "provider") == shown(board))

    services["promissory"].start()
    wait_for(lambda: probe_results(settings)[key] == (None, ""))
    assert 0 == services[QUALITY].stop()


def test_one_store_has_one_watch(whole: Sandbox, begin: Callable[..., dict[str, ServiceProcess]]) -> None:
    services = begin(QUALITY)
    second = ServiceProcess(QUALITY, whole)
    services["another"] = second

    with pytest.raises(ProcessError, match="another process serves from this store"):
        second.start()
    assert services[QUALITY].exit_status is None


def test_a_watch_without_a_store_says_what_to_do(tmp_path: Path) -> None:
    done = run_command(suite.create_sandbox(tmp_path / "suite"), "quality", "serve")

    assert (1, "") == (done.returncode, done.stdout)
    assert "the quality store is missing or not current; run: estelam quality migrate\n" == done.stderr
