"""The promissory service, put together and run until told to stop."""

import asyncio
from pathlib import Path

from estelam.server.process import wait_for_shutdown, write_port
from estelam.server.service import run_recording_service
from estelam.telemetry import logs
from promissory.methods import lookups
from promissory.settings import PromissorySettings


def main(settings: PromissorySettings, port_file: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT; write the bound port to *port_file* once listening."""
    logs.configure_logging(settings.log_level)
    asyncio.run(_serve(settings, port_file))


async def _serve(settings: PromissorySettings, port_file: Path | None) -> None:
    async with run_recording_service(settings, lookups(settings)) as server:
        write_port(port_file, server.port)
        await wait_for_shutdown()
