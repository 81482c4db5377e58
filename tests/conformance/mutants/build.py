"""The reference's modules imported anew, one of them with a fault, and whether the faulty line has run."""

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

from tests.conformance.mutants.mutant import REFERENCE, Mutant

_numbers = itertools.count(1)


@dataclass
class Watch:
    """Sees one line of one file run, in the thread in which it began, and then looks away."""

    file: str
    line: int
    ran: bool = False

    def begin(self) -> None:
        """Look on."""
        sys.settrace(self._called)

    def _called(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        return self._stepped if not self.ran and frame.f_code.co_filename == self.file else None

    def _stepped(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line" and frame.f_lineno == self.line:
            self.ran = True
            sys.settrace(None)
        return None if self.ran else self._stepped


@dataclass(frozen=True)
class Bred:
    """A copy of the reference, not imported yet."""

    package: str
    watch: Watch | None

    def module(self, name: str) -> ModuleType:
        """One of its modules."""
        return importlib.import_module(f"{self.package}.{name}")


@contextlib.contextmanager
def bred(mutant: Mutant | None) -> Iterator[Bred]:
    """The reference with *mutant*'s fault, or as it is, as a package of its own."""
    package = f"reference_{next(_numbers)}"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / package
        shutil.copytree(REFERENCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        watch = None
        if mutant is not None:
            faulty = copy / f"{mutant.module}.py"
            faulty.write_text(mutant.source(), "utf-8")
            watch = Watch(str(faulty), mutant.line())
        sys.path.insert(0, folder)
        try:
            importlib.invalidate_caches()
            yield Bred(package, watch)
        finally:
            sys.path.remove(folder)
            for name in [name for name in sys.modules if name.partition(".")[0] == package]:
                del sys.modules[name]
