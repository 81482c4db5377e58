"""The promissory service: its process."""

from collections.abc import Callable
from pathlib import Path

from estelam.server.file_check import check_store_files
from estelam.server.process import run_until_shutdown
from estelam.server.service import run_recording_service
from promissory.methods import lookups
from promissory.recall import NoteRecallSource
from promissory.settings import PromissorySettings


def main(load: Callable[[], PromissorySettings], port_file: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT, and again on SIGHUP, each time with the settings that *load* reads.

    Once the service listens, its port is written to *port_file*.
    """
    run_until_shutdown(
        load,
        lambda settings: run_recording_service(settings, lookups(settings), NoteRecallSource()),
        check=check_store_files,
        port_file=port_file,
    )
