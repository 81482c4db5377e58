"""The quality process, put together and run until told to stop."""

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from estelam.core.clock import Clock
from estelam.server.process import Listening, run_until_shutdown
from quality.dashboard.app import dashboard
from quality.monitor.monitor import run_monitor
from quality.settings import QualitySettings


def main(settings: QualitySettings, port_file: Path | None = None) -> None:
    """Watch, and show it, until SIGTERM or SIGINT; write the board's port, 0 for none, to *port_file* once all runs."""
    run_until_shutdown(partial(_running, settings), log_level=settings.log_level, port_file=port_file)


@contextlib.asynccontextmanager
async def _running(settings: QualitySettings) -> AsyncIterator[Listening]:
    clock = Clock()
    async with run_monitor(settings, clock), dashboard(settings, clock) as place:
        yield place
