"""Guarantee 4 behind a TLS-terminating proxy: only a trusted proxy may forward a certificate, and it is verified."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from development import sandbox as suite
from development.sandbox import CHECK_NOTE, GRANTS, ORGANIZATIONS, Sandbox
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.client.channel import ClientIdentity
from tests.conftest import plain_channel, promissory_opening
from tests.guarantees.test_4_authorization import (
    DENIED,
    EXPIRED,
    NOT_GRANTED,
    OK,
    UNUSABLE,
    Outcome,
    Time,
    ask,
    self_sign,
)
from tests.support.certificates import key_sha256
from tests.support.service import RunningService

SETAD = ORGANIZATIONS["setad"]
HEADER = "x-forwarded-client-cert"
TRUSTED = ("setad", "agency", "cbi", "stranger")


def fingerprint(pem: bytes) -> str:
    return x509.load_pem_x509_certificate(pem).fingerprint(SHA256()).hex()


def forwarded(pem: bytes, **changes: str) -> str:
    """Return the XFCC header that Envoy writes for a client certificate."""
    elements = {"Hash": fingerprint(pem), "Cert": f'"{quote(pem, safe="-")}"'} | changes
    return ";".join(f"{key}={value}" for key, value in elements.items() if value)


@dataclass
class ProxiedService:
    """A service with trusted proxies, and connections of every caller to it."""

    sandbox: Sandbox
    time: Time
    address: str

    def pem(self, name: str) -> bytes:
        return (self.sandbox.pki / f"{name}.crt").read_bytes()

    def ask(self, presented: str, *headers: str) -> Outcome:
        """Return the outcome of a call on a new connection opened with the certificate *presented*."""
        with plain_channel(self.address, ClientIdentity.named(self.sandbox.pki, presented)) as channel:
            return self.call(channel, *headers)

    def call(self, channel: grpc.Channel, *headers: str) -> Outcome:
        return ask(channel, CHECK_NOTE, metadata=[(HEADER, header) for header in headers])[0]

    def deny(self, *names: str) -> None:
        denied = [key_sha256(self.sandbox.pki / f"{name}.crt") for name in names]
        suite.write_access(self.sandbox, GRANTS, rate=1, burst=2000, denied=denied)
        self.time.seconds += 2


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxiedService]:
    folder = tmp_path_factory.mktemp("proxied")
    sandbox, clock = suite.create_sandbox(folder / "suite"), Time()
    suite.load_samples(sandbox)
    issue(sandbox, folder)
    proxies = [key_sha256(sandbox.pki / f"{name}.crt") for name in ("proxy", "other proxy", "brief")]
    opening = promissory_opening(sandbox, clock.clock, shutdown_delay_seconds=0, trusted_proxy_keys=proxies)
    with RunningService(opening) as service:
        yield ProxiedService(sandbox, clock, service.address)


def issue(sandbox: Sandbox, folder: Path) -> None:
    now, authority = datetime.now(UTC), DevCertificateAuthority(sandbox.pki)
    authority.issue("proxy", [])
    authority.issue("other proxy", [SETAD])  # names an organisation, but is a proxy
    authority.issue("brief", [], lifetime=timedelta(hours=2))
    authority.issue("untrusted proxy", [])
    authority.issue("two organizations", [SETAD, ORGANIZATIONS["cbi"]])
    authority.issue("no organization", [])
    authority.issue("expired", [SETAD], since=now - timedelta(days=30), lifetime=timedelta(days=29))
    authority.issue("not yet valid", [SETAD], since=now + timedelta(days=1))
    authority.issue("ends soon", [SETAD], lifetime=timedelta(hours=2))
    self_sign(sandbox.pki, "self-signed", SETAD)
    elsewhere = DevCertificateAuthority.create(folder / "elsewhere", "estelam development CA").issue(
        "another authority", [SETAD]
    )
    (sandbox.pki / elsewhere.name).write_bytes(elsewhere.read_bytes())
    leaf(authority, "server only", usage=[ExtendedKeyUsageOID.SERVER_AUTH])
    leaf(authority, "large", units=["م" * 64] * 24, usage=[ExtendedKeyUsageOID.CLIENT_AUTH])


def leaf(
    authority: DevCertificateAuthority, name: str, *, usage: Sequence[x509.ObjectIdentifier], units: Sequence[str] = ()
) -> None:
    key = generate_private_key(65537, 4096 if units else 2048)
    lines = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units]
    subject = x509.Name([*lines, x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, SETAD)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(authority.certificate.subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        .sign(authority._key, SHA256())
    )
    (authority.folder / f"{name}.crt").write_bytes(certificate.public_bytes(Encoding.PEM))


@pytest.fixture
def changed(proxied: ProxiedService) -> Iterator[ProxiedService]:
    """The service, for tests that change its deny list, clock or authorities: all are reset at the end."""
    trust = proxied.pem("ca")
    yield proxied
    proxied.time.ahead = timedelta()
    (proxied.sandbox.pki / "ca.crt").write_bytes(trust)
    proxied.deny()


@pytest.mark.parametrize("caller", TRUSTED)
def test_callers_behind_proxy_get_same_outcome(proxied: ProxiedService, caller: str) -> None:
    """Callers behind a trusted proxy get the same outcome as without it."""
    direct, behind = proxied.ask(caller), proxied.ask("proxy", forwarded(proxied.pem(caller)))

    assert direct == behind == (OK if caller in ("setad", "agency") else NOT_GRANTED)


def test_one_proxy_connection_serves_many_callers(proxied: ProxiedService) -> None:
    """One connection of a proxy carries calls of many callers, each with its own outcome."""
    with plain_channel(proxied.address, ClientIdentity.named(proxied.sandbox.pki, "proxy")) as channel:
        seen = [proxied.call(channel, forwarded(proxied.pem(caller))) for caller in TRUSTED * 3]

    assert [OK, OK, NOT_GRANTED, NOT_GRANTED] * 3 == seen


def test_large_certificate_is_accepted(proxied: ProxiedService) -> None:
    """A large client certificate fits into the header."""
    header = forwarded(proxied.pem("large"))

    assert 5000 < len(header) < 7000
    assert OK == proxied.ask("proxy", header)


@pytest.mark.parametrize("presented", ["setad", "agency", "cbi", "stranger", "untrusted proxy", "promissory-server"])
@pytest.mark.parametrize("claimed", ["setad", "agency", "proxy"])
def test_header_from_untrusted_caller_is_refused(proxied: ProxiedService, presented: str, claimed: str) -> None:
    """An XFCC header from anyone but a trusted proxy is refused."""
    assert UNUSABLE == proxied.ask(presented, forwarded(proxied.pem(claimed)))


@pytest.mark.parametrize("header", ["", " ", "Hash=" + "0" * 64, "x"])
def test_empty_header_from_untrusted_caller_is_refused(proxied: ProxiedService, header: str) -> None:
    """An empty XFCC header from anyone but a trusted proxy is refused too."""
    assert UNUSABLE == proxied.ask("setad", header)


@pytest.mark.parametrize("proxy", ["proxy", "other proxy"])
def test_proxy_is_not_a_caller(proxied: ProxiedService, proxy: str) -> None:
    """A trusted proxy can't call in its own name."""
    assert UNUSABLE == proxied.ask(proxy)
    assert UNUSABLE == proxied.ask(proxy, forwarded(proxied.pem(proxy)))
    assert UNUSABLE == proxied.ask(proxy, forwarded(proxied.pem("other proxy")))


MALFORMED = {
    "two elements": "{setad},{setad}",
    "two callers": "{setad},{agency}",
    "a chain of proxies": "By=spiffe://inner;Hash=00,{setad}",
    "hash only": "{hash}",
    "nothing": "",
    "a space before": " {setad}",
    "line end": "{setad}%0A",
    "more after it": '{setad};Subject="CN=setad"',
    "more before it": "By=spiffe://inner;{setad}",
    "certificate only": "{cert}",
    "the certificate twice": "{setad};{cert}",
    "the order turned": "{cert};{hash}",
    "another's hash": "{other};{cert}",
    "no quotes": "{bare}",
    "a quote escaped": '{hash};Cert="\\"',
    "two certificates": "{two}",
    "cut short": "{short}",
    "not encoded": '{hash};Cert="-----BEGIN CERTIFICATE-----"',
    "no certificate": '{hash};Cert="-----BEGIN%20CERTIFICATE-----%0AAAAA%0A-----END%20CERTIFICATE-----%0A"',
    "garbage": '%%%;;;===,,,""',
    "long garbage": "{garbage}",
}


@pytest.mark.parametrize("shape", MALFORMED)
def test_malformed_header_is_refused(proxied: ProxiedService, shape: str) -> None:
    """A malformed header of a trusted proxy identifies no caller."""
    setad = forwarded(proxied.pem("setad"))
    hashed, cert = setad.split(";")
    words = {
        "setad": setad,
        "agency": forwarded(proxied.pem("agency")),
        "hash": hashed,
        "cert": cert,
        "other": forwarded(proxied.pem("agency")).partition(";")[0],
        "bare": setad.replace('"', ""),
        "two": forwarded(
            proxied.pem("setad"), Cert=f'"{quote(proxied.pem("setad") + proxied.pem("agency"), safe="-")}"'
        ),
        "short": setad[:-30] + '"',
        "garbage": "%2F" * 1500,
    }

    assert UNUSABLE == proxied.ask("proxy", MALFORMED[shape].format(**words))


def test_two_headers_are_refused(proxied: ProxiedService) -> None:
    """Two XFCC headers identify no caller."""
    setad, agency = forwarded(proxied.pem("setad")), forwarded(proxied.pem("agency"))

    assert [UNUSABLE] * 3 == [proxied.ask("proxy", *pair) for pair in ((setad, setad), (setad, agency), (agency, ""))]


@pytest.mark.parametrize(
    ("caller", "outcome"),
    {
        "expired": EXPIRED,
        "not yet valid": EXPIRED,
        "another authority": UNUSABLE,
        "self-signed": UNUSABLE,
        "server only": UNUSABLE,
        "two organizations": UNUSABLE,
        "no organization": UNUSABLE,
    }.items(),
)
def test_invalid_client_certificate_is_refused(proxied: ProxiedService, caller: str, outcome: Outcome) -> None:
    """A client certificate that does not verify is refused although a trusted proxy forwards it."""
    assert outcome == proxied.ask("proxy", forwarded(proxied.pem(caller)))


def test_denied_caller_is_refused_behind_proxy(changed: ProxiedService) -> None:
    """A caller on the deny list is refused behind a proxy too."""
    with plain_channel(changed.address, ClientIdentity.named(changed.sandbox.pki, "proxy")) as channel:
        before = [changed.call(channel, forwarded(changed.pem(caller))) for caller in ("setad", "agency")]
        changed.deny("agency")
        after = [changed.call(channel, forwarded(changed.pem(caller))) for caller in ("setad", "agency")]

    assert [OK, OK, OK, DENIED] == before + after


def test_denied_proxy_is_refused(changed: ProxiedService) -> None:
    """A proxy on the deny list is refused, and the other proxies are not affected."""
    setad = forwarded(changed.pem("setad"))
    with plain_channel(changed.address, ClientIdentity.named(changed.sandbox.pki, "proxy")) as channel:
        changed.deny("proxy")
        denied = [changed.call(channel, setad), changed.call(channel), changed.call(channel, "x")]

    assert [DENIED] * 3 == denied
    assert [OK, OK] == [changed.ask("other proxy", setad), changed.ask("setad")]


def test_expired_client_is_refused_on_open_proxy_connection(changed: ProxiedService) -> None:
    """A client certificate that expires is refused on the proxy's open connection."""
    with plain_channel(changed.address, ClientIdentity.named(changed.sandbox.pki, "proxy")) as channel:
        seen = []
        for hours in (0, 3, -3):
            changed.time.ahead = timedelta(hours=hours)
            seen.append(changed.call(channel, forwarded(changed.pem("ends soon"))))

    assert [OK, EXPIRED, EXPIRED] == seen


def test_expired_proxy_is_refused(changed: ProxiedService) -> None:
    """A proxy whose own certificate has expired is refused."""
    with plain_channel(changed.address, ClientIdentity.named(changed.sandbox.pki, "brief")) as channel:
        before = changed.call(channel, forwarded(changed.pem("setad")))
        changed.time.ahead = timedelta(hours=3)
        after = changed.call(channel, forwarded(changed.pem("setad")))

    assert (OK, EXPIRED) == (before, after)


def test_changed_authorities_apply_soon(changed: ProxiedService) -> None:
    """An authority is trusted from when it is added to the file until it is removed; so is the proxy's own."""
    elsewhere = changed.sandbox.folder.parent / "elsewhere" / "ca.crt"
    setad, other = forwarded(changed.pem("setad")), forwarded(changed.pem("another authority"))
    trust, old = changed.sandbox.pki / "ca.crt", changed.pem("ca")
    with plain_channel(changed.address, ClientIdentity.named(changed.sandbox.pki, "proxy")) as channel:
        seen = []
        for trusted in (old, old + elsewhere.read_bytes(), elsewhere.read_bytes(), b"broken", old):
            trust.write_bytes(trusted)
            changed.time.seconds += 2
            seen.append((changed.call(channel, setad), changed.call(channel, other)))

    assert [(OK, UNUSABLE), (OK, OK), (UNUSABLE, UNUSABLE), (UNUSABLE, UNUSABLE), (OK, UNUSABLE)] == seen


def test_no_proxy_is_trusted_by_default(sandbox: Sandbox) -> None:
    """Without a configured proxy no XFCC header is trusted."""
    DevCertificateAuthority(sandbox.pki).issue("proxy", [])
    with RunningService(promissory_opening(sandbox, shutdown_delay_seconds=0)) as service:
        proxied = ProxiedService(sandbox, Time(), service.address)

        assert [UNUSABLE] * 2 == [proxied.ask(name, forwarded(proxied.pem("setad"))) for name in ("proxy", "setad")]
