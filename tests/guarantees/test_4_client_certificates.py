"""Guarantee 4, certificates: which certificate is a client's, and which is denied, is decided alike on every face."""

import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # it has no types

from development import sandbox as suite
from development.sandbox import CHECK_NOTE, GRANTS, ORGANIZATIONS, Sandbox
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.core.errors import Reason
from estelam.core.pem import name_text, read_certificates, read_private_key
from tests.conftest import promissory_opening
from tests.guarantees.test_4_authorization import Time, ask
from tests.guarantees.test_4_authorization_behind_proxy import HEADER, forwarded
from tests.integration.setad.adapter_process import GENUINE, Adapter, running_adapter
from tests.support.certificates import concatenate, crl_pem, key_sha256, write_authority, write_client, write_flipped
from tests.support.service import RunningService

SETAD = ORGANIZATIONS["setad"]
FACES = ("gRPC", "behind a terminating proxy", "JSON")
NO_CONNECTION = "no connection"


@dataclass
class Faces:
    """A service with a trusted proxy, and an adapter with its JSON API; both trust several authorities."""

    sandbox: Sandbox
    time: Time
    address: str
    adapter: Adapter
    trust: Path
    lists: Path

    def outcomes(self, certificate: Path) -> dict[str, str]:
        """Return the outcome of a call with *certificate* on each face: OK, a reason, or NO_CONNECTION."""
        proxy, header = self.sandbox.pki / "proxy.crt", forwarded(certificate.read_bytes())
        with self.channel(certificate) as own, self.channel(proxy) as proxied, self.client(certificate) as client:
            found = self.call(own), self.call(proxied, header), self.post(client)
        return dict(zip(FACES, found, strict=True))

    def write(self, *, denied: str = "", revoked: tuple[Path, ...] = ()) -> None:
        """Replace the deny list and the revocation list of the sandbox's authority, and let both be read again."""
        suite.write_access(self.sandbox, GRANTS, rate=1000, burst=2000)
        if denied:
            self.sandbox.access.write_text(f"{self.sandbox.access.read_text('utf-8')}\n[[deny]]\n{denied}\n", "utf-8")
        lists = [crl_pem(self.sandbox.pki, revoked), *(crl_pem(folder) for folder in authorities(self.sandbox))]
        concatenate(self.lists, lists)
        self.time.seconds += 2

    def channel(self, certificate: Path, options: Sequence[tuple[str, Any]] = ()) -> grpc.Channel:
        """Return a channel to the service, with any kind of certificate."""
        files = (self.sandbox.pki / "ca.crt", certificate.with_suffix(".key"), certificate)
        credentials = grpc.ssl_channel_credentials(*(file.read_bytes() for file in files))
        return grpc.secure_channel(self.address, credentials, options=[("grpc.enable_retries", 0), *options])

    def call(self, channel: grpc.Channel, *headers: str) -> str:
        """Return the outcome of a call on *channel*."""
        (status, reason), _ = ask(channel, CHECK_NOTE, metadata=[(HEADER, header) for header in headers])
        return reason.value if reason else "OK" if status is grpc.StatusCode.OK else NO_CONNECTION

    def client(self, certificate: Path, version: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED) -> httpx.Client:
        """Return a client of the JSON API, with any kind of certificate, that offers no newer TLS than *version*."""
        tls = ssl.create_default_context(cafile=self.sandbox.pki / "ca.crt")
        tls.maximum_version = version
        tls.set_ciphers("DEFAULT:@SECLEVEL=0")  # else this client itself refuses a short key
        tls.load_cert_chain(certificate, certificate.with_suffix(".key"))
        return httpx.Client(verify=tls, trust_env=False)

    def post(self, client: httpx.Client) -> str:
        """Return the outcome of a request by *client*."""
        try:
            answer: dict[str, Any] = client.post(f"{self.adapter.api}/v1/notes:verify", json=GENUINE).json()
        except httpx.TransportError:
            return NO_CONNECTION
        return str(answer.get("reason", "OK"))


def authorities(sandbox: Sandbox) -> list[Path]:
    """Return the folders of the trusted authorities beside the sandbox's own."""
    return sorted(folder for folder in (sandbox.folder / "authorities").iterdir() if folder.name != "short key")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faces]:
    sandbox, clock = suite.create_sandbox(tmp_path_factory.mktemp("faces") / "suite"), Time()
    suite.load_samples(sandbox)
    DevCertificateAuthority(sandbox.pki).issue("other", [SETAD])  # the adapter calls the ministry as "setad"
    folder = sandbox.folder / "authorities"
    folder.mkdir()
    write_authority(folder / "RSA", key=rsa.generate_private_key(65537, 2048))
    write_authority(folder / "short key", key=short_key())
    for length in (0, 1):
        root = write_authority(folder / f"root {length}", path_length=length)
        write_authority(folder / f"below {length}", above=root, organization_id=SETAD)
    trust = concatenate(sandbox.folder / "trust.crt", [sandbox.pki / "ca.crt", *sorted(folder.glob("*/ca.crt"))])
    more: dict[str, Any] = {
        "ca_certificates": trust,
        "trusted_proxy_keys": [key_sha256(sandbox.pki / "proxy.crt")],
        "revocation_lists": (sandbox.folder / "lists.pem",),
        "shutdown_delay_seconds": 0,
    }
    faces = Faces(sandbox, clock, "", Adapter("", "", None), trust, sandbox.folder / "lists.pem")  # type: ignore[arg-type]
    faces.write()
    with (
        RunningService(promissory_opening(sandbox, clock.clock, **more)) as service,
        running_adapter(sandbox, service.address, clock.clock, **more) as adapter,
    ):
        faces.address, faces.adapter = service.address, adapter
        yield faces


def short_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 1024)  # noqa: S505 - too short on purpose


def other(name: str) -> Callable[[Sandbox], Path]:
    """Return what makes a client's certificate of the authority *name*."""
    return lambda box: write_client(
        box.folder / "authorities" / name, "it", SETAD, ec.generate_private_key(ec.SECP256R1())
    )


def own(key: Callable[[], Any], **more: Any) -> Callable[[Sandbox], Path]:
    """Return what makes a certificate of a *key* by the sandbox's authority."""
    return lambda box: write_client(box.pki, "it", SETAD, key(), **more)


def authority(box: Sandbox) -> Path:
    folder = box.folder / "authorities" / "below 1"
    (folder / "as client.crt").write_bytes((folder / "ca.crt").read_bytes())
    (folder / "as client.key").write_bytes((folder / "ca.key").read_bytes())
    return folder / "as client.crt"


CLIENTS: dict[str, Callable[[Sandbox], Path]] = {
    "ECDSA P-256": own(lambda: ec.generate_private_key(ec.SECP256R1())),
    "RSA 2048": own(lambda: rsa.generate_private_key(65537, 2048)),
    "RSA authority": other("RSA"),
    "authority below one with path length 1": other("below 1"),
    "rewritten signature": lambda box: write_flipped(box.pki / "other.crt"),
}
NO_CLIENTS: dict[str, Callable[[Sandbox], Path]] = {
    "RSA 1024": own(short_key),
    "RSA 1024 authority": other("short key"),
    "ECDSA P-521": own(lambda: ec.generate_private_key(ec.SECP521R1())),
    "authority below one with path length 0": other("below 0"),
    "an authority's own": authority,
    "signing": lambda box: DevCertificateAuthority(box.pki).issue_signing("it", SETAD),
    "server": own(lambda: ec.generate_private_key(ec.SECP256R1()), usage=ExtendedKeyUsageOID.SERVER_AUTH),
}


@pytest.mark.parametrize("kind", CLIENTS)
def test_clients(faces: Faces, kind: str) -> None:
    """Each of these certificates is a client's on every face."""
    assert dict.fromkeys(FACES, "OK") == faces.outcomes(CLIENTS[kind](faces.sandbox))


@pytest.mark.parametrize("kind", NO_CLIENTS)
def test_no_clients(faces: Faces, kind: str) -> None:
    """None of these certificates is a client's on any face."""
    outcomes = faces.outcomes(NO_CLIENTS[kind](faces.sandbox))

    assert set(outcomes.values()) <= {Reason.CERTIFICATE_UNUSABLE, NO_CONNECTION}


def test_removed_authority(faces: Faces) -> None:
    """Once an authority has been removed, its callers are refused: on open connections and in resumed sessions too."""
    certificate, trust = other("RSA")(faces.sandbox), faces.trust.read_bytes()
    gone = (faces.sandbox.folder / "authorities" / "RSA" / "ca.crt").read_bytes()
    sessions: Any = (("grpc.ssl_session_cache", cygrpc.SSLSessionCacheLRU(4)), ("grpc.use_local_subchannel_pool", 1))
    with faces.channel(certificate, sessions) as channel, faces.client(certificate) as client:
        before = [faces.call(channel), faces.post(client)]
        faces.trust.write_bytes(trust.replace(gone, b""))
        faces.time.seconds += 2
        on_open_connections = [faces.call(channel), faces.post(client)]
    with faces.channel(certificate, sessions) as channel, faces.client(certificate) as client:
        later = [faces.call(channel), faces.post(client)]
    faces.trust.write_bytes(trust)
    faces.write()

    assert ["OK", "OK"] == before
    assert [Reason.CERTIFICATE_UNUSABLE] * 2 == on_open_connections
    assert set(later) <= {Reason.CERTIFICATE_UNUSABLE, NO_CONNECTION}
    assert dict.fromkeys(FACES, "OK") == faces.outcomes(certificate)


def test_json_takes_tls_1_3_alone(faces: Faces) -> None:
    """The JSON API completes no handshake of TLS 1.2, whose sessions outlive the trust that they began with."""
    certificate = faces.sandbox.pki / "other.crt"

    outcomes = []
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with faces.client(certificate, version) as client:
            outcomes.append(faces.post(client))

    assert [NO_CONNECTION, "OK"] == outcomes


def by_key(certificate: Path) -> str:
    return f'key = "{key_sha256(certificate)}"\nreason = "lost key"'


def by_serial(certificate: Path) -> str:
    (parsed,) = read_certificates(certificate)
    return f'issuer = "{name_text(parsed.issuer)}"\nserial = "{parsed.serial_number:X}"\nreason = "issued by mistake"'


@pytest.mark.parametrize("form", [by_key, by_serial])
@pytest.mark.parametrize("authority", ["ECDSA", "RSA"])
def test_denied(faces: Faces, form: Callable[[Path], str], authority: str) -> None:
    """A denied certificate is refused on every face, also with its signature rewritten; another one is not."""
    certificate = faces.sandbox.pki / "other.crt" if authority == "ECDSA" else other("RSA")(faces.sandbox)
    faces.write(denied=form(certificate))
    denied = [certificate] if authority == "RSA" else [certificate, write_flipped(certificate)]
    seen = [faces.outcomes(one) for one in denied]
    spare = faces.outcomes(CLIENTS["RSA 2048"](faces.sandbox))
    faces.write()

    assert [dict.fromkeys(FACES, Reason.CERTIFICATE_DENIED)] * len(denied) == seen
    assert dict.fromkeys(FACES, "OK") == spare == faces.outcomes(certificate)


def test_denied_serial_leaves_renewed(faces: Faces) -> None:
    """A serial number denies one certificate; a key denies all of the key, also one that was issued later."""
    certificate = faces.sandbox.pki / "other.crt"
    key = certificate.with_suffix(".key")
    renewed = write_client(faces.sandbox.pki, "renewed", SETAD, read_private_key(key))  # type: ignore[arg-type]
    seen = []
    for form in (by_serial, by_key):
        faces.write(denied=form(certificate))
        seen.append(faces.outcomes(renewed)["gRPC"])
    faces.write()

    assert ["OK", Reason.CERTIFICATE_DENIED] == seen


def test_revoked(faces: Faces) -> None:
    """A revoked certificate is refused on every face with its signature rewritten too."""
    certificate = faces.sandbox.pki / "other.crt"
    faces.write(revoked=(certificate,))
    seen = [faces.outcomes(one) for one in (certificate, write_flipped(certificate))]
    faces.write()

    assert [dict.fromkeys(FACES, Reason.CERTIFICATE_REVOKED)] * 2 == seen
