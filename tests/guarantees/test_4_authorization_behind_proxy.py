"""Promise 4 behind a proxy that ends TLS: only a named one may say who asks, and only what can be checked."""

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

from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.client.channel import ClientIdentity
from tests.conftest import plain_channel, promissory_opening
from tests.guarantees.test_4_authorization import BARRED, EXPIRED, NOBODY, OK, SHUT, Outcome, Time, ask, sign_oneself
from tests.support.service import RunningService
from tools.env import sandbox as suite
from tools.env.sandbox import CHECK_NOTE, GRANTS, ORGANIZATIONS, Sandbox

SETAD = ORGANIZATIONS["setad"]
HEADER = "x-forwarded-client-cert"
TRUSTED = ("setad", "agency", "cbi", "stranger")


def fingerprint(pem: bytes) -> str:
    return x509.load_pem_x509_certificate(pem).fingerprint(SHA256()).hex()


def forwarded(pem: bytes, **changes: str) -> str:
    """What Envoy writes of a caller's certificate."""
    told = {"Hash": fingerprint(pem), "Cert": f'"{quote(pem, safe="-")}"'} | changes
    return ";".join(f"{key}={value}" for key, value in told.items() if value)


@dataclass
class Gate:
    """A service that names one proxy, and everybody's connections to it."""

    sandbox: Sandbox
    time: Time
    address: str

    def pem(self, name: str) -> bytes:
        return (self.sandbox.pki / f"{name}.crt").read_bytes()

    def ask(self, presented: str, *headers: str) -> Outcome:
        """How a call ends on a new connection opened with the certificate *presented*."""
        with plain_channel(self.address, ClientIdentity.named(self.sandbox.pki, presented)) as channel:
            return self.told(channel, *headers)

    def told(self, channel: grpc.Channel, *headers: str) -> Outcome:
        return ask(channel, CHECK_NOTE, metadata=[(HEADER, header) for header in headers])[0]

    def bar(self, *names: str) -> None:
        denied = [fingerprint(self.pem(name)) for name in names]
        suite.write_access(self.sandbox, GRANTS, rate=1, burst=2000, denied=denied)
        self.time.seconds += 2


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder = tmp_path_factory.mktemp("gate")
    sandbox, clock = suite.create_sandbox(folder / "suite"), Time()
    suite.load_samples(sandbox)
    issue(sandbox, folder)
    proxies = [fingerprint((sandbox.pki / f"{name}.crt").read_bytes()) for name in ("proxy", "other proxy", "brief")]
    opening = promissory_opening(sandbox, clock.clock, shutdown_delay_seconds=0, trusted_proxies=proxies)
    with RunningService(opening) as service:
        yield Gate(sandbox, clock, service.address)


def issue(sandbox: Sandbox, folder: Path) -> None:
    now, authority = datetime.now(UTC), DevCertificateAuthority(sandbox.pki)
    authority.issue("proxy", [])
    authority.issue("other proxy", [SETAD])  # names a caller, and is none
    authority.issue("brief", [], lifetime=timedelta(hours=2))
    authority.issue("unnamed proxy", [])
    authority.issue("two organizations", [SETAD, ORGANIZATIONS["cbi"]])
    authority.issue("no organization", [])
    authority.issue("expired", [SETAD], since=now - timedelta(days=30), lifetime=timedelta(days=29))
    authority.issue("not yet valid", [SETAD], since=now + timedelta(days=1))
    authority.issue("ends soon", [SETAD], lifetime=timedelta(hours=2))
    sign_oneself(sandbox.pki, "self-signed", SETAD)
    elsewhere = DevCertificateAuthority.create(folder / "elsewhere", "estelam development CA").issue(
        "another authority", [SETAD]
    )
    (sandbox.pki / elsewhere.name).write_bytes(elsewhere.read_bytes())
    leaf(authority, "for servers alone", usage=[ExtendedKeyUsageOID.SERVER_AUTH])
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
def changed(gate: Gate) -> Iterator[Gate]:
    """The gate, for tests that change its deny-list, time or trust."""
    trust = gate.pem("ca")
    yield gate
    gate.time.ahead = timedelta()
    (gate.sandbox.pki / "ca.crt").write_bytes(trust)
    gate.bar()


@pytest.mark.parametrize("caller", TRUSTED)
def test_a_named_proxys_callers_get_what_they_would_get_without_it(gate: Gate, caller: str) -> None:
    direct, behind = gate.ask(caller), gate.ask("proxy", forwarded(gate.pem(caller)))

    assert direct == behind == (OK if caller in ("setad", "agency") else SHUT)


def test_one_connection_of_a_proxy_carries_many_callers_and_mixes_none_up(gate: Gate) -> None:
    with plain_channel(gate.address, ClientIdentity.named(gate.sandbox.pki, "proxy")) as channel:
        seen = [gate.told(channel, forwarded(gate.pem(caller))) for caller in TRUSTED * 3]

    assert [OK, OK, SHUT, SHUT] * 3 == seen


def test_a_large_certificate_fits(gate: Gate) -> None:
    header = forwarded(gate.pem("large"))

    assert 5000 < len(header) < 7000
    assert OK == gate.ask("proxy", header)


@pytest.mark.parametrize("presented", ["setad", "agency", "cbi", "stranger", "unnamed proxy", "promissory-server"])
@pytest.mark.parametrize("claimed", ["setad", "agency", "proxy"])
def test_from_anyone_else_a_word_about_a_certificate_is_refused(gate: Gate, presented: str, claimed: str) -> None:
    assert NOBODY == gate.ask(presented, forwarded(gate.pem(claimed)))


@pytest.mark.parametrize("header", ["", " ", "Hash=" + "0" * 64, "x"])
def test_from_anyone_else_the_empty_word_is_refused_too(gate: Gate, header: str) -> None:
    assert NOBODY == gate.ask("setad", header)


@pytest.mark.parametrize("proxy", ["proxy", "other proxy"])
def test_a_proxy_is_no_caller_itself(gate: Gate, proxy: str) -> None:
    assert NOBODY == gate.ask(proxy)
    assert NOBODY == gate.ask(proxy, forwarded(gate.pem(proxy)))
    assert NOBODY == gate.ask(proxy, forwarded(gate.pem("other proxy")))


MISSHAPEN = {
    "two elements": "{setad},{setad}",
    "two callers": "{setad},{agency}",
    "a chain of proxies": "By=spiffe://inner;Hash=00,{setad}",
    "its hash alone": "{hash}",
    "nothing": "",
    "a space before": " {setad}",
    "a line's end": "{setad}%0A",
    "more after it": '{setad};Subject="CN=setad"',
    "more before it": "By=spiffe://inner;{setad}",
    "the certificate alone": "{cert}",
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


@pytest.mark.parametrize("shape", MISSHAPEN)
def test_whatever_else_a_proxy_says_names_nobody(gate: Gate, shape: str) -> None:
    setad = forwarded(gate.pem("setad"))
    hashed, cert = setad.split(";")
    words = {
        "setad": setad,
        "agency": forwarded(gate.pem("agency")),
        "hash": hashed,
        "cert": cert,
        "other": forwarded(gate.pem("agency")).partition(";")[0],
        "bare": setad.replace('"', ""),
        "two": forwarded(gate.pem("setad"), Cert=f'"{quote(gate.pem("setad") + gate.pem("agency"), safe="-")}"'),
        "short": setad[:-30] + '"',
        "garbage": "%2F" * 1500,
    }

    assert NOBODY == gate.ask("proxy", MISSHAPEN[shape].format(**words))


def test_two_headers_name_nobody(gate: Gate) -> None:
    setad, agency = forwarded(gate.pem("setad")), forwarded(gate.pem("agency"))

    assert [NOBODY] * 3 == [gate.ask("proxy", *pair) for pair in ((setad, setad), (setad, agency), (agency, ""))]


@pytest.mark.parametrize(
    ("caller", "outcome"),
    {
        "expired": EXPIRED,
        "not yet valid": EXPIRED,
        "another authority": NOBODY,
        "self-signed": NOBODY,
        "for servers alone": NOBODY,
        "two organizations": NOBODY,
        "no organization": NOBODY,
    }.items(),
)
def test_a_named_proxy_is_not_believed_about_a_certificate_that_is_no_good(
    gate: Gate, caller: str, outcome: Outcome
) -> None:
    assert outcome == gate.ask("proxy", forwarded(gate.pem(caller)))


def test_a_barred_caller_is_barred_behind_a_proxy_too(changed: Gate) -> None:
    with plain_channel(changed.address, ClientIdentity.named(changed.sandbox.pki, "proxy")) as channel:
        before = [changed.told(channel, forwarded(changed.pem(caller))) for caller in ("setad", "agency")]
        changed.bar("agency")
        after = [changed.told(channel, forwarded(changed.pem(caller))) for caller in ("setad", "agency")]

    assert [OK, OK, OK, BARRED] == before + after


def test_a_barred_proxy_speaks_for_nobody_and_the_others_go_on(changed: Gate) -> None:
    setad = forwarded(changed.pem("setad"))
    with plain_channel(changed.address, ClientIdentity.named(changed.sandbox.pki, "proxy")) as channel:
        changed.bar("proxy")
        barred = [changed.told(channel, setad), changed.told(channel), changed.told(channel, "x")]

    assert [BARRED] * 3 == barred
    assert [OK, OK] == [changed.ask("other proxy", setad), changed.ask("setad")]


def test_a_certificate_that_ends_is_refused_on_the_connection_that_its_proxy_has_open(changed: Gate) -> None:
    with plain_channel(changed.address, ClientIdentity.named(changed.sandbox.pki, "proxy")) as channel:
        seen = []
        for hours in (0, 3, -3):
            changed.time.ahead = timedelta(hours=hours)
            seen.append(changed.told(channel, forwarded(changed.pem("ends soon"))))

    assert [OK, EXPIRED, EXPIRED] == seen


def test_a_proxy_whose_own_certificate_ends_speaks_for_nobody(changed: Gate) -> None:
    with plain_channel(changed.address, ClientIdentity.named(changed.sandbox.pki, "brief")) as channel:
        before = changed.told(channel, forwarded(changed.pem("setad")))
        changed.time.ahead = timedelta(hours=3)
        after = changed.told(channel, forwarded(changed.pem("setad")))

    assert (OK, EXPIRED) == (before, after)


def test_an_authority_counts_from_when_it_is_trusted_until_it_is_not(changed: Gate) -> None:
    elsewhere = changed.sandbox.folder.parent / "elsewhere" / "ca.crt"
    setad, other = forwarded(changed.pem("setad")), forwarded(changed.pem("another authority"))
    trust, old = changed.sandbox.pki / "ca.crt", changed.pem("ca")
    with plain_channel(changed.address, ClientIdentity.named(changed.sandbox.pki, "proxy")) as channel:
        seen = []
        for trusted in (old, old + elsewhere.read_bytes(), elsewhere.read_bytes(), b"broken", old):
            trust.write_bytes(trusted)
            changed.time.seconds += 2
            seen.append((changed.told(channel, setad), changed.told(channel, other)))

    assert [(OK, NOBODY), (OK, OK), (NOBODY, OK), (NOBODY, OK), (OK, NOBODY)] == seen


def test_without_a_named_proxy_nobody_is_vouched_for(sandbox: Sandbox) -> None:
    DevCertificateAuthority(sandbox.pki).issue("proxy", [])
    with RunningService(promissory_opening(sandbox, shutdown_delay_seconds=0)) as service:
        gate = Gate(sandbox, Time(), service.address)

        assert [NOBODY] * 2 == [gate.ask(name, forwarded(gate.pem("setad"))) for name in ("proxy", "setad")]
