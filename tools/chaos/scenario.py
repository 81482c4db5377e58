"""A scenario and its result: rounds, checks and losses."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ProgressCallback = Callable[[int], None]
"""Called with the number of rounds done since the last call."""


@dataclass(slots=True)
class Result:
    """The counts of a scenario. A loss is a violated guarantee, described by a constant text and its place."""

    rounds: int = 0
    checked: int = 0
    """Answers, frames or calls that were checked."""
    losses: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    """Bounds of time or memory that were missed; those of time mean something only on an otherwise idle machine."""
    remarks: list[str] = field(default_factory=list)

    def add(self, other: "Result") -> None:
        """Add the counts of *other*."""
        self.rounds += other.rounds
        self.checked += other.checked
        self.losses += other.losses
        self.missed += other.missed
        self.remarks += [remark for remark in other.remarks if remark not in self.remarks]


class Task(NamedTuple):
    """The input of a scenario: a folder, the number of rounds, a random seed, and a progress callback."""

    folder: Path
    rounds: int
    seed: int
    progress: ProgressCallback


@dataclass(frozen=True, slots=True)
class Scenario:
    """One chaos scenario."""

    name: str
    about: str
    """What a round and a loss are."""
    short: int
    """Rounds of the short form, which takes a few seconds."""
    long: int
    """Rounds of the long form, for published metrics."""
    run: Callable[[Task], Result]
