"""Prometheus metrics: methods and outcomes, never people. Served over HTTP, together with the probe `/ready`."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_asgi_app
from starlette.types import Message, Receive, Scope, Send

from estelam.core.errors import Refusal
from estelam.core.model import Outcome
from estelam.web.event_loop import run_in_event_loop
from estelam.web.listener import Listener, ListenerLimits, run_listener

MAX_CONNECTIONS: Final = 64
REQUEST_GAP_SECONDS: Final = 0.01
"""The time between two requests for metrics; more requests wait for their turn."""

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
        self._changed_files = Gauge(
            "estelam_store_files_changed",
            "1 while the store's files are changed by something else than the processes that use it: no answers.",
            registry=self.registry,
        )
        self._ready = False
        self._next_turn = 0.0

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

    def set_changed_files(self, *, changed: bool) -> None:
        """Set whether the store's files are changed by something else than the processes that use it."""
        self._changed_files.set(changed)

    def watch_expiry(self, use: str, expires_at: Callable[[], float]) -> None:
        """Show when what is in use as *use* expires: *expires_at* returns it in seconds since 1970, at any time."""
        self._expiry.labels(use).set_function(expires_at)

    def set_serving(self, *, healthy: bool, in_outage: bool = False) -> None:
        """Set whether the service is healthy, and whether it is in an announced outage; it is ready in either case."""
        self._serving.set(healthy and not in_outage)
        self._in_outage.set(in_outage)
        self._ready = healthy or in_outage

    @contextlib.contextmanager
    def serve(self, listen: str, *, setting: str) -> Iterator[Listener]:
        """Serve the metrics and `/ready` over HTTP at *listen*, the value of *setting*, within the context.

        Raises:
            ServerError: the address can't be bound.
        """
        serving = run_listener("metrics", listen, self._app, ListenerLimits(MAX_CONNECTIONS), setting=setting)
        with run_in_event_loop(serving) as listener:
            yield listener

    async def _app(self, scope: Scope, _receive: Receive, send: Send) -> None:
        # Requests are spaced, so that many of them do not take the interpreter from the service.
        now = time.monotonic()
        self._next_turn = max(now, self._next_turn) + REQUEST_GAP_SECONDS
        await asyncio.sleep(self._next_turn - REQUEST_GAP_SECONDS - now)
        if scope["path"] == "/ready":
            status = 200 if self._ready else 503
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})
        else:
            await make_asgi_app(self.registry)(scope, _no_body, send)


async def _no_body() -> Message:
    """Stand for a request's body, which is not waited for."""
    return {"type": "http.request"}
