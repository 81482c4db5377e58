"""Prometheus metrics: methods and outcomes, never people. Served over HTTP, together with the probe `/ready`."""

import socket
import threading
from collections.abc import Callable, Iterable
from functools import cache
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app

from estelam.core.errors import Refusal
from estelam.core.model import Outcome

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The metrics of one service, in their own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._inquiries = Counter(
            "estelam_inquiries",
            "Inquiries by method, outcome and layer.",
            ["method", "outcome", "layer"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "estelam_answer_seconds",
            "Seconds from arrival to answer.",
            ["method"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._batches = Histogram(
            "estelam_batch_inquiries", "Inquiries in one transaction.", buckets=_SIZES, registry=self.registry
        )
        self._unrecorded = Counter(
            "estelam_unrecorded_refusals",
            "Refusals sent beyond the rate at which they are recorded.",
            registry=self.registry,
        )
        self._serving = Gauge(
            "estelam_serving", "1 while the service is healthy and in no outage.", registry=self.registry
        )
        self._in_outage = Gauge("estelam_outage_announced", "1 during an announced outage.", registry=self.registry)
        self._expiry = Gauge(
            "estelam_certificate_expiry_timestamp_seconds",
            "When a certificate or revocation list in use runs out, in seconds since 1970; of several, the first.",
            ["use"],
            registry=self.registry,
        )
        self._witness_failures = Counter(
            "estelam_witness_failures",
            "Checkpoints that a witness did not cosign.",
            ["witness"],
            registry=self.registry,
        )
        self._ready = False

    def record_answer(self, method: str, outcome: Outcome, seconds: float) -> None:
        """Count an answer of *method* that took *seconds*."""
        count, duration = self._answers(method, outcome)
        count.inc()
        duration.observe(seconds)

    @cache  # noqa: B019 - one entry for each method and outcome, for the life of the process
    def _answers(self, method: str, outcome: Outcome) -> tuple[Counter, Histogram]:
        return self._inquiries.labels(method, outcome.value, "service"), self._seconds.labels(method)

    def record_refusal(self, method: str, refusal: Refusal) -> None:
        """Count a refusal of *method* under its reason and layer."""
        self._inquiries.labels(method, refusal.reason.value, refusal.spec.layer.value).inc()

    def record_unrecorded_refusal(self) -> None:
        """Count a refusal beyond the rate at which refusals are recorded."""
        self._unrecorded.inc()

    def record_batch(self, size: int) -> None:
        """Observe the size of one batch."""
        self._batches.observe(size)

    def record_witness_failure(self, witness: str) -> None:
        """Count a checkpoint that the witness of this name did not cosign."""
        self._witness_failures.labels(witness).inc()

    def watch_expiry(self, use: str, expires_at: Callable[[], float]) -> None:
        """Show when what is in use as *use* expires: *expires_at* returns it in seconds since 1970, at any time."""
        self._expiry.labels(use).set_function(expires_at)

    def set_serving(self, *, healthy: bool, in_outage: bool = False) -> None:
        """Set whether the service is healthy, and whether it is in an announced outage; it is ready in either case."""
        self._serving.set(healthy and not in_outage)
        self._in_outage.set(in_outage)
        self._ready = healthy or in_outage

    def listen(self, host: str, port: int) -> tuple[int, WSGIServer]:
        """Serve the metrics and `/ready` over HTTP in a thread; return the bound port and the server to shut down."""
        metrics: Callable[[dict[str, Any], Any], Iterable[bytes]] = make_wsgi_app(self.registry)

        def respond(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            if environ["PATH_INFO"] != "/ready":
                return metrics(environ, start_response)
            start_response("200 OK" if self._ready else "503 Service Unavailable", [("Content-Length", "0")])
            return []

        kind = _IPv6Server if ":" in host else _Server
        server = make_server(host, port, respond, kind, _QuietHandler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_port, server


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _IPv6Server(_Server):
    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, *_words: object) -> None:
        """Log no requests for metrics."""
