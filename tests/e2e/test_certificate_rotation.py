"""Certificates replaced on disk under a serving process: in use from the next handshake on, and only when whole."""

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

from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.client.channel import ClientIdentity
from estelam.core.errors import Reason
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from tests.conftest import Start, promissory_opening
from tests.e2e.conftest import caller, refusal
from tests.support.service import RunningService
from tools.env.sandbox import MINISTRY, ORGANIZATIONS, Sandbox

HOSTS = ["localhost", "127.0.0.1"]
BRIEF = timedelta(seconds=3)


@pytest.fixture
def successor(tmp_path: Path) -> DevCertificateAuthority:
    """A new authority, and what it has issued to the ministry's server and to Setad."""
    authority = DevCertificateAuthority.create(tmp_path / "successor", "the next authority")
    authority.issue("promissory-server", [MINISTRY], hosts=HOSTS)
    authority.issue("setad", [ORGANIZATIONS["setad"]])
    return authority


@pytest.fixture
def trusted(loaded: Sandbox) -> Path:
    """The file of authorities that the server takes callers from."""
    return Path(shutil.copy(loaded.pki / "ca.crt", loaded.folder / "callers.crt"))


@pytest.fixture
def server(start: Start, loaded: Sandbox, trusted: Path) -> RunningService:
    return start(promissory_opening(loaded, ca_certificates=trusted))


def shown(service: RunningService, sandbox: Sandbox) -> bytes:
    """The certificate that *service* shows Setad in a new handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(sandbox.pki / "setad.crt", sandbox.pki / "setad.key")
    with (
        socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection,
        context.wrap_socket(connection) as tls,
    ):
        return tls.getpeercert(binary_form=True) or b""


def der(path: Path) -> bytes:
    """The certificate in the PEM file *path*, as a handshake shows it."""
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


def replace(sandbox: Sandbox, successor: DevCertificateAuthority, ending: str) -> None:
    """Put the successor's file of the server in the place of the present one."""
    shutil.copy(successor.folder / f"promissory-server.{ending}", sandbox.pki / f"promissory-server.{ending}")


def test_a_new_certificate_is_shown_without_a_restart_and_open_connections_go_on(
    server: RunningService, loaded: Sandbox, successor: DevCertificateAuthority
) -> None:
    setad = ClientIdentity.named(loaded.pki, "setad")
    with caller(loaded, server.address) as ask:
        ask()
        replace(loaded, successor, "key")
        replace(loaded, successor, "crt")

        assert der(successor.folder / "promissory-server.crt") == shown(server, loaded)
        assert ask() == ANSWER_YES
    trusting = ClientIdentity(setad.certificate, setad.private_key, successor.folder / "ca.crt")
    with caller(loaded, server.address, trusting) as ask:
        assert ask() == ANSWER_YES


@pytest.mark.parametrize(("first", "second"), [("crt", "key"), ("key", "crt")])
def test_half_way_through_a_rotation_the_old_certificate_is_kept(
    server: RunningService, loaded: Sandbox, successor: DevCertificateAuthority, first: str, second: str
) -> None:
    old = der(loaded.pki / "promissory-server.crt")

    replace(loaded, successor, first)
    half_way = shown(server, loaded)
    replace(loaded, successor, second)

    assert old == half_way
    assert der(successor.folder / "promissory-server.crt") == shown(server, loaded)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\nMIIB", None], ids=["empty", "cut", "missing"])
def test_a_damaged_file_of_authorities_shuts_nobody_out(
    server: RunningService, loaded: Sandbox, trusted: Path, content: bytes | None
) -> None:
    if content is None:
        trusted.unlink()
    else:
        trusted.write_bytes(content)

    with caller(loaded, server.address) as ask:
        assert ask() == ANSWER_YES


def test_callers_of_a_new_authority_are_taken_and_those_of_the_old_one_refused_once_it_is_gone(
    server: RunningService, loaded: Sandbox, successor: DevCertificateAuthority, trusted: Path
) -> None:
    old = ClientIdentity.named(loaded.pki, "setad")
    new = ClientIdentity(successor.folder / "setad.crt", successor.folder / "setad.key", loaded.pki / "ca.crt")
    certificate = (successor.folder / "ca.crt").read_bytes()

    with caller(loaded, server.address, new) as ask:
        assert (grpc.StatusCode.UNAVAILABLE, None) == refusal(ask)
    trusted.write_bytes(trusted.read_bytes() + certificate)
    for identity in (old, new):
        with caller(loaded, server.address, identity) as ask:
            assert ask() == ANSWER_YES
    trusted.write_bytes(certificate)
    with caller(loaded, server.address, new) as ask:
        assert ask() == ANSWER_YES
    with caller(loaded, server.address, old) as ask:
        assert (grpc.StatusCode.UNAVAILABLE, None) == refusal(ask)


def test_a_server_whose_certificate_ends_is_trusted_by_no_new_caller_until_it_has_a_new_one(
    start: Start, loaded: Sandbox
) -> None:
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
    with caller(loaded, server.address) as renewed:
        assert ANSWER_YES == before == after == renewed()
    assert (grpc.StatusCode.UNAVAILABLE, None) == refused


def test_a_caller_whose_certificate_ends_is_refused_on_the_open_connection_and_on_a_new_one(
    server: RunningService, loaded: Sandbox
) -> None:
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
