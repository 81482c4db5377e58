"""Guarantee 4: authorization is one grid of exact caller and exact method; every other cell is refused."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from google.protobuf.message import Message
from google.rpc import status_pb2
from google.rpc.error_details_pb2 import BadRequest, QuotaFailure, RetryInfo

from development import sandbox as suite
from development.sandbox import (
    CHECK_BY_NATIONAL_ID,
    CHECK_BY_TRACKING_ID,
    CHECK_NOTE,
    GET_NOTE_PARTIES,
    GRANTS,
    LIST_CHANGED_ANSWERS,
    ORGANIZATIONS,
    VERIFY_NOTE,
    Sandbox,
)
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.auth.grants import AccessConfigError
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock
from estelam.core.errors import Reason
from estelam.core.grpc_status import from_grpc
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as cases
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.setad.v1 import note_verification_pb2 as setad
from sataad_adapter.service import run_adapter
from tests.conftest import Start, judiciary_opening, plain_channel, promissory_opening
from tests.support.certificates import key_sha256
from tests.support.service import RunningService

SETAD, CBI = ORGANIZATIONS["setad"], ORGANIZATIONS["cbi"]
NOTE: dict[str, Any] = {
    "serial": "1404000000000017",
    "obligor_id": "9990000018",
    "beneficiary_id": "99000554330",
    "amount_rials": 2_500_000_000,
}
REQUESTS: dict[str, Message] = {
    CHECK_NOTE: notes.CheckNoteRequest(**NOTE),
    GET_NOTE_PARTIES: notes.GetNotePartiesRequest(serial=NOTE["serial"], executive_agency_id="SETAD-0001"),
    CHECK_BY_NATIONAL_ID: cases.CheckByNationalIdRequest(national_id="9990000050"),
    CHECK_BY_TRACKING_ID: cases.CheckByTrackingIdRequest(tracking_id="140000000000000001"),
    VERIFY_NOTE: setad.VerifyNoteRequest(**NOTE, executive_agency_id="SETAD-0001"),
}
METHODS = tuple(REQUESTS)
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.rpartition("/")[2])

OK = (grpc.StatusCode.OK, None)
NOT_GRANTED = (grpc.StatusCode.PERMISSION_DENIED, Reason.NOT_GRANTED)
UNUSABLE = (grpc.StatusCode.UNAUTHENTICATED, Reason.CERTIFICATE_UNUSABLE)
DENIED = (grpc.StatusCode.UNAUTHENTICATED, Reason.CERTIFICATE_DENIED)
EXPIRED = (grpc.StatusCode.UNAUTHENTICATED, Reason.CERTIFICATE_EXPIRED)
EXHAUSTED = (grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.QUOTA_EXHAUSTED)
# gRPC in Python can only require and verify a certificate: a caller that TLS rejects reaches no handler.
NO_TLS = (grpc.StatusCode.UNAVAILABLE, None)

# fmt: off
GRID = {
    #                         CheckNote    GetParties   ByNationalId ByTrackingId VerifyNote
    "setad":                 (OK,          OK,          NOT_GRANTED, NOT_GRANTED, OK),
    "cbi":                   (NOT_GRANTED, NOT_GRANTED, OK,          OK,          NOT_GRANTED),
    "agency":                (OK,          NOT_GRANTED, NOT_GRANTED, NOT_GRANTED, NOT_GRANTED),
    "stranger":              (NOT_GRANTED, NOT_GRANTED, NOT_GRANTED, NOT_GRANTED, NOT_GRANTED),
    "promissory-server":     (NOT_GRANTED, NOT_GRANTED, NOT_GRANTED, NOT_GRANTED, NOT_GRANTED),
    "two organizations":     (UNUSABLE,    UNUSABLE,    UNUSABLE,    UNUSABLE,    UNUSABLE),
    "one organization twice":(UNUSABLE,    UNUSABLE,    UNUSABLE,    UNUSABLE,    UNUSABLE),
    "no organization":       (UNUSABLE,    UNUSABLE,    UNUSABLE,    UNUSABLE,    UNUSABLE),
    "ten digits":            (UNUSABLE,    UNUSABLE,    UNUSABLE,    UNUSABLE,    UNUSABLE),
    "Persian digits":        (UNUSABLE,    UNUSABLE,    UNUSABLE,    UNUSABLE,    UNUSABLE),
    "line end":              (UNUSABLE,    UNUSABLE,    UNUSABLE,    UNUSABLE,    UNUSABLE),
    "expired":               (NO_TLS,      NO_TLS,      NO_TLS,      NO_TLS,      NO_TLS),
    "not yet valid":         (NO_TLS,      NO_TLS,      NO_TLS,      NO_TLS,      NO_TLS),
    "self-signed":           (NO_TLS,      NO_TLS,      NO_TLS,      NO_TLS,      NO_TLS),
    "another authority":     (NO_TLS,      NO_TLS,      NO_TLS,      NO_TLS,      NO_TLS),
    "no certificate":        (NO_TLS,      NO_TLS,      NO_TLS,      NO_TLS,      NO_TLS),
    "no TLS":                (NO_TLS,      NO_TLS,      NO_TLS,      NO_TLS,      NO_TLS),
}
# fmt: on


@dataclass
class Time:
    """A wall clock that runs ahead by an amount, and a monotonic clock, both set by the tests."""

    ahead: timedelta = timedelta()
    seconds: float = 1000.0

    @property
    def clock(self) -> Clock:
        return Clock(
            micros=lambda: time.time_ns() // 1000 + self.ahead // timedelta(microseconds=1),
            monotonic=lambda: self.seconds,
        )


@dataclass
class Deployment:
    """All three services in one sandbox, the certificates of every caller, and their clock."""

    sandbox: Sandbox
    time: Time
    addresses: dict[str, str] = field(default_factory=dict)
    callers: dict[str, grpc.ChannelCredentials | None] = field(default_factory=dict)

    def channel(self, caller: str, method: str) -> grpc.Channel:
        """Open a new connection of *caller* to the service of *method*."""
        credentials = self.callers[caller]
        if credentials is None:
            return grpc.insecure_channel(self.addresses[method])
        return grpc.secure_channel(self.addresses[method], credentials, options=[("grpc.enable_retries", 0)])

    def rewrite(self, table: str | None = None, **changes: Any) -> None:
        """Rewrite the access table, and advance the clock past the next check of it."""
        suite.write_access(self.sandbox, GRANTS, **{"rate": 1, "burst": 2000} | changes)
        if table is not None:
            self.sandbox.access.write_text(table, "utf-8")
        self.time.seconds += 2

    def spare(self, method: str, **validity: Any) -> ClientIdentity:
        """Issue a second certificate of an organisation that may call *method*."""
        holder = next(caller for caller, granted, _clause in GRANTS if granted == method)
        DevCertificateAuthority(self.sandbox.pki).issue("spare", [ORGANIZATIONS[holder]], **validity)
        return ClientIdentity.named(self.sandbox.pki, "spare")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("grid")
    sandbox, clock = suite.create_sandbox(folder / "suite"), Time()
    suite.load_samples(sandbox)
    promissory = promissory_opening(sandbox, clock.clock, shutdown_delay_seconds=0)
    judiciary = judiciary_opening(sandbox, clock.clock, shutdown_delay_seconds=0)
    with RunningService(promissory) as promissory_service, RunningService(judiciary) as judiciary_service:
        settings = sandbox.setad(listen="127.0.0.1:0", provider=promissory_service.address, shutdown_delay_seconds=0)
        with RunningService(lambda: run_adapter(settings, clock=clock.clock)) as setad_adapter:
            made = Deployment(sandbox, clock)
            made.addresses = dict.fromkeys((CHECK_NOTE, GET_NOTE_PARTIES), promissory_service.address)
            made.addresses |= dict.fromkeys((CHECK_BY_NATIONAL_ID, CHECK_BY_TRACKING_ID), judiciary_service.address)
            made.addresses[VERIFY_NOTE] = setad_adapter.address
            made.callers = credentials(sandbox, folder)
            with made.channel("setad", CHECK_NOTE) as channel:  # permits GetNoteParties for Setad
                ask(channel, CHECK_NOTE)
            yield made


@pytest.fixture
def rewritten(deployment: Deployment) -> Iterator[Deployment]:
    """The deployment, for tests that change its table or its clock: both are reset at the end."""
    yield deployment
    deployment.time.ahead = timedelta()
    deployment.rewrite()


def credentials(sandbox: Sandbox, folder: Path) -> dict[str, grpc.ChannelCredentials | None]:
    """Return the credentials of each caller of the grid."""
    now, authority = datetime.now(UTC), DevCertificateAuthority(sandbox.pki)
    for name, organizations in {
        "two organizations": [SETAD, CBI],
        "one organization twice": [SETAD, SETAD],
        "no organization": [],
        "ten digits": [SETAD[1:]],
        "Persian digits": [SETAD.translate({ord(str(digit)): 0x06F0 + digit for digit in range(10)})],
        "line end": [SETAD + "\n"],
    }.items():
        authority.issue(name, organizations)
    authority.issue("expired", [SETAD], since=now - timedelta(days=30), lifetime=timedelta(days=29))
    authority.issue("not yet valid", [SETAD], since=now + timedelta(days=1))
    DevCertificateAuthority.create(folder / "elsewhere", "estelam development CA").issue("another authority", [SETAD])
    self_sign(sandbox.pki, "self-signed", SETAD)
    elsewhere, trust = folder / "elsewhere", sandbox.pki / "ca.crt"
    foreign = ClientIdentity(elsewhere / "another authority.crt", elsewhere / "another authority.key", trust)
    strangers: dict[str, grpc.ChannelCredentials | None] = {
        "another authority": foreign.credentials(),
        "no certificate": grpc.ssl_channel_credentials(trust.read_bytes()),
        "no TLS": None,
    }
    return {
        name: ClientIdentity.named(sandbox.pki, name).credentials() for name in GRID if name not in strangers
    } | strangers


def self_sign(folder: Path, name: str, organization_id: str) -> None:
    """Create a self-signed certificate that names *organization_id*."""
    key = generate_private_key(SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, organization_id)])
    since = datetime.now(UTC) - timedelta(hours=1)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(since + timedelta(days=1))
        .sign(key, SHA256())
    )
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


Trailer = dict[str, Any]
Outcome = tuple[grpc.StatusCode, Reason | None]


def ask(
    channel: grpc.Channel, method: str, request: Message | None = None, metadata: Sequence[tuple[str, str]] = ()
) -> tuple[Outcome, Trailer]:
    """Return the status and the reason with which *method* ends, and the trailing metadata."""
    question = (request or REQUESTS[method]).SerializeToString()
    rpc: Any = channel.unary_unary(f"/{method}")
    call = rpc.future(question, timeout=10, metadata=metadata)
    refusal = None if call.exception() is None else from_grpc(call.exception())
    return (call.code(), refusal.reason if refusal else None), dict(call.trailing_metadata())


def details(trailer: Trailer) -> dict[str, Any]:
    """Return the details of a refusal by the names of their messages."""
    kinds = {kind.DESCRIPTOR.full_name: kind for kind in (BadRequest, QuotaFailure, RetryInfo)}
    found = {}
    for packed in status_pb2.Status.FromString(trailer["grpc-status-details-bin"]).details:
        if kind := kinds.get(packed.TypeName()):
            found[kind.DESCRIPTOR.name] = kind.FromString(packed.value)
    return found


@each_method
@pytest.mark.parametrize("caller", GRID)
def test_grid(deployment: Deployment, caller: str, method: str) -> None:
    """Every caller gets exactly the outcome of its cell in the grid."""
    with deployment.channel(caller, method) as channel:
        outcome, _ = ask(channel, method)

    assert GRID[caller][METHODS.index(method)] == outcome


def test_grid_matches_grants() -> None:
    """The grid permits exactly the grants of the resolutions; they have none of the list of changed answers."""
    granted = {(caller, method) for caller, method, _clause in GRANTS if method != LIST_CHANGED_ANSWERS}

    assert granted == {(caller, METHODS[at]) for caller, row in GRID.items() for at in range(5) if row[at] == OK}


@each_method
def test_denied_certificate_is_refused_on_open_connection(rewritten: Deployment, method: str) -> None:
    """A certificate that is put on the deny list is refused on its open connection."""
    denied = rewritten.spare(method)
    with plain_channel(rewritten.addresses[method], denied) as channel:
        before, _ = ask(channel, method)
        rewritten.rewrite(denied=[key_sha256(denied.certificate)])
        after, _ = ask(channel, method)

    assert (OK, DENIED) == (before, after)


@each_method
def test_expired_certificate_is_refused_on_open_connection(rewritten: Deployment, method: str) -> None:
    """A certificate that expires is refused on its open connection; so is one not yet valid."""
    brief = rewritten.spare(method, lifetime=timedelta(hours=2))

    with plain_channel(rewritten.addresses[method], brief) as channel:
        before, _ = ask(channel, method)
        rewritten.time.ahead = timedelta(hours=3)
        after, _ = ask(channel, method)
        rewritten.time.ahead = timedelta(hours=-3)
        too_early, _ = ask(channel, method)

    assert (OK, EXPIRED, EXPIRED) == (before, after, too_early)


@pytest.mark.parametrize(
    "table",
    [
        "",
        "grant = []",
        "[[grant]]",
        "[[grant",
        "{table}\n[surplus]",
        "{table}\n{table}",
        "{table}\n[[deny]]\ncertificate = 'short'\nreason = 'lost'",
    ],
)
def test_invalid_access_table_prevents_start(sandbox: Sandbox, start: Start, table: str) -> None:
    """No service starts with an empty or invalid access table."""
    sandbox.access.write_text(table.format(table=sandbox.access.read_text("utf-8")), "utf-8")
    settings = sandbox.setad(listen="127.0.0.1:0")

    for opening in (promissory_opening(sandbox), judiciary_opening(sandbox), lambda: run_adapter(settings)):
        with pytest.raises(AccessConfigError):
            start(opening)


@pytest.mark.parametrize(("bound", "before", "after"), [("since", NOT_GRANTED, OK), ("until", OK, NOT_GRANTED)])
def test_grant_follows_days_in_iran(rewritten: Deployment, bound: str, before: Outcome, after: Outcome) -> None:
    """A grant begins and ends at midnight in Iran."""
    midnight = (datetime.now(UTC) + timedelta(days=1)).replace(hour=20, minute=30, second=0, microsecond=0)
    day = midnight.date() + timedelta(days=1 if bound == "since" else 0)
    table = rewritten.sandbox.access.read_text("utf-8")
    bounds = f"since = {day}" if bound == "since" else f"since = 2021-08-24\nuntil = {day}"
    rewritten.rewrite(table.replace("since = 2021-08-24", bounds))

    seen = []
    with rewritten.channel("setad", CHECK_NOTE) as channel:
        for instant in (midnight - timedelta(seconds=10), midnight + timedelta(seconds=10)):
            rewritten.time.ahead = instant - datetime.now(UTC)
            seen.append(ask(channel, CHECK_NOTE)[0])

    assert [before, after] == seen


def test_changed_table_applies_to_open_connection(sandbox: Sandbox, start: Start) -> None:
    """A changed access table applies within seconds, also on an open connection."""
    service = start(promissory_opening(sandbox, shutdown_delay_seconds=0))
    with plain_channel(service.address, ClientIdentity.named(sandbox.pki, "stranger")) as channel:
        before, _ = ask(channel, CHECK_NOTE)
        suite.write_access(sandbox, [*GRANTS, ("stranger", CHECK_NOTE, "R2.1")], rate=1, burst=1000)
        changed = time.monotonic()
        while (ask(channel, CHECK_NOTE)[0] == NOT_GRANTED) and time.monotonic() < changed + 10:
            time.sleep(0.05)
        passed = time.monotonic() - changed

    assert NOT_GRANTED == before
    assert passed < 5  # two seconds on an idle machine


@pytest.mark.parametrize("broken", ["", "[[grant", "grant = []", "\0", None])
def test_invalid_table_keeps_last_one(rewritten: Deployment, broken: str | None) -> None:
    """An invalid or missing table leaves the last valid one in force until it is repaired."""
    rewritten.rewrite(denied=[key_sha256(rewritten.sandbox.pki / "agency.crt")])
    with rewritten.channel("setad", CHECK_NOTE) as setad, rewritten.channel("agency", CHECK_NOTE) as agency:
        ask(setad, CHECK_NOTE)
        if broken is None:
            rewritten.sandbox.access.unlink()
            rewritten.time.seconds += 2
        else:
            rewritten.rewrite(broken)
        meanwhile = ask(setad, CHECK_NOTE)[0], ask(agency, CHECK_NOTE)[0]
        rewritten.rewrite()
        repaired = ask(setad, CHECK_NOTE)[0], ask(agency, CHECK_NOTE)[0]

    assert (OK, DENIED) == meanwhile
    assert (OK, OK) == repaired


def test_required_metadata(rewritten: Deployment) -> None:
    """Metadata that a grant requires is required in every call."""
    rewritten.rewrite(required_metadata=["x-case-reference"])
    with rewritten.channel("setad", CHECK_NOTE) as channel:
        without, trailer = ask(channel, CHECK_NOTE, metadata=[("x-operator", "unit-7")])
        with_metadata, _ = ask(channel, CHECK_NOTE, metadata=[("x-case-reference", "tender-1405/7")])

    assert (grpc.StatusCode.INVALID_ARGUMENT, Reason.METADATA_REQUIRED) == without
    assert ["x-case-reference"] == [found.field for found in details(trailer)["BadRequest"].field_violations]
    assert OK == with_metadata


@pytest.mark.parametrize("key", ["x-inquiry-id", "x-case-reference", "x-operator", "x-nonce"])
@pytest.mark.parametrize("values", [[""], ["two words"], ["a" * 65], ["a", "a"], ["a", "b"], ["a,b"], ["{}"], ["a "]])
def test_malformed_metadata_is_refused(deployment: Deployment, key: str, values: list[str]) -> None:
    """Malformed or repeated purpose metadata is refused with its key."""
    with deployment.channel("setad", CHECK_NOTE) as channel:
        outcome, trailer = ask(channel, CHECK_NOTE, metadata=[(key, value) for value in values])

    assert (grpc.StatusCode.INVALID_ARGUMENT, Reason.METADATA_MALFORMED) == outcome
    assert [key] == [found.field for found in details(trailer)["BadRequest"].field_violations]


def test_exhausted_quota_states_limit_and_reset(rewritten: Deployment) -> None:
    """An exhausted quota is refused with limit, state and retry delay, and affects no other caller or method."""
    rewritten.rewrite(rate=0.5, burst=3)
    with rewritten.channel("setad", CHECK_NOTE) as setad, rewritten.channel("agency", CHECK_NOTE) as agency:
        asked = [ask(setad, CHECK_NOTE) for _ in range(4)]
        others = [ask(agency, CHECK_NOTE)[0], ask(setad, GET_NOTE_PARTIES)[0]]
        rewritten.time.seconds += 2
        later, _ = ask(setad, CHECK_NOTE)

    refused = details(asked[3][1])
    policy, state = '"CheckNote";q=3;w=6', '"CheckNote";r={:09d};t={:09d}'
    rate_limits = [(trailer["ratelimit-policy"], trailer["ratelimit"].partition(";p=")[0]) for _, trailer in asked]
    assert [OK, OK, OK, EXHAUSTED] == [outcome for outcome, _ in asked]
    assert [(policy, state.format(*left)) for left in ((2, 2), (1, 4), (0, 6), (0, 6))] == rate_limits
    assert "CheckNote" == refused["QuotaFailure"].violations[0].subject
    assert 2000 == refused["RetryInfo"].retry_delay.ToMilliseconds()
    assert [OK, OK, OK] == [*others, later]


def test_no_costs_miss_cost(rewritten: Deployment) -> None:
    """An answer NO costs the grant's miss cost and may overdraw the bucket."""
    rewritten.rewrite(rate=0.5, burst=10, miss_cost=6)
    no = notes.CheckNoteRequest(**NOTE | {"amount_rials": 1})
    with rewritten.channel("setad", CHECK_NOTE) as channel:
        asked = [ask(channel, CHECK_NOTE, request) for request in (None, no, no, None)]

    assert [OK, OK, OK, EXHAUSTED] == [outcome for outcome, _ in asked]
    assert [9, 3, 0, 0] == [int(trailer["ratelimit"].partition("r=")[2][:9]) for _, trailer in asked]
    assert 8000 == details(asked[3][1])["RetryInfo"].retry_delay.ToMilliseconds()
