"""Runs a service in this process: logs, the bound port for its parent, restart and orderly shutdown on a signal."""

import contextlib
import multiprocessing
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import structlog

from estelam.core.exceptions import describe_error
from estelam.core.files import write_atomic
from estelam.server.signals import Signals
from estelam.telemetry import logs

log = structlog.get_logger()


class Listening(Protocol):
    """A running service."""

    @property
    def port(self) -> int:
        """The bound port."""


@runtime_checkable
class Restartable(Listening, Protocol):
    """A running service that can't always be followed by another one in this process."""

    def check_restart(self) -> None:
        """Raise UserFacingError if it can't shut down so that another one starts."""


class LogSettings(Protocol):
    """The settings of a process."""

    @property
    def log_level(self) -> str:
        """Least severe level to log."""


L = TypeVar("L", bound=LogSettings)


def run_until_shutdown(
    load: Callable[[], L],
    service: Callable[[L], AbstractContextManager[Listening]],
    *,
    check: Callable[[L], object] = lambda _settings: None,
    port_file: Path | None = None,
) -> None:
    """Run *service* with the settings that *load* reads, until SIGTERM or SIGINT.

    On SIGHUP the settings are read anew, the service shuts down in order, and runs with them. Where they are invalid,
    *check* finds that the files they name can't be used, or the service can't be followed by another one in this
    process (`Restartable`), it goes on as it is, and with what it has read. Where it
    can't start nevertheless, it starts again with the last settings. Each time it listens, its port is written to
    *port_file*.

    Raises:
        UserFacingError, OSError: the settings are invalid at the first start, or the service can't start, after a
            restart neither with the new settings nor with the last ones.
    """

    def load_checked(running: Listening) -> L:
        if isinstance(running, Restartable):
            running.check_restart()
        loaded = load()
        check(loaded)
        return loaded

    settings = load()
    logs.configure_logging(settings.log_level)
    # During the first start a SIGHUP already counts, while SIGTERM and SIGINT end the process as by default.
    with contextlib.closing(Signals(signal.SIGHUP)) as signals:
        with service(settings) as running:
            write_port(port_file, running.port)
            signals.add(signal.SIGTERM, signal.SIGINT)
            following = _wait_for_restart(signals, partial(load_checked, running))
        while following and not signals.take() - {signal.SIGHUP}:
            with contextlib.ExitStack() as stack:
                running, settings = _start_again(stack, service, following, settings)
                write_port(port_file, running.port)
                following = _wait_for_restart(signals, partial(load_checked, running))


def _wait_for_restart(signals: Signals, load: Callable[[], L]) -> L | None:
    """Wait for a signal to restart, with valid settings, and return them; None if the service is to stop."""
    while not wait_for_signal(signals):
        try:
            return load()
        except Exception as error:  # noqa: BLE001 - whatever the settings hold must not end the service
            log.error("service.settings_kept", error=describe_error(error))
    return None


def _start_again(
    stack: contextlib.ExitStack,
    service: Callable[[L], AbstractContextManager[Listening]],
    settings: L,
    last: L,
) -> tuple[Listening, L]:
    """Start *service* with *settings*, or else with the *last* ones; return it and the settings that it runs with."""
    try:
        running = stack.enter_context(service(settings))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with new settings must not end the service
        log.error("service.restart_failed", error=describe_error(error))
        running, settings, problem = stack.enter_context(service(last)), last, describe_error(error)
        log.error("service.settings_kept", port=running.port, error=problem)
    else:
        log.info("service.restarted", port=running.port)
    return running, settings


def wait_for_signal(signals: Signals) -> bool:
    """Wait, in the main thread, for a signal; in a worker, also for the end of the parent process.

    Return whether the service is to stop: False after a SIGHUP alone.
    """
    parent = multiprocessing.parent_process()
    sentinels = [parent.sentinel] if parent else []  # without its parent, nothing would stop a worker
    while not (received := signals.take()):
        if wait([signals.socket, *sentinels]) != [signals.socket]:
            return True
    return received != {signal.SIGHUP}


def write_port(path: Path | None, port: int) -> None:
    """Write the bound *port* to the file *path*, atomically, for the process that started this one."""
    if path is not None:
        write_atomic(path, f"{port}\n")
