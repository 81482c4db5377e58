"""Fixtures of end-to-end tests: services as real processes, and the command line."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from typer.testing import CliRunner

from development import sandbox as suite
from development.processes import SERVICES, ServiceProcess, free_ports
from development.sandbox import Sandbox
from estelam.cli.root import application
from estelam.client.channel import ClientIdentity
from estelam.core.errors import Reason
from estelam.core.grpc_status import from_grpc
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from tests.conftest import plain_channel

LIVE = {"serial": "1404000000000017", "obligor": "9990000018", "beneficiary": "99000554330", "amount": "2500000000"}
SETTLED = {"serial": "1404000000000025", "obligor": "9990000026", "beneficiary": "99000554330", "amount": "900000000"}
ENDORSED = {
    "serial": "1404000000000033",
    "obligor": "99000158381",
    "beneficiary": "9990000042",
    "amount": "12000000000",
}
BY_INDEX = "by the store's index, which `ledger verify` proves complete"
"""What a search of the ledger says that it relied on."""
NOTE = pb.CheckNoteRequest(
    serial=LIVE["serial"],
    obligor_id=LIVE["obligor"],
    beneficiary_id=LIVE["beneficiary"],
    amount_rials=int(LIVE["amount"]),
)
"""A CheckNote request about the ISSUED note."""


def options(**values: str) -> list[str]:
    """*values* as command-line options."""
    return [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", value)]


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def logs_apart() -> Iterator[None]:
    """Keep the logs of services that run in this process out of the output of commands that do too.

    A PrintLogger looks up `sys.stdout` at each line, and would write to the command's.
    """
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(sys.stdout))
    yield
    structlog.configure(**before)


@dataclass(frozen=True, slots=True)
class CommandLine:
    """Runs commands in this process: the same arguments and output, without the start of an interpreter."""

    sandbox: Sandbox
    first: tuple[str, ...] = ()
    """Arguments that every command begins with."""

    def __call__(self, *arguments: str | Path) -> CommandResult:
        words = [*self.first, *map(str, arguments)]
        done = CliRunner().invoke(application(), words, env=dict(self.sandbox.environ))
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return CommandResult(done.exit_code, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with the samples and all three services running: to be called, not changed."""
    sandbox = suite.create_sandbox(tmp_path_factory.mktemp("running"), ports=free_ports(*SERVICES))
    suite.load_samples(sandbox)
    services = [ServiceProcess(name, sandbox).launch() for name in SERVICES]
    try:
        for service in services:
            service.wait()
        yield sandbox
    finally:
        for service in reversed(services):
            service.stop()


@pytest.fixture(scope="session")
def estelam(running: Sandbox) -> CommandLine:
    """The command line on the running services."""
    return CommandLine(running)


@contextmanager
def caller(sandbox: Sandbox, address: str, identity: ClientIdentity | None = None) -> Iterator[Callable[[], int]]:
    """Calls CheckNote about the ISSUED note over one connection, without retries; raises grpc.RpcError."""
    with plain_channel(address, identity or ClientIdentity.named(sandbox.pki, "setad")) as opened:
        stub = PromissoryNoteInquiryServiceStub(opened)
        yield lambda: stub.CheckNote(NOTE, timeout=10).answer


def outcome(call: Callable[[], Any]) -> Any:
    """The answer of *call*, or the status and reason of its refusal."""
    try:
        return call()
    except grpc.RpcError as error:
        found = from_grpc(error)
        return error.code(), found.reason if found else None


def refusal(call: Callable[[], Any]) -> tuple[grpc.StatusCode, Reason | None]:
    """The status and reason with which *call* was refused."""
    found = outcome(call)
    assert isinstance(found, tuple), "it was answered"
    return found
