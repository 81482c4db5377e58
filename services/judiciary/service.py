"""The judiciary service: its process."""

from functools import partial
from pathlib import Path

from estelam.server.process import run_until_shutdown
from estelam.server.service import run_recording_service
from judiciary.methods import LOOKUPS
from judiciary.settings import JudiciarySettings


def main(settings: JudiciarySettings, port_file: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT; write the bound port to *port_file* once the service listens."""
    service = partial(run_recording_service, settings, LOOKUPS)
    run_until_shutdown(service, log_level=settings.log_level, port_file=port_file)
