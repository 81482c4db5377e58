"""The end of a recording service."""

import threading
from collections.abc import Sequence
from contextlib import closing
from types import SimpleNamespace
from typing import Any

from estelam.pipeline.batcher import Batcher, BatchLimits
from estelam.pipeline.timers import Timers
from estelam.server.service import _close


def test_annulments_follow_the_last_batch() -> None:
    """What the last batch leaves undecided is annulled: the recorder finishes only after everything queued is done."""
    steps: list[str] = []
    gate = threading.Event()

    def work(items: Sequence[str]) -> Sequence[str]:
        assert gate.wait(20)
        steps.append("last batch")
        return items

    recorder: Any = SimpleNamespace(finish=lambda: steps.append("annulments"))
    with closing(Timers()) as timers:
        batcher: Any = Batcher(work, BatchLimits(), timers)
        batcher.submit("inquiry", 20, lambda _result: None)
        threading.Timer(0.2, gate.set).start()
        _close(batcher, recorder)

    assert ["last batch", "annulments"] == steps
