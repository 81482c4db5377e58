"""Scenario: the server's certificate is replaced again and again under churning connections and cancelled calls.

A round: 1 clients open connections, call, cancel some of their calls and close the connections, 2 the certificate and
its key are replaced, 3 the service has read them. It must not end, and no call may fail that was not cancelled. Core
dumps are on: `kernel.core_pattern` says where one would be. 3,000 rounds take about an hour.
"""

import contextlib
import resource
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final, Self

from development import sandbox as suite
from development.processes import ServiceProcess
from development.sandbox import MINISTRY, Sandbox
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.client.channel import ClientIdentity, channel
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from tools.bench.processes import resident_mib
from tools.chaos.fuzz import NOTE
from tools.chaos.scenario import Result, Scenario, Task

CLIENTS: Final = 4
CALLS: Final = 6
"""The number of calls at a time on one connection."""
CANCEL_SECONDS: Final = 0.004
CALL_SECONDS: Final = 10.0
ROUND_SECONDS: Final = 30.0
RELOADED: Final = b'"certificate.reloaded"'


class Churn:
    """Clients that open and close connections, and cancel calls, from the beginning to the end of a with block."""

    def __init__(self, address: str, sandbox: Sandbox, seed: int) -> None:
        self.ended: Counter[str] = Counter()
        """The number of calls by how they ended."""
        self._address = address
        self._identity = ClientIdentity.named(sandbox.pki, "setad")
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(Random(f"{seed} {n}"),)) for n in range(CLIENTS)]

    def __enter__(self) -> Self:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for each in self._threads:
            each.join()

    def _run(self, random: Random) -> None:
        while not self._over.is_set():
            with channel(self._address, self._identity) as opened:
                stub = PromissoryNoteInquiryServiceStub(opened)
                calls = [stub.CheckNote.future(NOTE, timeout=CALL_SECONDS) for _ in range(CALLS)]
                cancelled = calls[: random.randint(0, CALLS)]
                time.sleep(random.uniform(0, CANCEL_SECONDS))
                for call in cancelled:
                    call.cancel()
                for call in calls[len(cancelled) :]:
                    call.exception()
                self.ended.update(call.code().name for call in calls)


def run(task: Task) -> Result:
    """Replace the certificate *task.rounds* times."""
    sandbox = suite.create_sandbox(task.folder, rate=1e6, burst=10**6)
    suite.load_samples(sandbox)
    authority = DevCertificateAuthority(sandbox.pki)
    total = Result()
    with _core_dumps():
        service = ServiceProcess("promissory", sandbox, environ={"PYTHONFAULTHANDLER": "1"}).start()
    before = resident_mib(service.pid)
    with Churn(service.address, sandbox, task.seed) as churn:  # 1
        for _ in range(task.rounds):
            read = _reloads(service.log)
            authority.issue("promissory-server", [MINISTRY], hosts=["localhost", "127.0.0.1"])  # 2
            if not _has_read_again(service, read):  # 3
                break
            total.rounds += 1
            task.progress(1)
    grown = 0.0 if service.exit_status is not None else resident_mib(service.pid) - before
    if status := service.stop():
        total.losses.append(f"the service ended with status {status}: {service.output()[-500:]}")
    elif total.rounds < task.rounds:
        total.losses.append("a new certificate was not read")
    failed = {name: count for name, count in churn.ended.items() if name not in {"OK", "CANCELLED"}}
    total.losses += [f"{count} calls failed: {name}" for name, count in failed.items()]
    total.checked = sum(churn.ended.values())
    total.remarks.append(f"{churn.ended['CANCELLED']:,} calls cancelled; memory grew by {grown:.0f} MiB")
    return total


def _has_read_again(service: ServiceProcess, read: int) -> bool:
    """Wait until the service has read its certificate more than *read* times; return whether it has."""
    until = time.monotonic() + ROUND_SECONDS
    while service.exit_status is None and time.monotonic() < until:
        if _reloads(service.log) > read:
            return True
        time.sleep(0.05)
    return False


def _reloads(log: Path) -> int:
    return log.read_bytes().count(RELOADED)


@contextlib.contextmanager
def _core_dumps() -> Iterator[None]:
    """Let processes that start within the context leave core dumps, if the system allows them."""
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (limits[1], limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, limits)


SCENARIO = Scenario("churn", "replacement of the certificate under connections that come and go", 3, 3000, run)
