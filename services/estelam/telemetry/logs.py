"""Structured logs: one JSON object a line on standard error. No identifier and no field of a request is logged."""

import contextlib
import logging
import sys

import structlog
from structlog.typing import EventDict

from estelam.data_model.sensitivity import redacted_fields


def configure_logging(level: str = "info") -> None:
    """Configure logging for the process; call it once at its start.

    Args:
        level: The least severe level to log.
    """
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
    # A library's message may quote its input: only the library's name and the severity are logged.
    logging.basicConfig(handlers=[_LibraryHandler()], level=logging.WARNING, force=True)


def redact(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Replace the value of every key that is a field of a contract, unless the contract marks the field as open."""
    for name in redacted_fields() & event.keys():
        event[name] = "withheld"
    return event


class _LineLogger(structlog.PrintLogger):
    """Writes lines and drops one that can't be written: a full disk must not change a reply."""

    def msg(self, message: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


class _LibraryHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().warning("library.message", library=record.name, severity=record.levelname)
