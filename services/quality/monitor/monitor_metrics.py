"""Prometheus metrics of the monitor: whether it works, what its probes found, and the alarms about ledgers."""

from collections.abc import Callable, Collection

from prometheus_client import Counter, Gauge

from estelam.telemetry.process_metrics import ProcessMetrics, WebhookState
from quality.attribution import Attribution
from quality.evaluation import minute_states
from quality.records import Probe

ANSWERED = "answered"


class MonitorMetrics(ProcessMetrics):
    """The metrics of the quality process."""

    def __init__(self) -> None:
        super().__init__()
        self._round = Gauge(
            "estelam_monitor_round_timestamp_seconds",
            "When the monitor last stored the results of a round, in seconds since 1970; 0 before the first.",
            registry=self.registry,
        )
        self._probes = Counter(
            "estelam_probes",
            "Probes by method and result: answered, or the party that the failure is counted to.",
            ["method", "result"],
            registry=self.registry,
        )
        self._available = Gauge(
            "estelam_probe_available",
            "1 if the last round of probes found the method available, by the rule of the reports, else 0.",
            ["method"],
            registry=self.registry,
        )
        self._collected = Gauge(
            "estelam_ledger_collected_timestamp_seconds",
            "When the monitor last collected a ledger, in seconds since 1970; 0 before the first time.",
            ["ledger"],
            registry=self.registry,
        )
        self._alarm = Gauge(
            "estelam_ledger_alarm",
            "1 while nobody has acknowledged that a service's ledger does not continue what was verified of it.",
            ["ledger"],
            registry=self.registry,
        )
        self._expiry = Gauge(
            "estelam_certificate_expiry_timestamp_seconds",
            "When a certificate in use runs out, in seconds since 1970; of several, the first.",
            ["use"],
            registry=self.registry,
        )
        self.webhooks = WebhookState(self.registry)

    def set_ledgers(self, services: Collection[str]) -> None:
        """Show each of *services* from the beginning on, so that a ledger that is never collected is noticed."""
        for service in services:
            self._collected.labels(service)
            self._alarm.labels(service)

    def watch_expiry(self, use: str, expires_at: Callable[[], float]) -> None:
        """Show when what is in use as *use* expires: *expires_at* returns it in seconds since 1970, at any time."""
        self._expiry.labels(use).set_function(expires_at)

    def record_probes(self, probes: Collection[Probe]) -> None:
        """Count *probes*, all those of one round."""
        faults: dict[str, list[Attribution | None]] = {}
        for probe in probes:
            self._probes.labels(probe.method, ANSWERED if probe.fault is None else probe.fault.value).inc()
            faults.setdefault(probe.method, []).append(probe.fault)
        for method, found in faults.items():
            self._available.labels(method).set(minute_states.probes_state(found) == minute_states.UP)

    def record_round(self, seconds: float) -> None:
        """Set when a round's results were last stored, in seconds since 1970."""
        self._round.set(seconds)

    def record_collection(self, service: str, seconds: float) -> None:
        """Set when the ledger of *service* was last collected, in seconds since 1970."""
        self._collected.labels(service).set(seconds)

    def set_alarms(self, services: Collection[str], alarmed: Collection[str]) -> None:
        """Set which of *services* have an alarm that nobody has acknowledged."""
        for service in services:
            self._alarm.labels(service).set(service in alarmed)
