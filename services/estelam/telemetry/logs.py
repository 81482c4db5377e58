"""Logs: one JSON object a line on standard error; events with facts, never an identifier or a field of a request."""

import contextlib
import logging
import sys

import structlog
from structlog.typing import EventDict

from estelam.data_model.sensitivity import redacted_fields


def configure_logging(level: str = "info") -> None:
    """Set up logging for a process; called once, by its `__main__`."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            redact,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _LineLogger(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # A library's own words may quote what it was given: only its name and severity pass.
    logging.basicConfig(handlers=[_LibraryHandler()], level=logging.WARNING, force=True)


def redact(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Take out the values of what the contracts do not call open, should one ever be given."""
    for name in redacted_fields() & event.keys():
        event[name] = "withheld"
    return event


class _LineLogger(structlog.PrintLogger):
    """Writes lines; one that can't be written is dropped, for a full disk must not change what a caller is told."""

    def msg(self, message: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


class _LibraryHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().warning("library.message", library=record.name, severity=record.levelname)
