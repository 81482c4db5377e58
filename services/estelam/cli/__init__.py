"""The `estelam` command: one group for each installed service and those that every installation has."""

import gc
import sys

from estelam.cli.groups import application

__all__ = ["application", "main"]


def main() -> None:
    """Run one command."""
    # A garbage collection during the imports finds nothing to free and takes a tenth of the start. `LazyGroup` turns it
    # on again once the command's modules are imported.
    gc.disable()
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a character shows its code: an answer must never end in a traceback.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    application()(prog_name="estelam")
