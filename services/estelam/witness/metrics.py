"""Prometheus metrics of a witness."""

from prometheus_client import Counter, Gauge

from estelam.telemetry.process_metrics import ProcessMetrics
from estelam.witness.rejections import RejectionReason


class WitnessMetrics(ProcessMetrics):
    """What was submitted, and how far each log is cosigned."""

    def __init__(self) -> None:
        super().__init__()
        self._checkpoints = Counter(
            "estelam_witness_checkpoints",
            "Checkpoints that were submitted: cosigned, or why not. Without an origin, of no log of the settings.",
            ["origin", "outcome"],
            registry=self.registry,
        )
        self._size = Gauge(
            "estelam_witness_size",
            "Entries of the last checkpoint that was cosigned.",
            ["origin"],
            registry=self.registry,
        )

    def record_cosigned(self, origin: str, size: int) -> None:
        """Count a cosigned checkpoint of *size* entries of the log *origin*."""
        self._checkpoints.labels(origin, "cosigned").inc()
        self.set_size(origin, size)

    def record_rejection(self, origin: str, reason: RejectionReason) -> None:
        """Count a checkpoint that was not cosigned; *origin* is empty unless the settings have that log."""
        self._checkpoints.labels(origin, reason.value).inc()

    def set_size(self, origin: str, size: int) -> None:
        """Set of how many entries the last cosigned checkpoint of the log *origin* is."""
        self._size.labels(origin).set(size)
