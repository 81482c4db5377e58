"""The access table while it changes."""

from itertools import count
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from estelam.auth.authorization import Authorizer
from estelam.catalogue.access_source import AccessSource
from estelam.core.clock import Clock
from estelam.telemetry.metrics import Metrics
from promissory.methods import CHECK_NOTE

GRANT = f"""
[[grant]]
caller = "99001187852"
method = "{CHECK_NOTE.name}"
clause = "R2.0"
since = 2026-03-21
quota = {{ rate = 1, burst = 1 }}
"""


MINUTES = count(0, 60)
"""Readings of a clock that is a minute later with each."""


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (GRANT + '[[deny]]\nkey = "no fingerprint"\n', "deny.0"),
        (GRANT + "[[deny]\n", "line 8"),
        (GRANT.replace("clause", "claus"), "grant.0.clause: is missing"),
        (None, "can't be read"),
    ],
)
def test_spoiled_table_is_named_once(tmp_path: Path, broken: str | None, problem: str) -> None:
    """A table that can't be used leaves the last one in force; the log says once where and why, and a metric that."""
    path, metrics = tmp_path / "access.toml", Metrics()
    path.write_text(GRANT, "utf-8")
    authorizer = Authorizer(AccessSource(path), Clock(monotonic=lambda: float(next(MINUTES))))
    metrics.watch_files("access", authorizer.is_current)
    states = []
    with capture_logs() as events:
        for text in (GRANT, broken, broken, GRANT):
            path.unlink(missing_ok=True)
            if text is not None:
                path.write_text(text, "utf-8")
            states.append(metrics.registry.get_sample_value("estelam_files_in_force", {"use": "access"}))

    assert [1, 0, 0, 1] == states
    (event,) = [event for event in events if event["event"] == "access.unreadable"]
    assert event["problem"].startswith(f"{path}: ")
    assert problem in event["problem"]
