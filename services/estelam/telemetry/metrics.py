"""Prometheus metrics of a service: methods and outcomes, never people."""

from collections.abc import Callable
from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from estelam.core.errors import Refusal
from estelam.core.model import Outcome
from estelam.telemetry.process_metrics import ProcessMetrics, WebhookState

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_STORE_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics(ProcessMetrics):
    """The metrics of one service."""

    def __init__(self) -> None:
        super().__init__()
        Gauge(
            "estelam_started_timestamp_seconds",
            "When this worker started with the settings that are in force in it, in seconds since 1970.",
            registry=self.registry,
        ).set_to_current_time()
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
        self._lock_wait = Histogram(
            "estelam_lock_wait_seconds",
            "Seconds until a batch could write to the ledger: for a connection, and for other writers.",
            buckets=_STORE_SECONDS,
            registry=self.registry,
        )
        self._commit = Histogram(
            "estelam_commit_seconds",
            "Seconds that the commit of a batch took, with the standby's if there is one.",
            buckets=_STORE_SECONDS,
            registry=self.registry,
        )
        self._queued = Gauge("estelam_queue_inquiries", "Inquiries that wait for a batch.", registry=self.registry)
        self._queue_limit = Gauge(
            "estelam_queue_limit_inquiries",
            "How many inquiries may wait; further ones are refused as OVERLOADED.",
            registry=self.registry,
        )
        self._complete_until = Gauge(
            "estelam_coverage_timestamp_seconds",
            "The instant up to which the data is complete, in seconds since 1970; 0 if no coverage is declared.",
            registry=self.registry,
        )
        self._max_age = Gauge(
            "estelam_coverage_max_age_seconds",
            "The age of the data beyond which no NO is answered; 0 where the service has no data of its own.",
            registry=self.registry,
        )
        self._unrecorded = Counter(
            "estelam_unrecorded_refusals",
            "Refusals sent beyond the rate at which they are recorded.",
            registry=self.registry,
        )
        self._in_outage = Gauge("estelam_outage_announced", "1 during an announced outage.", registry=self.registry)
        self._expiry = Gauge(
            "estelam_certificate_expiry_timestamp_seconds",
            "When a certificate or revocation list in use runs out, in seconds since 1970; of several, the first.",
            ["use"],
            registry=self.registry,
        )
        self.webhooks = WebhookState(self.registry)
        self._witness_failures = Counter(
            "estelam_witness_failures",
            "Checkpoints that a witness did not cosign.",
            ["witness"],
            registry=self.registry,
        )
        self._current_files = Gauge(
            "estelam_files_in_force",
            "1 while the newest state of the files in use is in force; 0 while it can't be used and the last one is.",
            ["use"],
            registry=self.registry,
        )
        self._changed_files = Gauge(
            "estelam_store_files_changed",
            "1 while the store's files are changed by something else than the processes that use it: no answers.",
            registry=self.registry,
        )

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

    def record_store_times(self, *, lock_wait: float, commit: float) -> None:
        """Observe how long a batch waited to write to the ledger, and how long its commit took, in seconds."""
        self._lock_wait.observe(lock_wait)
        self._commit.observe(commit)

    def watch_queue(self, length: Callable[[], int], limit: int) -> None:
        """Show how many inquiries wait: *length* returns it, at any time; *limit* of them may."""
        self._queued.set_function(length)
        self._queue_limit.set(limit)

    def set_max_age(self, seconds: float) -> None:
        """Set the age of the data beyond which no NO is answered."""
        self._max_age.set(seconds)

    def set_complete_until(self, seconds: float) -> None:
        """Set the instant up to which the data is complete, in seconds since 1970; 0 if none is declared."""
        self._complete_until.set(seconds)

    def record_witness_failure(self, witness: str) -> None:
        """Count a checkpoint that the witness of this name did not cosign."""
        self._witness_failures.labels(witness).inc()

    def set_changed_files(self, *, changed: bool) -> None:
        """Set whether the store's files are changed by something else than the processes that use it."""
        self._changed_files.set(changed)

    def watch_expiry(self, use: str, expires_at: Callable[[], float]) -> None:
        """Show when what is in use as *use* expires: *expires_at* returns it in seconds since 1970, at any time."""
        self._expiry.labels(use).set_function(expires_at)

    def watch_files(self, use: str, is_current: Callable[[], bool]) -> None:
        """Show whether the newest state of the files in use as *use* is in force: *is_current* returns it."""
        self._current_files.labels(use).set_function(is_current)

    def set_serving(self, *, healthy: bool, in_outage: bool = False) -> None:
        """Set whether the service is healthy, and whether it is in an announced outage; it is ready in either case."""
        super().set_serving(healthy=healthy and not in_outage)
        self._in_outage.set(in_outage)
        self._ready = healthy or in_outage
