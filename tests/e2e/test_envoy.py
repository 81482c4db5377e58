"""The committed Envoy configurations, run by Envoy itself: two workers behind it, one of them killed, nothing lost."""

import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.client.channel import ClientIdentity, channel
from estelam.core.errors import Reason
from estelam.core.grpc_status import from_grpc
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES, Entry
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from tests.conftest import plain_channel
from tests.e2e.conftest import NOTE, caller, refusal
from tests.e2e.test_serving import NOT_SERVING, SERVING, health, until
from tests.guarantees.test_4_authorization_behind_proxy import HEADER, fingerprint, forwarded
from tests.support.outages import HOUR, PROMISSORY, outage, publish
from tools.env import sandbox as suite
from tools.env.envoy import CONFIGS, Envoy, render, validate
from tools.env.postgres import PostgresCluster
from tools.env.processes import ServiceProcess
from tools.env.sandbox import GRANTS, MINISTRY, Sandbox

KINDS = ("pass-through.yaml", "terminating.yaml")
CLIENTS = 4

each_kind = pytest.mark.parametrize("kind", KINDS)


@dataclass(frozen=True)
class Farm:
    """Two workers of one service on one store, and an Envoy of each kind before them."""

    sandbox: Sandbox
    workers: Sequence[ServiceProcess]
    envoys: dict[str, Envoy]

    def pem(self, name: str) -> bytes:
        return (self.sandbox.pki / f"{name}.crt").read_bytes()


@pytest.fixture(scope="module")
def farm(cluster: PostgresCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    store = {"promissory": cluster.url(cluster.database())}
    sandbox = suite.create_sandbox(tmp_path_factory.mktemp("farm"), stores=store)
    suite.load_samples(sandbox)
    DevCertificateAuthority(sandbox.pki).issue("server", [MINISTRY], hosts=["localhost", "127.0.0.1"])
    proxy = {"ESTELAM_PROMISSORY_TRUSTED_PROXIES": fingerprint((sandbox.pki / "proxy.crt").read_bytes())}
    with ExitStack() as stack:
        workers = [stack.enter_context(ServiceProcess("promissory", sandbox, environ=proxy)) for _ in range(2)]
        envoys = {
            kind: stack.enter_context(
                Envoy(kind, sandbox.folder / kind, pki=sandbox.pki, workers=[worker.port for worker in workers])
            )
            for kind in KINDS
        }
        yield Farm(sandbox, workers, envoys)


@each_kind
def test_envoy_finds_nothing_to_say_against_the_committed_configuration(farm: Farm, tmp_path: Path, kind: str) -> None:
    config = render(kind, tmp_path, pki=farm.sandbox.pki, port=1, admin=2, workers=[3, 4])

    assert "" == validate(config)


@pytest.mark.parametrize(
    "kind", [*KINDS, *(f"secrets/{name}.yaml" for name in ("server", "callers", "proxy", "workers"))]
)
def test_every_secret_has_its_file_and_every_file_its_use(kind: str) -> None:
    assert (CONFIGS / kind).is_file()


@each_kind
def test_callers_are_who_they_are_through_either(farm: Farm, kind: str) -> None:
    address = farm.envoys[kind].address
    with caller(farm.sandbox, address) as setad:
        answer = setad()
    with caller(farm.sandbox, address, ClientIdentity.named(farm.sandbox.pki, "stranger")) as stranger:
        shut = refusal(stranger)

    assert ANSWER_YES == answer
    assert (grpc.StatusCode.PERMISSION_DENIED, Reason.NOT_GRANTED) == shut


@each_kind
def test_the_record_names_the_caller_and_not_the_proxy(farm: Farm, kind: str) -> None:
    with plain_channel(farm.envoys[kind].address, ClientIdentity.named(farm.sandbox.pki, "agency")) as opened:
        reply = PromissoryNoteInquiryServiceStub(opened).CheckNote(NOTE, timeout=10)

    assert suite.ORGANIZATIONS["agency"] == Entry.FromString(reply.receipt.entry).caller


@pytest.mark.parametrize(("kind", "outcome"), [(KINDS[0], Reason.CERTIFICATE_UNUSABLE), (KINDS[1], Reason.NOT_GRANTED)])
def test_nobody_becomes_another_by_saying_so(farm: Farm, kind: str, outcome: Reason) -> None:
    forged = ((HEADER, forwarded(farm.pem("setad"))),)
    with plain_channel(farm.envoys[kind].address, ClientIdentity.named(farm.sandbox.pki, "stranger")) as opened:
        stub = PromissoryNoteInquiryServiceStub(opened)
        _, reason = refusal(lambda: stub.CheckNote(NOTE, timeout=10, metadata=forged))

    assert outcome == reason


@each_kind
def test_without_a_trusted_certificate_nobody_gets_through(farm: Farm, kind: str, tmp_path: Path) -> None:
    DevCertificateAuthority.create(tmp_path, "estelam development CA").issue("setad", [suite.ORGANIZATIONS["setad"]])
    foreign = ClientIdentity(tmp_path / "setad.crt", tmp_path / "setad.key", farm.sandbox.pki / "ca.crt")
    bare = grpc.ssl_channel_credentials(farm.pem("ca"))
    for credentials in (foreign.credentials(), bare):
        with grpc.secure_channel(farm.envoys[kind].address, credentials) as opened:
            stub = PromissoryNoteInquiryServiceStub(opened)
            with pytest.raises(grpc.RpcError) as caught:
                stub.CheckNote(NOTE, timeout=10)

            assert grpc.StatusCode.UNAVAILABLE == caught.value.code()


def test_a_barred_caller_is_barred_where_tls_ends_before_us(farm: Farm) -> None:
    with caller(farm.sandbox, farm.envoys[KINDS[1]].address) as ask:
        before = ask()
        suite.write_access(farm.sandbox, GRANTS, rate=1000, burst=2000, denied=[fingerprint(farm.pem("setad"))])
        time.sleep(1.2)
        try:
            during = refusal(ask)
        finally:
            suite.write_access(farm.sandbox, GRANTS, rate=1000, burst=2000)
            time.sleep(1.2)

    assert (ANSWER_YES, (grpc.StatusCode.UNAUTHENTICATED, Reason.CERTIFICATE_DENIED)) == (before, during)


@each_kind
def test_health_is_asked_through_either(farm: Farm, kind: str) -> None:
    with plain_channel(farm.envoys[kind].address, ClientIdentity.named(farm.sandbox.pki, "setad")) as opened:
        health = HealthStub(opened)  # type: ignore[no-untyped-call]

        assert HealthCheckResponse.SERVING == health.Check(HealthCheckRequest(), timeout=10).status


def ask_until(over: Event, address: str, identity: ClientIdentity) -> tuple[int, list[Any]]:
    """How many answers came, and what was said instead of one."""
    answers, lost = 0, []
    with channel(address, identity) as opened:
        stub = PromissoryNoteInquiryServiceStub(opened)
        while not over.is_set():
            try:
                answers += stub.CheckNote(NOTE, timeout=30).answer == ANSWER_YES
            except grpc.RpcError as error:
                lost.append((error.code(), error.details()))
            over.wait(0.005)
    return answers, lost


@each_kind
def test_within_an_announced_outage_a_caller_is_told_until_when_through_either(farm: Farm, kind: str) -> None:
    def say(status: int) -> bool:
        """Whether every worker comes to say so of its service."""
        return until(lambda: {health(farm.sandbox, one.address, PROMISSORY) for one in farm.workers} == {status})

    envoy = farm.envoys[kind].wait()
    now, path = datetime.now(UTC), farm.sandbox.folder / "outages.toml"
    told = []
    with caller(farm.sandbox, envoy.address) as ask:
        publish(path, outage(PROMISSORY, now - HOUR, now + HOUR))
        try:
            out = say(NOT_SERVING)
            # By now Envoy, which asks each second, would have left out whoever is not well.
            time.sleep(3)
            for _ in range(5):
                with pytest.raises(grpc.RpcError) as caught:
                    ask()
                told.append(from_grpc(caught.value))
        finally:
            publish(path)
        # All of them, since the next test asks them all.
        over = say(SERVING)
        answer = ask()

    assert (True, True, ANSWER_YES) == (out, over, answer)
    assert [(Reason.OUTAGE_ANNOUNCED, True)] * 5 == [
        (one.reason, 3500 < (one.retry_seconds or 0) < 3700) for one in told if one
    ]


@each_kind
def test_a_worker_that_is_killed_or_told_to_leave_under_load_costs_no_call(farm: Farm, kind: str) -> None:
    over, setad = Event(), ClientIdentity.named(farm.sandbox.pki, "setad")
    envoy = farm.envoys[kind].wait()
    with ThreadPoolExecutor(CLIENTS) as clients, ExitStack() as at_last:
        at_last.callback(over.set)
        asking = [clients.submit(ask_until, over, envoy.address, setad) for _ in range(CLIENTS)]
        for worker, end in zip(farm.workers, (ServiceProcess.kill, ServiceProcess.stop), strict=True):
            over.wait(0.5)
            end(worker)
            over.wait(0.5)
            worker.start()
            envoy.wait()
        over.set()
        results = [client.result() for client in asking]

    assert [[]] * CLIENTS == [lost for _, lost in results]
    assert all(answers for answers, _ in results)


def test_where_tls_ends_before_us_even_a_client_without_retries_loses_nothing(farm: Farm) -> None:
    envoy = farm.envoys[KINDS[1]].wait()
    with caller(farm.sandbox, envoy.address) as ask:
        for worker in farm.workers:
            before = [ask() for _ in range(20)]
            worker.kill()
            after = [ask() for _ in range(20)]
            worker.start()
            envoy.wait()

            assert [ANSWER_YES] * 40 == before + after


@each_kind
def test_with_no_worker_left_a_caller_is_told_so_in_constant_words(farm: Farm, kind: str) -> None:
    envoy = farm.envoys[kind].wait()
    for worker in farm.workers:
        worker.kill()
    try:
        with caller(farm.sandbox, envoy.address) as ask:
            codes = set()
            for _ in range(5):
                with pytest.raises(grpc.RpcError) as caught:
                    ask()
                codes.add((caught.value.code(), from_grpc(caught.value)))
    finally:
        for worker in farm.workers:
            worker.start()
        envoy.wait()

    assert {(grpc.StatusCode.UNAVAILABLE, None)} == codes
    if kind == KINDS[1]:
        assert "The service cannot be reached, so no answer can be given." == caught.value.details()


@each_kind
def test_who_opens_connections_and_says_nothing_reaches_no_worker(farm: Farm, kind: str) -> None:
    envoy = farm.envoys[kind].wait()
    with ExitStack() as held, caller(farm.sandbox, envoy.address) as ask:
        answer = ask()
        before = envoy.stats()
        silent = [held.enter_context(socket.create_connection(("127.0.0.1", envoy.port))) for _ in range(500)]
        for half in silent[::2]:
            half.sendall(b"\x16\x03\x01\x02\x00")  # the first bytes of a handshake
        time.sleep(0.5)
        during = envoy.stats()
        answers = [ask() for _ in range(20)]
        ends = []
        for one in silent:
            one.settimeout(15)
            with suppress(ConnectionResetError):
                ends.append(one.recv(1))

    assert [ANSWER_YES] * 21 == [answer, *answers]
    assert set(ends) <= {b""}
    assert during["cluster.workers.upstream_cx_total"] == before["cluster.workers.upstream_cx_total"]


def test_who_resets_stream_after_stream_loses_the_connection(farm: Farm) -> None:
    envoy = farm.envoys[KINDS[1]].wait()
    before = envoy.stats()
    with (
        plain_channel(envoy.address, ClientIdentity.named(farm.sandbox.pki, "setad")) as opened,
        caller(farm.sandbox, envoy.address) as ask,
    ):
        grpc.channel_ready_future(opened).result(10)
        stub = PromissoryNoteInquiryServiceStub(opened)
        for _ in range(2000):
            stub.CheckNote.future(NOTE, timeout=10).cancel()
        answers = [ask() for _ in range(20)]

    after = envoy.stats()
    assert [ANSWER_YES] * 20 == answers
    assert (
        after["http.callers.downstream_rq_too_many_premature_resets"]
        > before["http.callers.downstream_rq_too_many_premature_resets"]
    )
