"""The quality process, put together and run until told to stop."""

import asyncio
from pathlib import Path

from estelam.core.clock import Clock
from estelam.server.process import wait_for_shutdown, write_port
from estelam.telemetry import logs
from quality.dashboard.app import board
from quality.monitor.monitor import watching
from quality.settings import QualitySettings


def main(settings: QualitySettings, port_file: Path | None = None) -> None:
    """Watch, and show it, until SIGTERM or SIGINT; write the board's port, 0 for none, to *port_file* once all runs."""
    logs.configure_logging(settings.log_level)
    asyncio.run(_serve(settings, port_file))


async def _serve(settings: QualitySettings, port_file: Path | None) -> None:
    clock = Clock()
    async with watching(settings, clock), board(settings, clock) as place:
        write_port(port_file, place.port)
        await wait_for_shutdown()
