"""Runs the shell blocks of a documentation page and compares their output with the output that the page shows."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "#### step "


@dataclass(frozen=True, slots=True)
class Step:
    """One shell block, and the output that the page shows below it (empty if it shows none)."""

    command: str
    expected: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a run printed, step by step, and the exit status of the shell."""

    status: int
    outputs: tuple[str, ...]

    @property
    def text(self) -> str:
        """Everything that was printed."""
        return "\n".join(self.outputs)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of *page* in *language*, in order."""
    return [text for name, text in _BLOCK.findall(page.read_text("utf-8")) if name == language]


def steps(page: Path) -> list[Step]:
    """The `sh` blocks of *page*, each with the `text` block that follows it with nothing but prose between."""
    found: list[Step] = []
    for name, text in _BLOCK.findall(page.read_text("utf-8")):
        if name == "sh":
            found.append(Step(text, ""))
        elif name == "text" and found and not found[-1].expected:
            found[-1] = Step(found[-1].command, text)
    return found


def replaced(text: str, replacements: Mapping[str, str]) -> str:
    """*text* with each key of *replacements* replaced, unless it is part of a longer number."""
    for old, new in replacements.items():
        text = re.sub(rf"(?<!\d){re.escape(old)}(?!\d)", new.replace("\\", r"\\"), text)
    return text


def run(
    page: Path,
    *,
    folder: Path,
    environ: Mapping[str, str],
    replacements: Mapping[str, str],
    timeout_seconds: float,
) -> Transcript:
    """Run every `sh` block of *page* in order, in one shell in *folder* that ends at the first failure.

    Background jobs of the shell are killed at its end. *replacements* maps ports and paths of the page to those of the
    test.
    """
    parts = [f"printf '\\n%s\\n' '{_MARK}{number}'\n{step.command}" for number, step in enumerate(steps(page))]
    script = "\n".join(["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT", *parts])
    log = folder / "tutorial.log"
    with log.open("w") as output:
        done = subprocess.run(
            ["bash", "-c", replaced(script, replacements)],
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=timeout_seconds,
            check=False,
        )
    printed = re.split(rf"\n{_MARK}\d+\n", log.read_text("utf-8"))
    return Transcript(done.returncode, tuple(printed[1:]))


def missing_lines(expected: str, actual: str) -> list[str]:
    """The lines of *expected* that *actual* lacks, or has in another order.

    Trailing blanks don't count; `…` stands for any text.
    """
    remaining = [line.rstrip() for line in actual.splitlines()]
    missing = []
    for line in map(str.rstrip, expected.splitlines()):
        if line in {"", "…"}:
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in line.split("…")))
        place = next((number for number, found in enumerate(remaining) if pattern.fullmatch(found)), None)
        if place is None:
            missing.append(line)
        else:
            del remaining[: place + 1]
    return missing
