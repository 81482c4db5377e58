"""Counting of a service's calls: the counter, its file, and the page beside the metrics from which a monitor reads."""

import contextlib
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

from estelam.core.addresses import beside
from estelam.core.clock import Clock
from estelam.core.settings import ServingSettings, StoreSettings
from estelam.telemetry.call_counts import CallCounter
from estelam.telemetry.call_journal import CallJournal
from estelam.telemetry.process_metrics import ProcessMetrics

PAGE = "/calls"
STOP_SECONDS = 10.0


@contextlib.contextmanager
def count_calls(settings: ServingSettings, metrics: ProcessMetrics, clock: Clock) -> Iterator[CallCounter]:
    """Yield the counter of the service's calls; keep what it counts, and serve it beside the *metrics*."""
    counter = CallCounter(clock)
    stopping = threading.Event()
    with contextlib.ExitStack() as stack:
        path = settings.call_counts
        if path is None and isinstance(settings, StoreSettings):
            path = beside(settings.store, "calls")
        if path is None:  # the counts end with the process
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="estelam-"))) / "calls"
        journal = CallJournal(path, counter, clock)
        metrics.add_page(PAGE, lambda query: journal.read(_after(query)))
        thread = threading.Thread(target=journal.run, args=(stopping,), name="calls", daemon=True)
        thread.start()
        try:
            yield counter
        finally:
            stopping.set()
            thread.join(STOP_SECONDS)


def _after(query: str) -> int | None:
    """Return the parameter `after`; None without it, or if it is no number."""
    (given,) = parse_qs(query).get("after", [""])[-1:]
    return int(given) if given.isascii() and given.isdigit() and len(given) < 19 else None
