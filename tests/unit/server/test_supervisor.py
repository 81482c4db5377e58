"""Workers and their supervisor."""

import signal
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

from structlog.testing import capture_logs

from estelam.server.signals import Signals
from estelam.server.supervisor import WorkerPool


def work(fails: str, _slot: int, port_file: Path) -> None:
    """A worker that listens, unless it is the one started at the place *fails*."""
    if port_file.name == fails:
        sys.exit(1)
    port_file.write_text("1", "ascii")
    signal.pause()


def test_second_replacement_fails(tmp_path: Path) -> None:
    """A reload whose second replacement fails leaves the first one and the other old worker, and logs how many."""
    with closing(Signals(signal.SIGHUP)) as signals, capture_logs() as events:
        pool = WorkerPool(partial(work, "4"), tmp_path, signals)
        try:
            pool.start(2)
            pool._rolling_restart()
            running = sorted(process.name for process in pool._workers if process.is_alive())
        finally:
            pool.stop()
    logged = [event for event in events if event["event"].startswith("workers.")]  # other servers may log meanwhile

    assert ["worker-2", "worker-3"] == running
    assert [{"event": "workers.restart_failed", "log_level": "error", "replaced": 1, "kept": 1}] == logged
