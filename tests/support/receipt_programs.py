"""The programs of docs/receipts/, which verify saved replies without any of our software, and what they need."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.support.tutorial import DOCS

FOLDER = DOCS / "receipts"
HERE = Path(__file__).parent
GO_PACKAGES = Path("/usr/share/gocode")
"""Where Debian's packages of Go libraries are."""
C_LOCALE = os.environ | {"LC_ALL": "C"}
"""No program may depend on the locale."""
JAVA_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""For programs that end at once."""


def has_go() -> bool:
    """Whether Go and golang.org/x/mod are installed."""
    return bool(shutil.which("go")) and (GO_PACKAGES / "src/golang.org/x/mod/sumdb/tlog").is_dir()


@cache
def built_go(source: Path) -> str:
    """Return the program of a Go source file."""
    program = Path(mkdtemp(prefix="go-")) / source.stem
    environ = os.environ | {"GO111MODULE": "off", "GOPATH": str(GO_PACKAGES), "CGO_ENABLED": "0"}
    environ.setdefault("GOCACHE", str(Path(mkdtemp(prefix="go-cache-"))))
    subprocess.run(["go", "build", "-o", program, source], env=environ, check=True, timeout=300)
    return str(program)


@cache
def _compiled_java() -> Path:
    classes = Path(mkdtemp(prefix="java-"))
    command = [
        "javac",
        "-Xlint:all",
        "-Werror",
        "-d",
        str(classes),
        str(FOLDER / "Check.java"),
        str(HERE / "Each.java"),
    ]
    subprocess.run(command, env=C_LOCALE, check=True, timeout=300)
    return classes


def _java(name: str) -> Callable[[], list[str]]:
    return lambda: ["java", *JAVA_OPTIONS, "-cp", str(_compiled_java()), name]


def _script(interpreter: str, name: str, *, each: str = "") -> Callable[[], list[str]]:
    program = str(FOLDER / name)
    return lambda: [interpreter, str(HERE / each), program] if each else [interpreter, program]


@dataclass(frozen=True, slots=True)
class Program:
    """One program: whether this machine can run it, and the command that does."""

    is_usable: Callable[[], bool]
    command: Callable[[], list[str]]
    source: str
    """The name of its file, by which docs/receipts.md names its command."""
    each: Callable[[], list[str]] | None = None
    """The command that runs it on every three of its arguments, in one process."""

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run it; the test is skipped where it can't be."""
        self._require_usable()
        return _run([*self.command(), *map(str, arguments)])

    def run_each(self, runs: Sequence[Sequence[str | Path]]) -> list[subprocess.CompletedProcess[str]]:
        """Run it on each three files, in one process if it starts slowly; the test is skipped where it can't be."""
        if self.each is None:
            return [self.run(*files) for files in runs]
        self._require_usable()
        command = [*self.each(), *(str(file) for files in runs for file in files)]
        done = _run(command)
        done.check_returncode()
        printed = iter(done.stdout.split("\0")[:-1])
        return [
            subprocess.CompletedProcess(command, int(code), stdout, stderr)
            for stdout, stderr, code in zip(printed, printed, printed, strict=True)
        ]

    def run_as_documented(self, folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run it in *folder* with the command of docs/receipts.md; the test is skipped where it can't be."""
        self._require_usable()
        shutil.copy(FOLDER / self.source, folder)
        row = next(
            line for line in (DOCS / "receipts.md").read_text("utf-8").splitlines() if f"[{self.source}]" in line
        )
        command = row.split("|")[3].strip().strip("`")
        return _run(["sh", "-c", f'{command} "$@"', command, *map(str, arguments)], folder)

    def _require_usable(self) -> None:
        if not self.is_usable():
            pytest.skip("what the program needs is not on this machine")


def _run(command: list[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=C_LOCALE, capture_output=True, text=True, timeout=300, check=False)


def _has(*tools: str) -> Callable[[], bool]:
    return lambda: all(map(shutil.which, tools))


PROGRAMS = {
    "Perl": Program(
        _has("perl", "openssl"), _script("perl", "check.pl"), "check.pl", _script("perl", "check.pl", each="each.pl")
    ),
    "JavaScript": Program(
        _has("node"), _script("node", "check.js"), "check.js", _script("node", "check.js", each="each.js")
    ),
    "Java": Program(_has("java", "javac"), _java("Check"), "Check.java", _java("Each")),
    "Go": Program(has_go, lambda: [built_go(FOLDER / "check.go")], "check.go"),
}
STARTED_PROGRAMS = [pytest.param(name, marks=pytest.mark.slow) for name in PROGRAMS]
"""Their names, for tests that start each of them: in `make test-full` only."""
