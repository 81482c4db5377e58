"""Builds an importable copy of the reference, with a mutant's fault, and traces whether the faulty line ran."""

import contextlib
import importlib
import itertools
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from tests.conformance.mutants.generated import GeneratedMutant
from tests.conformance.mutants.mutant import REFERENCE, Mutant

_numbers = itertools.count(1)


@dataclass
class LineWatch:
    """Traces whether one line of one file runs in the thread that started it."""

    file: str
    line: int
    ran: bool = False

    def start(self) -> None:
        """Start tracing in this thread; tracing stops once the line has run."""
        sys.settrace(self._called)

    def _called(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        return self._stepped if not self.ran and frame.f_code.co_filename == self.file else None

    def _stepped(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line" and frame.f_lineno == self.line:
            self.ran = True
            sys.settrace(None)
        return None if self.ran else self._stepped


@dataclass(frozen=True)
class ReferenceCopy:
    """A copy of the reference that is not imported yet."""

    package: str
    watch: LineWatch | None

    def module(self, name: str) -> ModuleType:
        """Import and return one of its modules."""
        return importlib.import_module(f"{self.package}.{name}")


@contextlib.contextmanager
def build_reference(mutant: Mutant | GeneratedMutant | None) -> Iterator[ReferenceCopy]:
    """Copy the reference into a package of its own, with *mutant*'s fault if given."""
    package = f"reference_{next(_numbers)}"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / package
        shutil.copytree(REFERENCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        watch = None
        if mutant is not None:
            faulty = copy / f"{mutant.module}.py"
            faulty.write_text(mutant.source(), "utf-8")
            watch = LineWatch(str(faulty), mutant.line()) if isinstance(mutant, Mutant) else None
        sys.path.insert(0, folder)
        try:
            importlib.invalidate_caches()
            yield ReferenceCopy(package, watch)
        finally:
            sys.path.remove(folder)
            for name in [name for name in sys.modules if name.partition(".")[0] == package]:
                del sys.modules[name]
