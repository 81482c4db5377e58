"""Probes of services that the catalogue only lists: HTTP, TLS and gRPC health, against real servers."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from estelam.auth.dev_ca import DevCertificateAuthority
from quality.attribution import Attribution, TransportFailure
from quality.monitor.service_probe import run_service_probe
from quality.records import Probe
from quality.settings import ServiceProbe
from tests.integration.quality.test_monitor import unused_address
from tools.env.identifiers import legal_id

SERVICE = "tax-debt"


class _Handler(BaseHTTPRequestHandler):
    """Answers each path /N with the status N, and a POST only if it has the expected body."""

    def do_GET(self) -> None:
        status = int(self.path.strip("/"))
        self.send_response(status)
        if status == 302:
            self.send_header("location", "/200")
        self.end_headers()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200 if body == b'{"id":"x"}' and self.headers["content-type"] == "application/json" else 400)
        self.end_headers()

    def log_message(self, *_args: Any) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of certificates from one authority."""
    folder = tmp_path_factory.mktemp("pki")
    authority = DevCertificateAuthority.create(folder)
    authority.issue("server", [legal_id(17)], hosts=("localhost", "127.0.0.1"))
    authority.issue("client", [legal_id(17)])
    return folder


@contextlib.contextmanager
def serving(context: ssl.SSLContext) -> Iterator[str]:
    """Run an HTTPS server; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    # The handshake takes place in the thread of its connection, where a failed one ends that connection alone.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def web(pki: Path) -> Iterator[str]:
    """The address of an HTTPS server."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pki / "server.crt", pki / "server.key")
    with serving(context) as address:
        yield address


@pytest.fixture
def checked(pki: Path) -> Iterator[tuple[str, health.HealthServicer]]:
    """The address of a gRPC server with the health service, which demands a client certificate, and that service."""
    authority = (pki / "ca.crt").read_bytes()
    pair = ((pki / "server.key").read_bytes(), (pki / "server.crt").read_bytes())
    servicer = health.HealthServicer()  # type: ignore[no-untyped-call]
    server = grpc.server(ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    credentials = grpc.ssl_server_credentials([pair], authority, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    yield f"127.0.0.1:{port}", servicer
    server.stop(None).wait()


def run(**settings: Any) -> tuple[Attribution | None, str] | None:
    found = asyncio.run(run_service_probe(ServiceProbe(service=SERVICE, **settings), minute=7, seconds=5))
    if found is None:
        return None
    assert found == Probe(7, SERVICE, "", found.fault, found.reason)
    return found.fault, found.reason


@pytest.mark.parametrize(
    ("path", "options", "expected"),
    [
        ("200", {}, (None, "")),
        ("404", {"expect": (404,)}, (None, "")),
        ("", {"method": "POST", "body": '{"id":"x"}'}, (None, "")),
        ("503", {}, (Attribution.PROVIDER, TransportFailure.SERVER_ERROR)),
        ("404", {}, (Attribution.UNKNOWN, TransportFailure.STATUS_UNEXPLAINED)),
        ("302", {}, (Attribution.UNKNOWN, TransportFailure.STATUS_UNEXPLAINED)),
    ],
)
def test_http(
    pki: Path, web: str, path: str, options: dict[str, Any], expected: tuple[Attribution | None, str]
) -> None:
    """An expected status is an answer; a server's error is its provider's, and a refusal may be due to the probe."""
    assert expected == run(kind="http", target=f"https://{web}/{path}", ca_certificates=pki / "ca.crt", **options)


@pytest.mark.parametrize("kind", ["http", "tls"])
def test_certificate_that_is_not_trusted(web: str, kind: str) -> None:
    """A certificate that the operating system does not trust is no proof of the service."""
    target = f"https://{web}/200" if kind == "http" else web
    assert (Attribution.UNKNOWN, TransportFailure.SERVICE_UNPROVEN) == run(kind=kind, target=target)


@pytest.mark.parametrize("kind", ["http", "tls"])
def test_refused(kind: str) -> None:
    """A host where nothing listens is the provider's fault."""
    address = unused_address()
    target = f"https://{address}/" if kind == "http" else address
    assert (Attribution.PROVIDER, TransportFailure.CONNECTION_REFUSED) == run(kind=kind, target=target)


def test_client_certificate_is_demanded(pki: Path) -> None:
    """A server that rejects the probe for its certificate, or for having none, is not at fault."""
    demanding = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=pki / "ca.crt")
    demanding.verify_mode = ssl.CERT_REQUIRED
    demanding.load_cert_chain(pki / "server.crt", pki / "server.key")
    with serving(demanding) as address:
        found = run(kind="http", target=f"https://{address}/200", ca_certificates=pki / "ca.crt")

    assert (Attribution.UNKNOWN, TransportFailure.STATUS_UNEXPLAINED) == found


def test_tls(pki: Path, web: str) -> None:
    """A handshake with a trusted certificate is an answer."""
    assert (None, "") == run(kind="tls", target=web, ca_certificates=pki / "ca.crt")


def test_grpc_health(pki: Path, checked: tuple[str, health.HealthServicer]) -> None:
    """SERVING is an answer, NOT_SERVING the provider's fault, and a name that is not known may be the probe's."""
    address, servicer = checked
    identity = {"certificate": pki / "client.crt", "private_key": pki / "client.key", "ca_certificates": pki / "ca.crt"}
    found = [run(kind="grpc-health", target=address, **identity)]
    servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)  # type: ignore[no-untyped-call]
    found.append(run(kind="grpc-health", target=address, **identity))
    found.append(run(kind="grpc-health", target=address, health_service="nobody", **identity))

    assert [
        (None, ""),
        (Attribution.PROVIDER, TransportFailure.NOT_SERVING),
        (Attribution.UNKNOWN, TransportFailure.STATUS_UNEXPLAINED),
    ] == found


def test_own_files_cannot_be_read(tmp_path: Path, web: str) -> None:
    """Where the monitor's own files can't be read nothing is measured."""
    assert run(kind="tls", target=web, ca_certificates=tmp_path / "missing.crt") is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "http", "target": "127.0.0.1:80"},
        {"kind": "tls", "target": "https://localhost/"},
        {"kind": "tls", "target": "localhost:443", "certificate": Path("a.crt")},
        {"kind": "grpc-health", "target": "localhost:443"},
        {"kind": "http", "target": "https://localhost/", "expect": (20,)},
    ],
)
def test_settings_that_cannot_work(wrong: dict[str, Any]) -> None:
    """A probe that could never measure anything is refused when the settings are read."""
    with pytest.raises(ValueError, match="1 validation error"):
        ServiceProbe(service=SERVICE, **wrong)
