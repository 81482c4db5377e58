"""Promise 4: who may ask what is one grid of exact caller and exact method; every other cell is refused."""

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
from tests.support.service import RunningService
from tools.env import sandbox as suite
from tools.env.sandbox import (
    CHECK_BY_NATIONAL_ID,
    CHECK_BY_TRACKING_ID,
    CHECK_NOTE,
    GET_NOTE_PARTIES,
    GRANTS,
    ORGANIZATIONS,
    VERIFY_NOTE,
    Sandbox,
)

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
SHUT = (grpc.StatusCode.PERMISSION_DENIED, Reason.NOT_GRANTED)
NOBODY = (grpc.StatusCode.UNAUTHENTICATED, Reason.CERTIFICATE_UNUSABLE)
BARRED = (grpc.StatusCode.UNAUTHENTICATED, Reason.CERTIFICATE_DENIED)
EXPIRED = (grpc.StatusCode.UNAUTHENTICATED, Reason.CERTIFICATE_EXPIRED)
USED_UP = (grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.QUOTA_EXHAUSTED)
# gRPC in Python can only require a certificate and verify it: whom TLS refuses, no handler ever sees.
NO_TLS = (grpc.StatusCode.UNAVAILABLE, None)

# fmt: off
GRID = {
    #                          CheckNote  GetNoteParties  ByNationalId  ByTrackingId  VerifyNote
    "setad":                   (OK,       OK,             SHUT,         SHUT,         OK),
    "cbi":                     (SHUT,     SHUT,           OK,           OK,           SHUT),
    "agency":                  (OK,       SHUT,           SHUT,         SHUT,         SHUT),
    "stranger":                (SHUT,     SHUT,           SHUT,         SHUT,         SHUT),
    "promissory-server":       (SHUT,     SHUT,           SHUT,         SHUT,         SHUT),
    "two organizations":       (NOBODY,   NOBODY,         NOBODY,       NOBODY,       NOBODY),
    "one organization twice":  (NOBODY,   NOBODY,         NOBODY,       NOBODY,       NOBODY),
    "no organization":         (NOBODY,   NOBODY,         NOBODY,       NOBODY,       NOBODY),
    "ten digits":              (NOBODY,   NOBODY,         NOBODY,       NOBODY,       NOBODY),
    "Persian digits":          (NOBODY,   NOBODY,         NOBODY,       NOBODY,       NOBODY),
    "a line's end":            (NOBODY,   NOBODY,         NOBODY,       NOBODY,       NOBODY),
    "expired":                 (NO_TLS,   NO_TLS,         NO_TLS,       NO_TLS,       NO_TLS),
    "not yet valid":           (NO_TLS,   NO_TLS,         NO_TLS,       NO_TLS,       NO_TLS),
    "self-signed":             (NO_TLS,   NO_TLS,         NO_TLS,       NO_TLS,       NO_TLS),
    "another authority":       (NO_TLS,   NO_TLS,         NO_TLS,       NO_TLS,       NO_TLS),
    "no certificate":          (NO_TLS,   NO_TLS,         NO_TLS,       NO_TLS,       NO_TLS),
    "no TLS":                  (NO_TLS,   NO_TLS,         NO_TLS,       NO_TLS,       NO_TLS),
}
# fmt: on


@dataclass
class Time:
    """A calendar that runs ahead as far as a test says, and a stopwatch that only tests move."""

    ahead: timedelta = timedelta()
    seconds: float = 1000.0

    @property
    def clock(self) -> Clock:
        return Clock(
            micros=lambda: time.time_ns() // 1000 + self.ahead // timedelta(microseconds=1),
            monotonic=lambda: self.seconds,
        )


@dataclass
class House:
    """All three services over one sandbox, the certificates of every caller, and the time they live in."""

    sandbox: Sandbox
    time: Time
    addresses: dict[str, str] = field(default_factory=dict)
    callers: dict[str, grpc.ChannelCredentials | None] = field(default_factory=dict)

    def channel(self, caller: str, method: str) -> grpc.Channel:
        """A new connection of *caller* to the service of *method*."""
        credentials = self.callers[caller]
        if credentials is None:
            return grpc.insecure_channel(self.addresses[method])
        return grpc.secure_channel(self.addresses[method], credentials, options=[("grpc.enable_retries", 0)])

    def rewrite(self, table: str | None = None, **changes: Any) -> None:
        """Write the access table anew, and let the time pass after which it is looked at."""
        suite.write_access(self.sandbox, GRANTS, **{"rate": 1, "burst": 2000} | changes)
        if table is not None:
            self.sandbox.access.write_text(table, "utf-8")
        self.time.seconds += 2

    def spare(self, method: str, **validity: Any) -> ClientIdentity:
        """A second certificate of the organisation that may ask *method*."""
        holder = next(caller for caller, granted, _clause in GRANTS if granted == method)
        DevCertificateAuthority(self.sandbox.pki).issue("spare", [ORGANIZATIONS[holder]], **validity)
        return ClientIdentity.named(self.sandbox.pki, "spare")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("grid")
    sandbox, clock = suite.create_sandbox(folder / "suite"), Time()
    suite.load_samples(sandbox)
    promissory = promissory_opening(sandbox, clock.clock, shutdown_delay_seconds=0)
    judiciary = judiciary_opening(sandbox, clock.clock, shutdown_delay_seconds=0)
    with RunningService(promissory) as ministry, RunningService(judiciary) as courts:
        settings = sandbox.setad(listen="127.0.0.1:0", provider=ministry.address, shutdown_delay_seconds=0)
        with RunningService(lambda: run_adapter(settings, clock=clock.clock)) as buyer:
            made = House(sandbox, clock)
            made.addresses = dict.fromkeys((CHECK_NOTE, GET_NOTE_PARTIES), ministry.address)
            made.addresses |= dict.fromkeys((CHECK_BY_NATIONAL_ID, CHECK_BY_TRACKING_ID), courts.address)
            made.addresses[VERIFY_NOTE] = buyer.address
            made.callers = credentials(sandbox, folder)
            with made.channel("setad", CHECK_NOTE) as channel:  # which opens GetNoteParties for Setad
                ask(channel, CHECK_NOTE)
            yield made


@pytest.fixture
def rewritten(house: House) -> Iterator[House]:
    """The house, for tests that change its table or its time: both are put right at the end."""
    yield house
    house.time.ahead = timedelta()
    house.rewrite()


def credentials(sandbox: Sandbox, folder: Path) -> dict[str, grpc.ChannelCredentials | None]:
    """What each caller of the grid opens its connection with."""
    now, authority = datetime.now(UTC), DevCertificateAuthority(sandbox.pki)
    for name, organizations in {
        "two organizations": [SETAD, CBI],
        "one organization twice": [SETAD, SETAD],
        "no organization": [],
        "ten digits": [SETAD[1:]],
        "Persian digits": [SETAD.translate({ord(str(digit)): 0x06F0 + digit for digit in range(10)})],
        "a line's end": [SETAD + "\n"],
    }.items():
        authority.issue(name, organizations)
    authority.issue("expired", [SETAD], since=now - timedelta(days=30), lifetime=timedelta(days=29))
    authority.issue("not yet valid", [SETAD], since=now + timedelta(days=1))
    DevCertificateAuthority.create(folder / "elsewhere", "estelam development CA").issue("another authority", [SETAD])
    sign_oneself(sandbox.pki, "self-signed", SETAD)
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


def sign_oneself(folder: Path, name: str, organization_id: str) -> None:
    """A certificate that names *organization_id* and that nobody vouches for."""
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
    """The status with which *method* ends, the house's reason for it, and the trailing metadata."""
    question = (request or REQUESTS[method]).SerializeToString()
    rpc: Any = channel.unary_unary(f"/{method}")
    call = rpc.future(question, timeout=10, metadata=metadata)
    refusal = None if call.exception() is None else from_grpc(call.exception())
    return (call.code(), refusal.reason if refusal else None), dict(call.trailing_metadata())


def details(trailer: Trailer) -> dict[str, Any]:
    """What a refusal carries, by the names of its messages."""
    kinds = {kind.DESCRIPTOR.full_name: kind for kind in (BadRequest, QuotaFailure, RetryInfo)}
    found = {}
    for packed in status_pb2.Status.FromString(trailer["grpc-status-details-bin"]).details:
        if kind := kinds.get(packed.TypeName()):
            found[kind.DESCRIPTOR.name] = kind.FromString(packed.value)
    return found


@each_method
@pytest.mark.parametrize("caller", GRID)
def test_every_caller_gets_exactly_its_cell_of_the_grid(house: House, caller: str, method: str) -> None:
    with house.channel(caller, method) as channel:
        outcome, _ = ask(channel, method)

    assert GRID[caller][METHODS.index(method)] == outcome


def test_the_grid_opens_just_what_the_resolutions_grant() -> None:
    granted = {(caller, method) for caller, method, _clause in GRANTS}

    assert granted == {(caller, METHODS[at]) for caller, row in GRID.items() for at in range(5) if row[at] == OK}


@each_method
def test_a_barred_certificate_is_refused_on_the_connection_it_has_open(rewritten: House, method: str) -> None:
    lost = rewritten.spare(method)
    fingerprint = x509.load_pem_x509_certificate(lost.certificate.read_bytes()).fingerprint(SHA256()).hex()

    with plain_channel(rewritten.addresses[method], lost) as channel:
        before, _ = ask(channel, method)
        rewritten.rewrite(denied=[fingerprint])
        after, _ = ask(channel, method)

    assert (OK, BARRED) == (before, after)


@each_method
def test_a_certificate_that_ends_is_refused_on_the_connection_it_has_open(rewritten: House, method: str) -> None:
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
def test_no_service_starts_with_an_empty_or_a_doubtful_table(sandbox: Sandbox, start: Start, table: str) -> None:
    sandbox.access.write_text(table.format(table=sandbox.access.read_text("utf-8")), "utf-8")
    settings = sandbox.setad(listen="127.0.0.1:0")

    for opening in (promissory_opening(sandbox), judiciary_opening(sandbox), lambda: run_adapter(settings)):
        with pytest.raises(AccessConfigError):
            start(opening)


@pytest.mark.parametrize(("bound", "before", "after"), [("since", SHUT, OK), ("until", OK, SHUT)])
def test_a_grant_begins_and_ends_with_the_day_in_iran(
    rewritten: House, bound: str, before: Outcome, after: Outcome
) -> None:
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


def test_a_changed_table_counts_within_moments_on_a_connection_that_is_open(sandbox: Sandbox, start: Start) -> None:
    service = start(promissory_opening(sandbox, shutdown_delay_seconds=0))
    with plain_channel(service.address, ClientIdentity.named(sandbox.pki, "stranger")) as channel:
        before, _ = ask(channel, CHECK_NOTE)
        suite.write_access(sandbox, [*GRANTS, ("stranger", CHECK_NOTE, "R2.1")], rate=1, burst=1000)
        changed = time.monotonic()
        while (ask(channel, CHECK_NOTE)[0] == SHUT) and time.monotonic() < changed + 10:
            time.sleep(0.05)
        passed = time.monotonic() - changed

    assert SHUT == before
    assert passed < 5  # two seconds on a machine that is not busy


@pytest.mark.parametrize("broken", ["", "[[grant", "grant = []", "\0", None])
def test_a_broken_table_changes_nothing_until_it_is_mended(rewritten: House, broken: str | None) -> None:
    lost = x509.load_pem_x509_certificate((rewritten.sandbox.pki / "agency.crt").read_bytes())
    rewritten.rewrite(denied=[lost.fingerprint(SHA256()).hex()])
    with rewritten.channel("setad", CHECK_NOTE) as setad, rewritten.channel("agency", CHECK_NOTE) as agency:
        ask(setad, CHECK_NOTE)
        if broken is None:
            rewritten.sandbox.access.unlink()
            rewritten.time.seconds += 2
        else:
            rewritten.rewrite(broken)
        meanwhile = ask(setad, CHECK_NOTE)[0], ask(agency, CHECK_NOTE)[0]
        rewritten.rewrite()
        mended = ask(setad, CHECK_NOTE)[0], ask(agency, CHECK_NOTE)[0]

    assert (OK, BARRED) == meanwhile
    assert (OK, OK) == mended


def test_what_a_grant_demands_must_be_told_with_every_inquiry(rewritten: House) -> None:
    rewritten.rewrite(demands=["x-case-reference"])
    with rewritten.channel("setad", CHECK_NOTE) as channel:
        silent, trailer = ask(channel, CHECK_NOTE, metadata=[("x-operator", "desk-7")])
        told, _ = ask(channel, CHECK_NOTE, metadata=[("x-case-reference", "tender-1405/7")])

    assert (grpc.StatusCode.INVALID_ARGUMENT, Reason.METADATA_REQUIRED) == silent
    assert ["x-case-reference"] == [found.field for found in details(trailer)["BadRequest"].field_violations]
    assert OK == told


@pytest.mark.parametrize("key", ["x-inquiry-id", "x-case-reference", "x-operator"])
@pytest.mark.parametrize("values", [[""], ["two words"], ["a" * 65], ["a", "a"], ["a", "b"], ["a,b"], ["{}"], ["a "]])
def test_metadata_out_of_form_or_given_twice_is_refused(house: House, key: str, values: list[str]) -> None:
    with house.channel("setad", CHECK_NOTE) as channel:
        outcome, trailer = ask(channel, CHECK_NOTE, metadata=[(key, value) for value in values])

    assert (grpc.StatusCode.INVALID_ARGUMENT, Reason.METADATA_MALFORMED) == outcome
    assert [key] == [found.field for found in details(trailer)["BadRequest"].field_violations]


def test_a_used_up_quota_says_how_much_there_was_and_when_there_is_more(rewritten: House) -> None:
    rewritten.rewrite(rate=0.5, burst=3)
    with rewritten.channel("setad", CHECK_NOTE) as setad, rewritten.channel("agency", CHECK_NOTE) as agency:
        asked = [ask(setad, CHECK_NOTE) for _ in range(4)]
        others = [ask(agency, CHECK_NOTE)[0], ask(setad, GET_NOTE_PARTIES)[0]]
        rewritten.time.seconds += 2
        later, _ = ask(setad, CHECK_NOTE)

    refused = details(asked[3][1])
    policy, state = '"CheckNote";q=3;w=6', '"CheckNote";r={:09d};t={:09d}'
    told = [(trailer["ratelimit-policy"], trailer["ratelimit"]) for _, trailer in asked]
    assert [OK, OK, OK, USED_UP] == [outcome for outcome, _ in asked]
    assert [(policy, state.format(*left)) for left in ((2, 2), (1, 4), (0, 6), (0, 6))] == told
    assert "CheckNote" == refused["QuotaFailure"].violations[0].subject
    assert 2000 == refused["RetryInfo"].retry_delay.ToMilliseconds()
    assert [OK, OK, OK] == [*others, later]


def test_a_no_costs_what_the_grant_says_and_may_leave_a_debt(rewritten: House) -> None:
    rewritten.rewrite(rate=0.5, burst=10, miss_cost=6)
    no = notes.CheckNoteRequest(**NOTE | {"amount_rials": 1})
    with rewritten.channel("setad", CHECK_NOTE) as channel:
        asked = [ask(channel, CHECK_NOTE, request) for request in (None, no, no, None)]

    assert [OK, OK, OK, USED_UP] == [outcome for outcome, _ in asked]
    assert [9, 3, 0, 0] == [int(trailer["ratelimit"].partition("r=")[2][:9]) for _, trailer in asked]
    assert 8000 == details(asked[3][1])["RetryInfo"].retry_delay.ToMilliseconds()
