"""The committed configurations in a real Envoy with two workers, one of which is killed."""

import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from development import sandbox as suite
from development.processes import ServiceProcess
from development.sandbox import GRANTS, MINISTRY, Sandbox
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.client.channel import ClientIdentity, channel
from estelam.core.errors import Reason
from estelam.core.grpc_status import from_grpc
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES, Entry
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from tests.conftest import plain_channel
from tests.e2e.conftest import NOTE, caller, refusal
from tests.e2e.test_serving import NOT_SERVING, SERVING, health, until
from tests.guarantees.test_4_authorization_behind_proxy import HEADER, forwarded
from tests.support.certificates import flip_signature, key_sha256
from tests.support.outages import HOUR, PROMISSORY, outage, publish
from tools.env.envoy import CONFIGS, Envoy, render, validate
from tools.env.postgres import PostgresCluster

pytestmark = pytest.mark.slow

KINDS = ("pass-through.yaml", "terminating.yaml")
CLIENTS = 4

each_kind = pytest.mark.parametrize("kind", KINDS)
# The workers do the same behind either; make test-full runs both.
each_kind_slowly = pytest.mark.parametrize("kind", [KINDS[0], pytest.param(KINDS[1], marks=pytest.mark.slow)])


@dataclass(frozen=True)
class EnvoyDeployment:
    """Two workers of one service on one store, behind one Envoy per configuration."""

    sandbox: Sandbox
    workers: Sequence[ServiceProcess]
    envoys: dict[str, Envoy]

    def pem(self, name: str) -> bytes:
        return (self.sandbox.pki / f"{name}.crt").read_bytes()


@pytest.fixture(scope="module")
def deployment(cluster: PostgresCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EnvoyDeployment]:
    store = {"promissory": cluster.url(cluster.database())}
    sandbox = suite.create_sandbox(tmp_path_factory.mktemp("deployment"), stores=store)
    suite.load_samples(sandbox)
    DevCertificateAuthority(sandbox.pki).issue("server", [MINISTRY], hosts=["localhost", "127.0.0.1"])
    proxy = {"ESTELAM_PROMISSORY_TRUSTED_PROXY_KEYS": key_sha256(sandbox.pki / "proxy.crt")}
    with ExitStack() as stack:
        workers = [stack.enter_context(ServiceProcess("promissory", sandbox, environ=proxy)) for _ in range(2)]
        envoys = {
            kind: stack.enter_context(
                Envoy(kind, sandbox.folder / kind, pki=sandbox.pki, workers=[worker.port for worker in workers])
            )
            for kind in KINDS
        }
        yield EnvoyDeployment(sandbox, workers, envoys)


@each_kind
def test_configuration_is_valid(deployment: EnvoyDeployment, tmp_path: Path, kind: str) -> None:
    """Envoy accepts the committed configuration."""
    config = render(kind, tmp_path, pki=deployment.sandbox.pki, port=1, admin=2, workers=[3, 4])

    assert "" == validate(config)


@pytest.mark.parametrize(
    "kind", [*KINDS, *(f"secrets/{name}.yaml" for name in ("server", "callers", "proxy", "workers"))]
)
def test_secrets_and_files_match(kind: str) -> None:
    """Every secret in the configuration has a file, and every file is used."""
    assert (CONFIGS / kind).is_file()


@each_kind
def test_callers_are_authenticated(deployment: EnvoyDeployment, kind: str) -> None:
    """Callers are authenticated by their own certificates through either configuration."""
    address = deployment.envoys[kind].address
    with caller(deployment.sandbox, address) as setad:
        answer = setad()
    with caller(deployment.sandbox, address, ClientIdentity.named(deployment.sandbox.pki, "stranger")) as stranger:
        shut = refusal(stranger)

    assert ANSWER_YES == answer
    assert (grpc.StatusCode.PERMISSION_DENIED, Reason.NOT_GRANTED) == shut


@each_kind
def test_ledger_names_the_caller(deployment: EnvoyDeployment, kind: str) -> None:
    """The ledger names the caller, not the proxy."""
    with plain_channel(
        deployment.envoys[kind].address, ClientIdentity.named(deployment.sandbox.pki, "agency")
    ) as opened:
        reply = PromissoryNoteInquiryServiceStub(opened).CheckNote(NOTE, timeout=10)

    assert suite.ORGANIZATIONS["agency"] == Entry.FromString(reply.receipt.entry).caller


@pytest.mark.parametrize(("kind", "outcome"), [(KINDS[0], Reason.CERTIFICATE_UNUSABLE), (KINDS[1], Reason.NOT_GRANTED)])
def test_forged_xfcc_header_is_ignored(deployment: EnvoyDeployment, kind: str, outcome: Reason) -> None:
    """A caller cannot take another identity by sending the x-forwarded-client-cert header."""
    forged = ((HEADER, forwarded(deployment.pem("setad"))),)
    with plain_channel(
        deployment.envoys[kind].address, ClientIdentity.named(deployment.sandbox.pki, "stranger")
    ) as opened:
        stub = PromissoryNoteInquiryServiceStub(opened)
        _, reason = refusal(lambda: stub.CheckNote(NOTE, timeout=10, metadata=forged))

    assert outcome == reason


@each_kind
def test_untrusted_certificate_is_rejected(deployment: EnvoyDeployment, kind: str, tmp_path: Path) -> None:
    """A caller without a trusted certificate cannot connect."""
    DevCertificateAuthority.create(tmp_path, "estelam development CA").issue("setad", [suite.ORGANIZATIONS["setad"]])
    foreign = ClientIdentity(tmp_path / "setad.crt", tmp_path / "setad.key", deployment.sandbox.pki / "ca.crt")
    bare = grpc.ssl_channel_credentials(deployment.pem("ca"))
    for credentials in (foreign.credentials(), bare):
        with grpc.secure_channel(deployment.envoys[kind].address, credentials) as opened:
            stub = PromissoryNoteInquiryServiceStub(opened)
            with pytest.raises(grpc.RpcError) as caught:
                stub.CheckNote(NOTE, timeout=10)

            assert grpc.StatusCode.UNAVAILABLE == caught.value.code()


def test_terminating_takes_tls_1_3_alone(deployment: EnvoyDeployment) -> None:
    """The Envoy that ends TLS completes no handshake of TLS 1.2, like the JSON API."""
    context = ClientIdentity.named(deployment.sandbox.pki, "setad").ssl_context()
    taken = []
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context.maximum_version = version
        plain = socket.create_connection(("127.0.0.1", deployment.envoys["terminating.yaml"].port), timeout=30)
        with closing(plain), suppress(OSError), context.wrap_socket(plain, server_hostname="localhost") as tls:
            taken.append(tls.version())

    assert ["TLSv1.3"] == taken


@each_kind
def test_denied_caller_is_refused(deployment: EnvoyDeployment, kind: str) -> None:
    """A denied certificate is refused by either configuration, also with its issuer's signature rewritten."""
    pki = deployment.sandbox.pki
    (pki / "flipped.crt").write_bytes(flip_signature(deployment.pem("setad")))
    (pki / "flipped.key").write_bytes((pki / "setad.key").read_bytes())
    flipped = ClientIdentity.named(pki, "flipped")
    with (
        caller(deployment.sandbox, deployment.envoys[kind].address) as ask,
        caller(deployment.sandbox, deployment.envoys[kind].address, flipped) as ask_flipped,
    ):
        before = ask(), ask_flipped()
        suite.write_access(deployment.sandbox, GRANTS, rate=1000, burst=2000, denied=[key_sha256(pki / "setad.crt")])
        time.sleep(1.2)
        try:
            during = refusal(ask), refusal(ask_flipped)
        finally:
            suite.write_access(deployment.sandbox, GRANTS, rate=1000, burst=2000)
            time.sleep(1.2)

    assert (ANSWER_YES, ANSWER_YES) == before
    assert ((grpc.StatusCode.UNAUTHENTICATED, Reason.CERTIFICATE_DENIED),) * 2 == during


@each_kind
def test_health_is_reachable(deployment: EnvoyDeployment, kind: str) -> None:
    """Health checks pass through either configuration."""
    with plain_channel(
        deployment.envoys[kind].address, ClientIdentity.named(deployment.sandbox.pki, "setad")
    ) as opened:
        health = HealthStub(opened)  # type: ignore[no-untyped-call]

        assert HealthCheckResponse.SERVING == health.Check(HealthCheckRequest(), timeout=10).status


def call_until(over: Event, address: str, identity: ClientIdentity) -> tuple[int, list[Any]]:
    """The number of answers, and the errors."""
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


@each_kind_slowly
def test_announced_outage_reports_its_end(deployment: EnvoyDeployment, kind: str) -> None:
    """During an announced outage callers get its end through either configuration."""

    def say(status: int) -> bool:
        """Whether every worker reports *status* within the timeout."""
        return until(
            lambda: {health(deployment.sandbox, one.address, PROMISSORY) for one in deployment.workers} == {status}
        )

    envoy = deployment.envoys[kind].wait()
    now, path = datetime.now(UTC), deployment.sandbox.folder / "outages.toml"
    reported = []
    with caller(deployment.sandbox, envoy.address) as ask:
        publish(path, outage(PROMISSORY, now - HOUR, now + HOUR))
        try:
            out = say(NOT_SERVING)
            # By now Envoy's health checks, one per second, would have removed unhealthy workers.
            time.sleep(3)
            for _ in range(5):
                with pytest.raises(grpc.RpcError) as caught:
                    ask()
                reported.append(from_grpc(caught.value))
        finally:
            publish(path)
        # All of them, since the next test uses all.
        over = say(SERVING)
        answer = ask()

    assert (True, True, ANSWER_YES) == (out, over, answer)
    assert [(Reason.OUTAGE_ANNOUNCED, True)] * 5 == [
        (one.reason, 3500 < (one.retry_seconds or 0) < 3700) for one in reported if one
    ]


@pytest.mark.slow
@each_kind
def test_lost_worker_costs_no_call(deployment: EnvoyDeployment, kind: str) -> None:
    """A worker that is killed or shut down under load costs no call of our client."""
    over, setad = Event(), ClientIdentity.named(deployment.sandbox.pki, "setad")
    envoy = deployment.envoys[kind].wait()
    with ThreadPoolExecutor(CLIENTS) as clients, ExitStack() as at_last:
        at_last.callback(over.set)
        asking = [clients.submit(call_until, over, envoy.address, setad) for _ in range(CLIENTS)]
        for worker, end in zip(deployment.workers, (ServiceProcess.kill, ServiceProcess.stop), strict=True):
            over.wait(0.5)
            end(worker)
            over.wait(0.5)
            worker.start()
            envoy.wait()
        over.set()
        results = [client.result() for client in asking]

    assert [[]] * CLIENTS == [lost for _, lost in results]
    assert all(answers for answers, _ in results)


def test_proxy_retries_for_plain_clients(deployment: EnvoyDeployment) -> None:
    """Where the proxy terminates TLS, even a client without retries loses no call."""
    envoy = deployment.envoys[KINDS[1]].wait()
    with caller(deployment.sandbox, envoy.address) as ask:
        for worker in deployment.workers:
            before = [ask() for _ in range(20)]
            worker.kill()
            after = [ask() for _ in range(20)]
            worker.start()
            envoy.wait()

            assert [ANSWER_YES] * 40 == before + after


@each_kind
def test_no_worker_is_a_constant_error(deployment: EnvoyDeployment, kind: str) -> None:
    """Without any worker a caller gets a constant error."""
    envoy = deployment.envoys[kind].wait()
    for worker in deployment.workers:
        worker.kill()
    try:
        with caller(deployment.sandbox, envoy.address) as ask:
            codes = set()
            for _ in range(5):
                with pytest.raises(grpc.RpcError) as caught:
                    ask()
                codes.add((caught.value.code(), from_grpc(caught.value)))
    finally:
        for worker in deployment.workers:
            worker.start()
        envoy.wait()

    assert {(grpc.StatusCode.UNAVAILABLE, None)} == codes
    if kind == KINDS[1]:
        assert "The service cannot be reached, so no answer can be given." == caught.value.details()


@each_kind_slowly
def test_silent_connections_reach_no_worker(deployment: EnvoyDeployment, kind: str) -> None:
    """Silent connections are closed by Envoy and reach no worker."""
    envoy = deployment.envoys[kind].wait()
    with ExitStack() as held, caller(deployment.sandbox, envoy.address) as ask:
        answer = ask()
        before = envoy.stats()
        silent = [held.enter_context(socket.create_connection(("127.0.0.1", envoy.port))) for _ in range(500)]
        for half in silent[::2]:
            half.sendall(b"\x16\x03\x01\x02\x00")  # the first bytes of a TLS handshake
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


def test_reset_flood_closes_connection(deployment: EnvoyDeployment) -> None:
    """A client that resets stream after stream loses its connection."""
    envoy = deployment.envoys[KINDS[1]].wait()
    before = envoy.stats()
    with (
        plain_channel(envoy.address, ClientIdentity.named(deployment.sandbox.pki, "setad")) as opened,
        caller(deployment.sandbox, envoy.address) as ask,
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
