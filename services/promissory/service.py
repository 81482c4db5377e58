"""The promissory service, put together and run until told to stop."""

import asyncio
from pathlib import Path

from estelam.server.grpc_server import until_told_to_stop, write_port
from estelam.server.service import recording_service
from estelam.telemetry import logs
from promissory.methods import questions
from promissory.settings import PromissorySettings


def main(settings: PromissorySettings, port_file: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT; write the bound port to *port_file* once listening."""
    logs.configure(settings.log_level)
    asyncio.run(_serve(settings, port_file))


async def _serve(settings: PromissorySettings, port_file: Path | None) -> None:
    async with recording_service(settings, questions(settings)) as server:
        write_port(port_file, server.port)
        await until_told_to_stop()
