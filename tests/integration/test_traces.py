"""Traces of a real service and of the adapter, as a collector receives them."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from development.sandbox import Sandbox
from estelam.client.channel import ClientIdentity
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.setad.v1 import note_verification_pb2 as pb
from estelam.setad.v1.note_verification_pb2_grpc import NoteVerificationServiceStub
from estelam.telemetry import traces
from tests.conftest import plain_channel, promissory_opening
from tests.integration.setad.adapter_process import running_adapter
from tests.support.service import RunningService

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
NOTE = {"serial": "1404000000000017", "obligor_id": "9990000018", "beneficiary_id": "99000554330"}
CHECK = notes.CheckNoteRequest(**NOTE, amount_rials=2500000000)


class Collector:
    """An OTLP collector that keeps what it gets."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def test_spans_continue_the_callers_trace(loaded: Sandbox, collector: Collector) -> None:
    """A span continues the caller's trace, and holds method, status and reason: no identifier, caller or answer."""
    opening = promissory_opening(loaded, shutdown_delay_seconds=0, traces=collector.url, traces_ratio=0)
    with (
        RunningService(opening) as service,
        plain_channel(service.address, ClientIdentity.named(loaded.pki, "setad")) as channel,
    ):
        stub = PromissoryNoteInquiryServiceStub(channel)
        for metadata in ((("traceparent", PARENT), ("tracestate", "who=9990000018")), ()):
            stub.CheckNote(CHECK, timeout=20, metadata=metadata)
        with pytest.raises(grpc.RpcError):
            stub.CheckNote(notes.CheckNoteRequest(serial="1"), timeout=20, metadata=(("traceparent", PARENT),))
    answered, refused = collector.spans  # one call without a context is not in the share that is traced

    assert {(TRACE, SPAN)} == {(each.trace_id.hex(), each.parent_span_id.hex()) for each in (answered, refused)}
    name, short = "estelam.promissory.v1.PromissoryNoteInquiryService", "CheckNote"
    common = {"rpc.system": "grpc", "rpc.service": name, "rpc.method": short}
    assert common | {"rpc.grpc.status_code": 0} == attributes(answered)
    assert common | {"rpc.grpc.status_code": 3, "error.type": "FIELD_INVALID"} == attributes(refused)
    sent = b"".join(request.SerializeToString() for request in collector.requests)
    secrets = (*NOTE.values(), "99001187852", "2500000000", "YES", "ANSWER")
    assert [] == [secret for secret in secrets if secret.encode() in sent]


def test_adapter_passes_the_trace_on(loaded: Sandbox, collector: Collector) -> None:
    """The ministry's spans are children of the adapter's, and those of the caller's trace."""
    opening = promissory_opening(loaded, shutdown_delay_seconds=0, traces=collector.url)
    with (
        RunningService(opening) as ministry,
        running_adapter(loaded, ministry.address, traces=collector.url) as adapter,
        plain_channel(adapter.service.address, ClientIdentity.named(loaded.pki, "setad")) as channel,
    ):
        request = pb.VerifyNoteRequest(**NOTE, amount_rials=2500000000, executive_agency_id="SETAD-0001")
        NoteVerificationServiceStub(channel).VerifyNote(request, timeout=20, metadata=(("traceparent", PARENT),))
    by_name = {each.name.rpartition("/")[2]: each for each in collector.spans}

    assert {TRACE} == {each.trace_id.hex() for each in by_name.values()}
    parents = {name: each.parent_span_id for name, each in by_name.items()}
    verify = by_name["VerifyNote"].span_id
    assert {"VerifyNote": bytes.fromhex(SPAN), "CheckNote": verify, "GetNoteParties": verify} == parents


def test_missing_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without OpenTelemetry a service that should trace does not start, and says what to install."""

    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(traces, "import_module", missing)
    with (
        pytest.raises(traces.TracesUnavailableError, match=r"promissory.traces.*estelam\[otel\]"),
        traces.tracing("promissory", "http://127.0.0.1:1/v1/traces", 1.0),
    ):
        pass
