"""What a trial is, and what it comes to: rounds, what was checked in them, and losses."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ProgressCallback = Callable[[int], None]
"""Hears how many rounds are done since it was last told."""


@dataclass(slots=True)
class Result:
    """What was counted. A loss is anything that must not be: each says in constant words what it was, and where."""

    rounds: int = 0
    checked: int = 0
    """Answers, frames or calls that were held against what they must be."""
    losses: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    """Bounds of time that were not kept. They say something only on a machine that does nothing else."""
    remarks: list[str] = field(default_factory=list)

    def add(self, other: "Result") -> None:
        """Count *other* too."""
        self.rounds += other.rounds
        self.checked += other.checked
        self.losses += other.losses
        self.missed += other.missed
        self.remarks += [remark for remark in other.remarks if remark not in self.remarks]


class Task(NamedTuple):
    """What a trial is given: a folder of its own, how long to go on, what to draw chance from, whom to tell."""

    folder: Path
    rounds: int
    seed: int
    progress: ProgressCallback


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way to torture."""

    name: str
    about: str
    """What a round is and what a loss is."""
    short: int
    """Rounds of the short form, a few seconds."""
    long: int
    """Rounds that the figures are taken with."""
    run: Callable[[Task], Result]
