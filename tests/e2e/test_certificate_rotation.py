"""Certificates replaced on disk while a process serves: used from the next handshake on, if complete."""

import shutil
import socket
import ssl
import time
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from development.sandbox import MINISTRY, ORGANIZATIONS, Sandbox
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.client.channel import ClientIdentity
from estelam.core.errors import Reason
from estelam.core.reload import CREDENTIALS_STILL_SECONDS
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from tests.conftest import Start, promissory_opening
from tests.e2e.conftest import caller, refusal
from tests.support.service import RunningService

pytestmark = pytest.mark.slow

HOSTS = ["localhost", "127.0.0.1"]
BRIEF = timedelta(seconds=3)


@pytest.fixture
def successor(tmp_path: Path) -> DevCertificateAuthority:
    """A new CA with certificates for the promissory server and for Setad."""
    authority = DevCertificateAuthority.create(tmp_path / "successor", "the next authority")
    authority.issue("promissory-server", [MINISTRY], hosts=HOSTS)
    authority.issue("setad", [ORGANIZATIONS["setad"]])
    return authority


@pytest.fixture
def trusted(loaded: Sandbox) -> Path:
    """The CA file that the server verifies callers with."""
    return Path(shutil.copy(loaded.pki / "ca.crt", loaded.folder / "callers.crt"))


@pytest.fixture
def server(start: Start, loaded: Sandbox, trusted: Path) -> RunningService:
    return start(promissory_opening(loaded, ca_certificates=trusted))


def shown(service: RunningService, sandbox: Sandbox) -> bytes:
    """The certificate that *service* presents in a new handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(sandbox.pki / "setad.crt", sandbox.pki / "setad.key")
    with (
        socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection,
        context.wrap_socket(connection) as tls,
    ):
        return tls.getpeercert(binary_form=True) or b""


def settle() -> None:
    """Wait until changed files have been still for so long that the server reads them."""
    time.sleep(CREDENTIALS_STILL_SECONDS + 0.1)


def der(path: Path) -> bytes:
    """The certificate in the PEM file *path*, DER encoded."""
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


def replace(sandbox: Sandbox, successor: DevCertificateAuthority, ending: str) -> None:
    """Replace a file of the server by the successor's."""
    shutil.copy(successor.folder / f"promissory-server.{ending}", sandbox.pki / f"promissory-server.{ending}")


def test_new_certificate_is_used_without_restart(
    server: RunningService, loaded: Sandbox, successor: DevCertificateAuthority
) -> None:
    """A new certificate is used without a restart, and open connections continue."""
    setad = ClientIdentity.named(loaded.pki, "setad")
    with caller(loaded, server.address) as ask:
        ask()
        replace(loaded, successor, "key")
        replace(loaded, successor, "crt")
        settle()

        assert der(successor.folder / "promissory-server.crt") == shown(server, loaded)
        assert ask() == ANSWER_YES
    trusting = ClientIdentity(setad.certificate, setad.private_key, successor.folder / "ca.crt")
    with caller(loaded, server.address, trusting) as ask:
        assert ask() == ANSWER_YES


@pytest.mark.parametrize(("first", "second"), [("crt", "key"), ("key", "crt")])
def test_incomplete_rotation_keeps_old_certificate(
    server: RunningService, loaded: Sandbox, successor: DevCertificateAuthority, first: str, second: str
) -> None:
    """While key and certificate do not match, or have just changed, the old certificate stays in use."""
    old = der(loaded.pki / "promissory-server.crt")

    replace(loaded, successor, first)
    settle()
    half_way = shown(server, loaded)
    replace(loaded, successor, second)
    changing = shown(server, loaded)
    settle()

    assert old == half_way == changing
    assert der(successor.folder / "promissory-server.crt") == shown(server, loaded)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\nMIIB", None], ids=["empty", "cut", "missing"])
def test_damaged_ca_file_is_ignored(
    server: RunningService, loaded: Sandbox, trusted: Path, content: bytes | None
) -> None:
    """A damaged CA file leaves the last valid one in use."""
    if content is None:
        trusted.unlink()
    else:
        trusted.write_bytes(content)
    settle()

    with caller(loaded, server.address) as ask:
        assert ask() == ANSWER_YES


def test_ca_rotation(
    server: RunningService, loaded: Sandbox, successor: DevCertificateAuthority, trusted: Path
) -> None:
    """Callers of a new CA are accepted, and those of the old CA are rejected once it is removed."""
    old = ClientIdentity.named(loaded.pki, "setad")
    new = ClientIdentity(successor.folder / "setad.crt", successor.folder / "setad.key", loaded.pki / "ca.crt")
    certificate = (successor.folder / "ca.crt").read_bytes()

    with caller(loaded, server.address, new) as ask:
        assert (grpc.StatusCode.UNAVAILABLE, None) == refusal(ask)
    trusted.write_bytes(trusted.read_bytes() + certificate)
    settle()
    for identity in (old, new):
        with caller(loaded, server.address, identity) as ask:
            assert ask() == ANSWER_YES
    trusted.write_bytes(certificate)
    settle()
    with caller(loaded, server.address, new) as ask:
        assert ask() == ANSWER_YES
    with caller(loaded, server.address, old) as ask:
        assert (grpc.StatusCode.UNAVAILABLE, None) == refusal(ask)


def test_expired_server_certificate(start: Start, loaded: Sandbox) -> None:
    """No new caller trusts a server with an expired certificate until it is replaced."""
    authority = DevCertificateAuthority(loaded.pki)
    authority.issue("promissory-server", [MINISTRY], hosts=HOSTS, lifetime=BRIEF)
    server = start(promissory_opening(loaded))
    with caller(loaded, server.address) as connected:
        before = connected()
        time.sleep(BRIEF.total_seconds() + 1)
        with caller(loaded, server.address) as late:
            refused = refusal(late)
        after = connected()
    authority.issue("promissory-server", [MINISTRY], hosts=HOSTS)
    settle()
    with caller(loaded, server.address) as renewed:
        assert ANSWER_YES == before == after == renewed()
    assert (grpc.StatusCode.UNAVAILABLE, None) == refused


def test_expired_client_certificate(server: RunningService, loaded: Sandbox) -> None:
    """A caller whose certificate has expired is refused on open and new connections."""
    DevCertificateAuthority(loaded.pki).issue("brief", [ORGANIZATIONS["setad"]], lifetime=BRIEF)
    brief = ClientIdentity.named(loaded.pki, "brief")
    with caller(loaded, server.address, brief) as connected:
        before = connected()
        time.sleep(BRIEF.total_seconds() + 1)
        after = refusal(connected)
    with caller(loaded, server.address, brief) as late:
        assert (grpc.StatusCode.UNAVAILABLE, None) == refusal(late)
    assert ANSWER_YES == before
    assert (grpc.StatusCode.UNAUTHENTICATED, Reason.CERTIFICATE_EXPIRED) == after
