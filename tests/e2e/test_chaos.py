"""Scenarios of `make chaos` in their short form, and checks that violations would be found."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from development.sandbox import Sandbox
from tools.chaos import greedy_caller, oracle, simulation
from tools.chaos.__main__ import SCENARIOS
from tools.chaos.scenario import Scenario, Task

# `make chaos` runs all. Tests of their own cover SIGKILL (guarantee 2), rolling restarts (test_workers) and silent
# connections (test_envoy); one greedy caller stands for its kind: connections, streams, refusals, threads.
GREEDY = {"greedy-json", "greedy-streams", "greedy-refused", "greedy-metrics"}
ELSEWHERE = ("kill", "rolling", "flood-passed-through", "greedy-")
SHORT = [scenario for scenario in SCENARIOS if not scenario.name.startswith(ELSEWHERE) or scenario.name in GREEDY]


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SHORT, ids=[scenario.name for scenario in SHORT])
def test_short_scenario_has_no_loss(scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The short form of a scenario has no loss."""
    # So many calls as a percentile needs are not needed here.
    monkeypatch.setattr(greedy_caller, "SECONDS", 1.5)
    monkeypatch.setattr(greedy_caller, "MIN_CALLS", 1)
    done: list[int] = []

    result = scenario.run(Task(tmp_path, scenario.short, seed=1404, progress=done.append))

    assert [] == result.losses
    assert sum(done) == result.rounds >= scenario.short
    assert result.checked


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda patch: patch.setattr(oracle, "STALE_AFTER", timedelta(hours=25)), marks=pytest.mark.slow),
        pytest.param(lambda patch: patch.setattr(oracle, "WINDOW", timedelta(hours=1)), marks=pytest.mark.slow),
        pytest.param(lambda patch: patch.setattr(oracle, "FIRST_DATE", date(2021, 3, 20)), marks=pytest.mark.slow),
        pytest.param(lambda patch: patch.setattr(oracle, "MAY_HAVE_DRAWN", {"DRAWER"}), marks=pytest.mark.slow),
        lambda patch: patch.setattr(oracle.NotesOracle, "remember", lambda *_: None),
    ],
    ids=["staleness", "window", "first date", "role", "memory"],
)
def test_simulation_finds_violated_rule(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, wrong: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """The simulation reports a loss if service and oracle disagree on a rule."""
    wrong(monkeypatch)

    assert any(simulation.run_histories(sandbox.folder, [seed]).losses for seed in range(100))
