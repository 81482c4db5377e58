"""The quality process, put together and run until told to stop."""

import asyncio
from pathlib import Path

from estelam import logs
from estelam.clock import Clock
from estelam.server import until_told_to_stop, write_port
from quality.settings import QualitySettings
from quality.watching import watching


def main(settings: QualitySettings, port_file: Path | None = None) -> None:
    """Watch until SIGTERM or SIGINT; write the board's port, 0 for none, to *port_file* once all runs."""
    logs.configure(settings.log_level)
    asyncio.run(_serve(settings, port_file))


async def _serve(settings: QualitySettings, port_file: Path | None) -> None:
    async with watching(settings, Clock()):
        write_port(port_file, 0)
        await until_told_to_stop()
