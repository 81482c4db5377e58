"""Spans of OpenTelemetry; imported only where traces are on."""

import contextlib
from collections.abc import Iterator
from importlib.metadata import version

import requests
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from estelam.core.errors import Layer, Refusal
from estelam.core.model import Method

EXPORT_SECONDS = 5.0
"""How long one export may take, and the last one hold up the end of the process."""
QUEUE_SPANS = 4096
"""Spans that wait for export; further ones are dropped, so that a collector that hangs costs no memory."""
# Without tracestate: a caller could put any text in it, and it would be exported.
_PARENT = "traceparent"
_PROPAGATOR = TraceContextTextMapPropagator()


@contextlib.contextmanager
def exported(service: str, endpoint: str, ratio: float) -> Iterator["OpenTelemetry"]:
    """Trace calls within the context, and export their spans to *endpoint*; see `traces.tracing`."""
    session = requests.Session()
    session.trust_env = False  # the collector is on the internal network: proxies of the environment must not be used
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(ratio)),
        resource=Resource.create({SERVICE_NAME: f"estelam-{service}", SERVICE_VERSION: version("estelam")}),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(endpoint, timeout=EXPORT_SECONDS, session=session)
    provider.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=QUEUE_SPANS, export_timeout_millis=EXPORT_SECONDS * 1000)
    )
    try:
        yield OpenTelemetry(provider.get_tracer("estelam"))
    finally:
        provider.shutdown()


class OpenTelemetry:
    """Tracing by OpenTelemetry."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def start(self, method: Method, traceparent: str) -> "CallSpan":
        """Start a span of kind SERVER, as the semantic conventions for RPC name it."""
        parent = _PROPAGATOR.extract({_PARENT: traceparent}, Context()) if traceparent else Context()
        attributes = {"rpc.system": "grpc", "rpc.service": method.service, "rpc.method": method.short_name}
        return CallSpan(
            self._tracer.start_span(method.name, context=parent, kind=SpanKind.SERVER, attributes=attributes)
        )


class CallSpan:
    """The span of one call."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """The trace context to pass on, in which this span is the parent."""
        found = self._span.get_span_context()
        return f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"

    def end(self, refusal: Refusal | None = None) -> None:
        """End the span: with an answer, or with *refusal*. An error is only what the service or its store failed."""
        if refusal is None:
            self._span.set_attribute("rpc.grpc.status_code", 0)
        else:
            self._span.set_attribute("rpc.grpc.status_code", refusal.spec.status)
            self._span.set_attribute("error.type", refusal.reason.value)
            if refusal.spec.layer is not Layer.CALLER:
                self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()
