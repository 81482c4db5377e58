"""What is counted: methods and outcomes, never people. Served over HTTP: for Prometheus, and for who asks `/ready`."""

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
    """One service's figures, in a registry of their own."""

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
            "Refusals spoken beyond the budget for recording them.",
            registry=self.registry,
        )
        self._serving = Gauge("estelam_serving", "1 while the service is healthy and not out.", registry=self.registry)
        self._out = Gauge("estelam_outage_announced", "1 within an announced outage.", registry=self.registry)
        self._ready = False

    def record_answer(self, method: str, outcome: Outcome, seconds: float) -> None:
        """Count one answer."""
        count, duration = self._answers(method, outcome)
        count.inc()
        duration.observe(seconds)

    @cache  # noqa: B019 - one for each method and outcome, for as long as the process lives
    def _answers(self, method: str, outcome: Outcome) -> tuple[Counter, Histogram]:
        return self._inquiries.labels(method, outcome.value, "service"), self._seconds.labels(method)

    def record_refusal(self, method: str, refusal: Refusal) -> None:
        """Count one refusal, under its reason and the layer that gave it."""
        self._inquiries.labels(method, refusal.reason.value, refusal.spec.layer.value).inc()

    def record_unrecorded_refusal(self) -> None:
        """Count one refusal that was beyond the budget for recording."""
        self._unrecorded.inc()

    def record_batch(self, size: int) -> None:
        """Observe the size of one batch."""
        self._batches.observe(size)

    def set_serving(self, *, healthy: bool, out: bool = False) -> None:
        """Say whether the service is healthy, and whether it is *out*, as was announced: then too it can be asked."""
        self._serving.set(healthy and not out)
        self._out.set(out)
        self._ready = healthy or out

    def listen(self, host: str, port: int) -> tuple[int, WSGIServer]:
        """Serve the figures, and `/ready` by its status, over HTTP; returns the port bound and what keeps it open."""
        figures: Callable[[dict[str, Any], Any], Iterable[bytes]] = make_wsgi_app(self.registry)

        def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            if environ["PATH_INFO"] != "/ready":
                return figures(environ, start_response)
            start_response("200 OK" if self._ready else "503 Service Unavailable", [("Content-Length", "0")])
            return []

        server = make_server(host, port, answer, _Server, _QuietHandler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_port, server


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, *_words: object) -> None:
        """Who looks at figures is in no log."""
