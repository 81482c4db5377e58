"""The health service: Check, and Watch, whose callers see each change until the server shuts down."""

import threading
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from estelam.server.completion_queue import PolledServer
from estelam.server.health import CHECK, WATCH, HealthService

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = HealthCheckResponse.SERVICE_UNKNOWN


class Healthy:
    """A server with nothing but health, and a client of it."""

    def __init__(self) -> None:
        self.health = HealthService()
        serve = {CHECK: self.health.check, WATCH: self.health.watch}
        self.server = PolledServer([], lambda call: serve[call.method](call))
        port = self.server.listen("127.0.0.1:0", grpc.insecure_server_credentials())
        self.server.start()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_retries", 0)])
        self.stub = HealthStub(self.channel)  # type: ignore[no-untyped-call]

    def _run(self) -> None:
        while not self.server.has_ended:
            self.server.poll(wait=True)
            self.server.serve_waiting(1)

    def watch(self, name: str) -> Iterator[int]:
        return (reply.status for reply in self.stub.Watch(HealthCheckRequest(service=name), timeout=20))


@pytest.fixture
def healthy() -> Iterator[Healthy]:
    running = Healthy()
    yield running
    running.server.stop()
    running.health.end_watches()
    running.thread.join(20)
    running.channel.close()
    assert not running.thread.is_alive()


def test_check(healthy: Healthy) -> None:
    """Check returns the status of a service; one that the server does not have is NOT_FOUND."""
    healthy.health.set({"": SERVING, "one": NOT_SERVING})
    found = [healthy.stub.Check(HealthCheckRequest(service=name), timeout=20).status for name in ("", "one")]

    with pytest.raises(grpc.RpcError) as caught:
        healthy.stub.Check(HealthCheckRequest(service="other"), timeout=20)
    assert found == [SERVING, NOT_SERVING]
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_watch_sends_each_change(healthy: Healthy) -> None:
    """Watch sends the present status and each change of it, also of a service that is added later."""
    healthy.health.set({"one": NOT_SERVING})
    one, other = healthy.watch("one"), healthy.watch("other")
    seen = [next(one), next(other)]
    healthy.health.set({"one": NOT_SERVING, "other": SERVING})
    seen.append(next(other))
    healthy.health.set({"one": SERVING})
    seen.append(next(one))

    assert seen == [NOT_SERVING, SERVICE_UNKNOWN, SERVING, SERVING]


def test_shutdown_ends_watches(healthy: Healthy) -> None:
    """At the shutdown watchers see NOT_SERVING, which no later check changes, and then the end of the call."""
    healthy.health.set({"one": SERVING})
    watched = healthy.watch("one")
    seen = [next(watched)]
    healthy.health.set_final()
    healthy.health.set({"one": SERVING})
    seen.append(next(watched))
    healthy.health.end_watches()

    with pytest.raises(grpc.RpcError) as caught:
        next(watched)
    assert seen == [SERVING, NOT_SERVING]
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_watcher_who_leaves_is_forgotten(healthy: Healthy) -> None:
    """A watcher whose caller has gone is sent nothing more, and others are."""
    healthy.health.set({"one": SERVING})
    gone = healthy.stub.Watch(HealthCheckRequest(service="one"), timeout=20)
    stays = healthy.watch("one")
    seen = [next(gone).status, next(stays)]
    gone.cancel()
    while len(healthy.health._watchers) > 1:
        threading.Event().wait(0.01)
    healthy.health.set({"one": NOT_SERVING})
    seen.append(next(stays))

    assert seen == [SERVING, SERVING, NOT_SERVING]
