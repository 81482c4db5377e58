"""The `estelam` command: one group for each installed service and those that every installation has."""

import gc
import os
import signal
import sys
from typing import NoReturn

EXIT_USAGE = 2


def main() -> None:
    """Run one command."""
    if "serve" in sys.argv[1:5]:  # perhaps after --config FILE
        # By default it would end the process, until `Signals` notes it, a second of imports later.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    from estelam.core.exceptions import UserFacingError  # noqa: PLC0415 - the signal is blocked before the imports

    # A garbage collection during the imports finds nothing to free and takes a tenth of the start. A command turns it
    # on again once it has imported its implementation.
    gc.disable()
    _prepare_streams()
    arguments = sys.argv[1:]
    if any("\udc80" <= character <= "\udcff" for argument in arguments for character in argument):
        _exit_error("an argument is not valid UTF-8 text", EXIT_USAGE)
    try:
        from estelam.cli.root import application  # noqa: PLC0415 - may raise as its commands do

        application()(prog_name="estelam")
    except OSError as error:
        place = "the output can't be written" if error.filename is None else str(error.filename)
        _exit_error(f"{place}: {(error.strerror or 'input or output failed').lower()}", 1)
    except UserFacingError as error:  # raised by an import, where the time-zone data is wrong
        _exit_error(str(error), 1)
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        name = type(error).__name__
        _exit_error(f"unexpected error ({name}): report it with the output of python -X dev -m estelam …", 1)


def _prepare_streams() -> None:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # the parent process has closed it
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - open until the end
        else:
            # A terminal that can't show a character shows its code: an answer must never end in a traceback.
            stream.reconfigure(errors="backslashreplace")


def _exit_error(message: str, code: int) -> NoReturn:
    from estelam.core.exceptions import UserFacingError  # noqa: PLC0415 - as in `main`

    try:
        if "--json" in sys.argv[1:]:
            from estelam.cli import output  # noqa: PLC0415 - imports what the help does without

            output.print_error(message)
        else:
            _print_error(message)
    except UserFacingError:  # `output` can't be imported where the time-zone data is wrong
        _print_error(message)
    finally:
        # What stdout still buffers can't be written either; a second attempt at exit would print a traceback.
        os._exit(code)


def _print_error(message: str) -> None:
    from estelam.core.escape import visible_lines  # noqa: PLC0415 - imports what the help does without

    print(visible_lines(message), file=sys.stderr, flush=True)
