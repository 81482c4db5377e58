"""OpenTelemetry traces of inquiries, off by default: one span for each call, within the caller's trace.

A span holds the method, the gRPC status and the reason of a refusal. It holds no identifier, no organisation and no
answer: a trace id is known to the caller, so an answer beside it would be an answer about a person.
"""

import contextlib
from collections.abc import Iterator
from importlib import import_module
from typing import Protocol

from estelam.core.errors import Refusal
from estelam.core.exceptions import UserFacingError
from estelam.core.model import Method


class TracesUnavailableError(UserFacingError):
    """Traces are configured, and OpenTelemetry is not installed."""


class CallSpan(Protocol):
    """The span of one call."""

    @property
    def traceparent(self) -> str:
        """The trace context to pass on (W3C Trace Context); empty if there is none."""

    def end(self, refusal: Refusal | None = None) -> None:
        """End the span: with an answer, or with *refusal*."""


class Tracing(Protocol):
    """Starts the span of each call."""

    def start(self, method: Method, traceparent: str) -> CallSpan:
        """Start the span of a call of *method* by a caller whose trace context is *traceparent*, empty for none."""


class Untraced:
    """The caller's trace context, passed on as it is."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str = "") -> None:
        self.traceparent = traceparent

    def end(self, refusal: Refusal | None = None) -> None:
        """Do nothing."""


class NoTracing:
    """Tracing that is off."""

    def start(self, _method: Method, traceparent: str) -> CallSpan:
        """Start nothing."""
        return Untraced(traceparent)


@contextlib.contextmanager
def tracing(service: str, endpoint: str | None, ratio: float) -> Iterator[Tracing]:
    """Trace the calls of *service* to the OTLP collector at *endpoint* within the context; without one, nothing.

    Args:
        service: The settings' section.
        endpoint: The collector's address (OTLP over HTTP), as http://collector:4318/v1/traces.
        ratio: The share of the calls to trace of callers who send no trace context; others decide themselves.

    Raises:
        TracesUnavailableError: OpenTelemetry is not installed.
    """
    if endpoint is None:
        yield NoTracing()
        return
    try:
        spans = import_module("estelam.telemetry.open_telemetry")
    except ModuleNotFoundError:
        raise TracesUnavailableError(f"{service}.traces needs OpenTelemetry: pip install 'estelam[otel]'") from None
    with spans.exported(service, endpoint, ratio) as tracing_calls:
        yield tracing_calls
