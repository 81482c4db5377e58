"""The quality process: monitor and dashboard in one asyncio loop."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from estelam.core.clock import Clock
from estelam.core.exceptions import ServerError
from estelam.server.process import Listening, run_until_shutdown
from estelam.web.event_loop import run_in_event_loop
from quality.dashboard.app import dashboard
from quality.monitor.config_check import find_file_problems
from quality.monitor.monitor import run_monitor
from quality.monitor.monitor_metrics import MonitorMetrics
from quality.notifications import running_webhooks
from quality.settings import QualitySettings


def main(load: Callable[[], QualitySettings], port_file: Path | None = None) -> None:
    """Run monitor and dashboard until SIGTERM or SIGINT, and again on SIGHUP, with the settings that *load* reads.

    Once both run, the port of the dashboard, 0 for none, is written to *port_file*.
    """
    run_until_shutdown(
        load, lambda settings: run_in_event_loop(_running(settings)), check=_check_files, port_file=port_file
    )


def _check_files(settings: QualitySettings) -> None:
    """Check that the files that *settings* name can be used.

    Raises:
        CatalogueError: the catalogue can't.
        ServerError: another file can't; the text names each.
    """
    if problems := find_file_problems(settings):
        raise ServerError("; ".join(problems))


@contextlib.asynccontextmanager
async def _running(settings: QualitySettings) -> AsyncIterator[Listening]:
    clock = Clock()
    metrics = MonitorMetrics()
    async with run_monitor(settings, clock, metrics), dashboard(settings, clock) as listener:
        with running_webhooks(settings, metrics.webhooks):
            yield listener
