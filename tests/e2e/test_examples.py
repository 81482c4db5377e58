"""The clients of `examples/` in every language: the same answers from a sandbox, and the same test vectors.

Each is built with the commands that its README states. A language whose tools are not installed is skipped.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from development import sandbox as suite
from development import sandbox_numbers as numbers
from development.sandbox import Sandbox
from development.sandbox_service import open_recording
from estelam.data_model import contract_files
from tests.support.service import RunningService
from tools.env.repository import ROOT

EXAMPLES = ROOT / "examples"
TESTDATA = ROOT / "testdata"
NOTE = numbers.read().note
EXPECTED = {
    "yes": "YES",
    "no": "NO",
    "stale-data": "NO ANSWER DATA_STALE store after 1 calls",
    "quota-exhausted": "NO ANSWER QUOTA_EXHAUSTED caller after 1 calls",
    "overload": "NO ANSWER OVERLOADED service after 3 calls",
    "provider-down": "NO ANSWER STORE_UNAVAILABLE store after 3 calls",
    "late": "NO ANSWER ANSWER_LATE service after 1 calls",
    "bad-receipt": "NO ANSWER BAD_RECEIPT",
    "unspecified": "NO ANSWER UNSPECIFIED",
}
"""What each client prints about the numbers of the sandbox."""
MADE = ("node_modules", "dist", "contract", "classes", "generated", "bin", "obj")
"""Folders that a build makes."""
MALFORMED = "NO ANSWER FIELD_INVALID caller after 1 calls serial"

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Language:
    """How a client is built in a copy of its folder, and run."""

    tools: Sequence[str]
    """Commands and files without which it is skipped."""
    build: Callable[[Path, Path], None]
    """Builds it in a folder, with the exported contract."""
    command: Sequence[str]


def _run(words: Sequence[str | Path], folder: Path, **environ: str) -> None:
    done = subprocess.run(
        [*map(str, words)], cwd=folder, env=os.environ | environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{words[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def _nothing(_folder: Path, _contract: Path) -> None:
    """Python needs no build."""


def _build_typescript(folder: Path, contract: Path) -> None:
    shutil.copytree(contract, folder / "contract")
    install = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
    if subprocess.run(install, cwd=folder, capture_output=True, check=False).returncode:
        pytest.skip("npm can't install the dependencies")
    _run(["npm", "run", "build"], folder)


def _build(folder: Path, contract: Path) -> None:
    shutil.copytree(contract, folder / "contract")
    _run(["sh", "build.sh"], folder)


def _build_csharp(folder: Path, contract: Path) -> None:
    shutil.copytree(contract, folder / "contract")
    if subprocess.run(["dotnet", "restore"], cwd=folder, capture_output=True, check=False).returncode:
        pytest.skip("dotnet can't install the dependencies")
    _run(["dotnet", "build", "--no-restore", "--output", "bin"], folder)


JARS = tuple(
    f"/usr/share/java/{name}.jar"
    for name in (
        "grpc-netty",
        "netty-codec-http2",
        "netty-tcnative",
        "protobuf",
        "perfmark-api",
        "gson",
        "geronimo-annotation-1.3-spec",
    )
)
WELL_KNOWN_TYPES = "/usr/include/google/protobuf/descriptor.proto"
"""Debian has them in libprotobuf-dev, which its protoc only recommends."""
GO_SOURCES = tuple(f"/usr/share/gocode/src/google.golang.org/{name}" for name in ("grpc", "protobuf", "genproto"))
LANGUAGES = {
    "csharp": Language(("dotnet",), _build_csharp, ("dotnet", "bin/client.dll")),
    "go": Language(
        ("go", "protoc", WELL_KNOWN_TYPES, "protoc-gen-go", "protoc-gen-go-grpc", *GO_SOURCES),
        _build,
        ("generated/client",),
    ),
    "java": Language(
        ("java", "javac", "protoc", WELL_KNOWN_TYPES, "grpc_java_plugin", *JARS), _build, ("sh", "run.sh")
    ),
    "typescript": Language(("node", "npm"), _build_typescript, ("node", "dist/client.js")),
    "python": Language((), _nothing, (sys.executable, "client.py")),
}


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported contract."""
    folder = tmp_path_factory.mktemp("exported") / "contract"
    folder.mkdir()
    contract_files.write(folder, protoset=True)
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sandbox, str]]:
    """A promissory service of a sandbox, and its address."""
    sandbox = suite.create_sandbox(tmp_path_factory.mktemp("sandbox"), has_mark=True)
    suite.load_samples(sandbox)
    numbers.load(sandbox, turned=False)
    settings = sandbox.promissory(request_timeout_seconds=3.0)
    with RunningService(lambda: open_recording(settings)) as service:
        yield sandbox, service.address


def expected_vectors() -> list[str]:
    """What each client prints about the test vectors."""
    receipts = json.loads((TESTDATA / "receipts.json").read_text("utf-8"))["receipts"]
    errors = json.loads((TESTDATA / "errors.json").read_text("utf-8"))["errors"]
    return [
        *(f"receipt {each['name']}: {'valid' if each['valid'] else 'invalid'}" for each in receipts),
        *(
            f"error {each['reason']}: {each['layer']} {_milliseconds(each['retry_seconds'])} "
            f"{','.join(each['fields']) or '-'}"
            for each in errors
        ),
    ]


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else str(round(seconds * 1000))


@pytest.mark.parametrize("name", LANGUAGES)
def test_client(name: str, contract: Path, served: tuple[Sandbox, str], tmp_path: Path) -> None:
    """The client answers, waits, refuses and verifies as the documents say."""
    language, (sandbox, address) = LANGUAGES[name], served
    if missing := [tool for tool in language.tools if not (shutil.which(tool) or Path(tool).exists())]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    folder = tmp_path / name
    shutil.copytree(EXAMPLES / name, folder, ignore=shutil.ignore_patterns(*MADE))
    language.build(folder, contract)

    def run(*arguments: str) -> list[str]:
        done = subprocess.run(
            [*language.command, *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout.splitlines()

    serials = {number.serial: EXPECTED[number.name] for number in numbers.read().number if number.name in EXPECTED}
    note = (NOTE.obligor_id, NOTE.beneficiary_id, str(NOTE.amount_rials))
    found = run(address, str(sandbox.pki), *note, *serials, "1")

    assert [f"{serial} {result}" for serial, result in {**serials, "1": MALFORMED}.items()] == found
    assert expected_vectors() == run("testdata", str(TESTDATA))
