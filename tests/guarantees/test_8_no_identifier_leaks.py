"""Guarantee 8: no identifier of a request appears in a log, a metric, a refusal or a column of a ledger."""

import contextlib
import csv
import json
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest
from structlog.testing import capture_logs

from development import sandbox as suite
from development.processes import SERVICES, ServiceProcess, free_ports
from development.sandbox import (
    CHECK_BY_NATIONAL_ID,
    CHECK_BY_TRACKING_ID,
    CHECK_NOTE,
    GET_NOTE_PARTIES,
    GRANTS,
    ORGANIZATIONS,
    VERIFY_NOTE,
    Sandbox,
)
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.client.channel import ClientIdentity
from estelam.core.errors import Reason
from estelam.core.grpc_status import from_grpc
from estelam.core.model import Inquiry
from estelam.core.settings import StoreSettings
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as cases
from estelam.loading.feed import Feed
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.server.service import run_recording_service
from estelam.setad.v1 import note_verification_pb2 as setad
from estelam.storage.store import AccessMode, Store
from judiciary import feeds as judiciary_load
from promissory import feeds as promissory_load
from promissory.methods import CHECK_NOTE as CHECK_METHOD
from promissory.recall import NoteRecallSource
from sataad_adapter.service import run_adapter
from tests.conftest import Start, judiciary_opening, plain_channel, promissory_opening

# None of these occurs in a log or a store otherwise: each one found has leaked.
SERIAL, UNKNOWN = "1405662607550143", "1405662607559971"
OBLIGOR, HOLDER, FOREIGNER = "9997382919", "99007382912", "973829104655"
TRACKING, UNKNOWN_TRACKING = "738291046557382914", "738291046557382969"
AMOUNT = 7_382_915_036
NAMES = ("Canary Obligorson", "Canary Holderson", "Canary Street 7741", "قناری نمونه", "9902847561")
PURPOSE = {"x-inquiry-id": "canary-inquiry", "x-case-reference": "canary-case", "x-operator": "canary-operator"}
DIGITS = (SERIAL, UNKNOWN, OBLIGOR, HOLDER, FOREIGNER, TRACKING, UNKNOWN_TRACKING, str(AMOUNT))
CANARIES = (*DIGITS, *NAMES, *PURPOSE.values())
# The only request field that a ledger stores in plain text: an agency is not a person.
AGENCY, STRANGE_AGENCY = "CANARY-MEMBER", "CANARY-STRANGER"

CHECK: dict[str, Any] = {"serial": SERIAL, "obligor_id": OBLIGOR, "beneficiary_id": HOLDER, "amount_rials": AMOUNT}
OK = "OK"


def check(**changes: Any) -> bytes:
    return notes.CheckNoteRequest(**CHECK | changes).SerializeToString()


def parties(serial: str = SERIAL, agency: str = AGENCY) -> bytes:
    return notes.GetNotePartiesRequest(serial=serial, executive_agency_id=agency).SerializeToString()


def verify(agency: str = AGENCY, **changes: Any) -> bytes:
    return setad.VerifyNoteRequest(**CHECK | changes, executive_agency_id=agency).SerializeToString()


def person(national_id: str) -> bytes:
    return cases.CheckByNationalIdRequest(national_id=national_id).SerializeToString()


def cheque(tracking_id: str) -> bytes:
    return cases.CheckByTrackingIdRequest(tracking_id=tracking_id).SerializeToString()


@dataclass(frozen=True)
class Call:
    """One call: its caller, its request and its expected outcome."""

    caller: str
    method: str
    request: bytes
    ends: str = OK
    metadata: Mapping[str, str] = field(default_factory=lambda: PURPOSE)


CALLS = [
    Call("setad", CHECK_NOTE, check()),
    Call("setad", CHECK_NOTE, check(serial=UNKNOWN, beneficiary_id=FOREIGNER)),
    Call("setad", GET_NOTE_PARTIES, parties()),
    Call("setad", VERIFY_NOTE, verify()),
    Call("setad", VERIFY_NOTE, verify(serial=UNKNOWN)),
    Call("cbi", CHECK_BY_NATIONAL_ID, person(OBLIGOR)),
    Call("cbi", CHECK_BY_TRACKING_ID, cheque(TRACKING)),
    Call("cbi", CHECK_BY_NATIONAL_ID, person(FOREIGNER), Reason.COVERAGE_UNDECLARED),
    Call("cbi", CHECK_BY_TRACKING_ID, cheque(UNKNOWN_TRACKING), Reason.COVERAGE_UNDECLARED),
    Call("setad", GET_NOTE_PARTIES, parties(serial=UNKNOWN), Reason.NOTE_NOT_CONFIRMED),
    Call("setad", GET_NOTE_PARTIES, parties(agency=STRANGE_AGENCY), Reason.AGENCY_NOT_MEMBER),
    Call("setad", VERIFY_NOTE, verify(agency=STRANGE_AGENCY), Reason.AGENCY_NOT_MEMBER),
    Call("setad", CHECK_NOTE, check(serial=SERIAL + "X", obligor_id=OBLIGOR + "1"), Reason.FIELD_INVALID),
    Call("setad", GET_NOTE_PARTIES, parties(agency=f"{OBLIGOR} {STRANGE_AGENCY}"), Reason.FIELD_INVALID),
    Call("setad", VERIFY_NOTE, verify(serial=SERIAL[:-1], amount_rials=-AMOUNT), Reason.FIELD_INVALID),
    Call("cbi", CHECK_BY_NATIONAL_ID, person(f"{OBLIGOR}\n"), Reason.FIELD_INVALID),
    Call("cbi", CHECK_BY_TRACKING_ID, cheque(f"IR{TRACKING}"), Reason.FIELD_INVALID),
    Call("setad", CHECK_NOTE, check() + b"\x7a\x0a" + OBLIGOR.encode(), Reason.FIELD_UNKNOWN),
    Call("setad", CHECK_NOTE, SERIAL.encode(), Reason.REQUEST_MALFORMED),
    Call("cbi", CHECK_BY_NATIONAL_ID, OBLIGOR.encode() * 500, Reason.REQUEST_TOO_LARGE),
    Call("stranger", CHECK_NOTE, check(), Reason.NOT_GRANTED),
    Call("agency", GET_NOTE_PARTIES, parties(), Reason.NOT_GRANTED),
    Call("stranger", VERIFY_NOTE, verify(), Reason.NOT_GRANTED),
    Call("setad", CHECK_BY_NATIONAL_ID, person(OBLIGOR), Reason.NOT_GRANTED),
    Call("two names", CHECK_NOTE, check(), Reason.CERTIFICATE_UNUSABLE),
    Call("setad", f"{CHECK_NOTE}{OBLIGOR}", check(), Reason.METHOD_UNKNOWN),
    Call("setad", CHECK_NOTE, check(), Reason.METADATA_MALFORMED, {"x-operator": f"{OBLIGOR} canary-operator"}),
    Call(
        "stranger", CHECK_BY_TRACKING_ID, cheque(TRACKING), Reason.METADATA_REQUIRED, {"x-operator": "canary-operator"}
    ),
    Call("agency", CHECK_NOTE, check()),
    Call("agency", CHECK_NOTE, check(), Reason.QUOTA_EXHAUSTED),
    Call("setad", CHECK_NOTE, check(), "RESOURCE_EXHAUSTED", {"x-operator": "canary-operator" * 1000}),
]

MORE_GRANTS = f"""
[[grant]]
caller = "{ORGANIZATIONS["agency"]}"
method = "{CHECK_NOTE}"
clause = "R2.1"
since = 2021-08-24
quota = {{ rate = 0.0001, burst = 1 }}

[[grant]]
caller = "{ORGANIZATIONS["stranger"]}"
method = "{CHECK_BY_TRACKING_ID}"
clause = "R3.1.2"
since = 2021-08-24
quota = {{ rate = 1, burst = 100 }}
required_metadata = ["x-case-reference"]
"""


def create_sandbox(folder: Path) -> Sandbox:
    """Create a sandbox whose stores hold the facts that these calls ask about."""
    sandbox = suite.create_sandbox(folder, ports=free_ports("promissory", "judiciary", "setad"))
    suite.write_access(sandbox, [grant for grant in GRANTS if grant[0] != "agency"], rate=100, burst=1000)
    with sandbox.access.open("a", encoding="utf-8") as table:
        table.write(MORE_GRANTS)
    DevCertificateAuthority(sandbox.pki).issue("two names", [OBLIGOR + "0", HOLDER])
    load(sandbox.promissory(), promissory_load.MEMBERS, {"agency_id": AGENCY, "name": NAMES[3]})
    load_note(sandbox)
    case = {"case_number": "1", "kind": "CIVIL", "filed_on": "2025-01-01", "registered_at": "2025-01-01T00:00:00Z"}
    load(
        sandbox.judiciary(),
        judiciary_load.CASES,
        case | {"tracking_id": TRACKING, "national_id": OBLIGOR, "role": "DRAWER"},
    )
    return sandbox


def load_note(sandbox: Sandbox) -> None:
    row = {
        "serial": SERIAL,
        "state": "ISSUED",
        "beneficiary_id": HOLDER,
        "amount_rials": AMOUNT,
        "remaining_rials": AMOUNT,
    }
    for side, side_id, name in (("obligor", OBLIGOR, NAMES[0]), ("holder", HOLDER, NAMES[1])):
        row |= {
            f"{side}_id": side_id,
            f"{side}_name": name,
            f"{side}_address": NAMES[2],
            f"{side}_postal_code": NAMES[4],
        }
    row |= {"issued_on": "2025-01-01", "due_on": "", "payment_place": NAMES[3]}
    load(sandbox.promissory(), promissory_load.NOTES, row, whole=True)


def load(
    store: StoreSettings,
    feed: Feed,
    row: Mapping[str, Any],
    *,
    whole: bool = False,
) -> None:
    path = Path(store.store.removeprefix("sqlite:///")) / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, feed.columns)
        writer.writeheader()
        writer.writerow(row)
    suite.load_file(store, feed, path, whole=whole)
    path.unlink()


@dataclass
class Connections:
    """Connections of every caller to every service, with everything received on them except answers."""

    sandbox: Sandbox
    addresses: Mapping[str, str]
    received: list[bytes] = field(default_factory=list)

    def make(self, *calls: Call) -> list[str]:
        """Make each of *calls*; return its outcome."""
        return [self._make(call) for call in calls]

    def _make(self, call: Call) -> str:
        service = call.method.split(".")[1]
        with plain_channel(self.addresses[service], ClientIdentity.named(self.sandbox.pki, call.caller)) as channel:
            rpc: Any = channel.unary_unary(f"/{call.method}")
            rpc_call = rpc.future(call.request, timeout=20, metadata=list(call.metadata.items()))
            refusal = None if rpc_call.exception() is None else from_grpc(rpc_call.exception())
            self._collect(call, rpc_call)
            return refusal.reason if refusal else rpc_call.code().name

    def _collect(self, call: Call, rpc_call: Any) -> None:
        self.received.append(f"{rpc_call.code()} {rpc_call.details()}".encode())
        for key, value in (*rpc_call.initial_metadata(), *rpc_call.trailing_metadata()):
            # The caller's own correlation id is returned to that caller only.
            if (key, value) != ("x-inquiry-id", call.metadata.get("x-inquiry-id")):
                self.received += [key.encode(), value if isinstance(value, bytes) else value.encode()]


def leaks(haystack: bytes, canaries: Sequence[str] = CANARIES) -> list[str]:
    """Return those of *canaries* found in *haystack*: as text, escaped, as hexadecimal digits, or packed."""
    low = haystack.lower()
    return [canary for canary in canaries if any(form in low or form in haystack for form in forms(canary))]


def forms(canary: str) -> Iterator[bytes]:
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        yield canary.encode(encoding)
        yield canary.encode(encoding).hex().encode()
    yield json.dumps(canary)[1:-1].encode()
    if canary.isascii() and canary.isdecimal():
        number = int(canary)
        yield bytes.fromhex(canary.rjust(len(canary) + len(canary) % 2, "0"))
        yield from (number.to_bytes(8, "big"), number.to_bytes(8, "little"))
        yield notes.CheckNoteRequest(amount_rials=number).SerializeToString()[1:]


def change_facts(sandbox: Sandbox, statement: str) -> None:
    """Run *statement* in the facts of promissory, as a load writes: a service stops beside any other writer."""
    url = sandbox.promissory().store
    with contextlib.closing(Store(url, facts=AccessMode.WRITE)) as store, store.transaction() as connection:
        connection.exec_driver_sql(statement)


def age_coverage(sandbox: Sandbox) -> None:
    """Set the cut-off of the notes back by ten days."""
    change_facts(sandbox, "UPDATE facts.coverage SET as_of_micros = as_of_micros - 10 * 86400 * 1000000")


def break_store(sandbox: Sandbox) -> None:
    """Drop the table of notes: each look-up fails with a message that quotes the request."""
    change_facts(sandbox, "ALTER TABLE facts.note RENAME TO gone")


STALE = [
    Call("setad", CHECK_NOTE, check(serial=UNKNOWN), Reason.DATA_STALE),
    Call("setad", VERIFY_NOTE, verify(serial=UNKNOWN), Reason.DATA_STALE),
]
WITHOUT_TABLE = [
    Call("setad", CHECK_NOTE, check(), Reason.STORE_UNAVAILABLE),
    Call("setad", GET_NOTE_PARTIES, parties(), Reason.STORE_UNAVAILABLE),
    Call("setad", VERIFY_NOTE, verify(), Reason.STORE_UNAVAILABLE),
]
WITHOUT_LEDGER = [Call("setad", CHECK_NOTE, check(), Reason.STORE_UNAVAILABLE)]
PROVIDER_STOPPED = [Call("setad", VERIFY_NOTE, verify(), Reason.PROVIDER_UNAVAILABLE)]


@dataclass
class Evidence:
    """Everything that three real processes sent, logged, counted or stored."""

    ends: list[str]
    received: bytes
    logs: dict[str, bytes]
    metrics: dict[str, bytes]
    ledgers: dict[str, bytes]


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    sandbox = create_sandbox(tmp_path_factory.mktemp("canaries") / "suite")
    services = {
        name: ServiceProcess(name, sandbox, environ={f"ESTELAM_{name.upper()}_LOG_LEVEL": "debug"}) for name in SERVICES
    }
    with contextlib.ExitStack() as running:
        for service in services.values():
            running.callback(service.launch().stop)
        connections = Connections(
            sandbox, {name: f"localhost:{service.wait().port}" for name, service in services.items()}
        )
        ends = connections.make(*CALLS)
        age_coverage(sandbox)
        ends += connections.make(*STALE)
        break_store(sandbox)
        ends += connections.make(*WITHOUT_TABLE)
        with without_ledger(sandbox):
            ends += connections.make(*WITHOUT_LEDGER)
        metrics = {name: scrape(service) for name, service in services.items()}
        services["promissory"].kill()
        ends += connections.make(*PROVIDER_STOPPED)
    return Evidence(
        ends,
        b"\n".join(connections.received),
        {name: service.log.read_bytes() for name, service in services.items()},
        metrics,
        {name: stored(sandbox, name, "ledger") for name in ("promissory", "judiciary")},
    )


@contextlib.contextmanager
def without_ledger(sandbox: Sandbox) -> Iterator[None]:
    ledger = sandbox.folder / "promissory" / "ledger.db"
    away = ledger.rename(ledger.with_suffix(".away"))
    yield
    away.rename(ledger)


def scrape(service: ServiceProcess) -> bytes:
    events = [json.loads(line) for line in service.log.read_text("utf-8").splitlines() if line.startswith("{")]
    port = next(event["metrics_port"] for event in events if event["event"] == "server.started")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        read: bytes = page.read()
    return read


def stored(sandbox: Sandbox, service: str, half: str) -> bytes:
    """Return the bytes of one database of a store, including its write-ahead log."""
    return b"".join(path.read_bytes() for path in sorted((sandbox.folder / service).glob(f"{half}.db*")))


def test_every_path_ends_as_expected(evidence: Evidence) -> None:
    """Every call of the evidence ends with its expected outcome."""
    assert [call.ends for call in (*CALLS, *STALE, *WITHOUT_TABLE, *WITHOUT_LEDGER, *PROVIDER_STOPPED)] == evidence.ends


def test_refusals_hold_no_identifier(evidence: Evidence) -> None:
    """No refusal contains an identifier of its request."""
    assert b"QUOTA_EXHAUSTED" in evidence.received
    assert [] == leaks(evidence.received, (*CANARIES, "CANARY"))


@pytest.mark.parametrize("service", SERVICES)
def test_logs_hold_no_identifier(evidence: Evidence, service: str) -> None:
    """No log contains an identifier of a request, even at level debug."""
    assert b"inquiry.answered" in evidence.logs[service]
    assert [] == leaks(evidence.logs[service], (*CANARIES, "CANARY"))


@pytest.mark.parametrize("service", SERVICES)
def test_metrics_hold_no_identifier(evidence: Evidence, service: str) -> None:
    """No metric contains an identifier of a request."""
    assert b"estelam_inquiries_total" in evidence.metrics[service]
    assert [] == leaks(evidence.metrics[service], (*CANARIES, "CANARY"))


@pytest.mark.parametrize("service", ["promissory", "judiciary"])
def test_ledger_holds_no_identifier(evidence: Evidence, service: str) -> None:
    """No ledger contains an identifier of a request in any readable form."""
    assert ORGANIZATIONS["stranger"].encode() in evidence.ledgers[service]
    assert [] == leaks(evidence.ledgers[service])


def test_search_detects_identifiers(tmp_path: Path) -> None:
    """The search for identifiers finds each form that it looks for."""
    sandbox = create_sandbox(tmp_path / "suite")
    held = {SERIAL, OBLIGOR, HOLDER, *NAMES}

    assert held <= set(leaks(stored(sandbox, "promissory", "facts")))
    assert [SERIAL] == leaks(SERIAL.encode().hex().upper().encode())
    assert [SERIAL] == leaks(int(SERIAL).to_bytes(8, "little"))
    assert [NAMES[3]] == leaks(json.dumps(NAMES[3]).encode())


def failing_lookup(_reading: object, inquiries: Sequence[Inquiry]) -> NoReturn:
    """Fail with an error whose message quotes the request."""
    raise ValueError(str([inquiry.request for inquiry in inquiries]))


def test_log_events_of_faults_hold_no_identifier(tmp_path: Path, start: Start) -> None:
    """No log event within the process contains an identifier, not even that of a fault whose message quotes one."""
    sandbox = create_sandbox(tmp_path / "suite")
    settings = sandbox.promissory(listen="127.0.0.1:0", shutdown_delay_seconds=0)
    with capture_logs() as events:
        promissory = start(promissory_opening(sandbox, shutdown_delay_seconds=0))
        adapter = sandbox.setad(
            listen="127.0.0.1:0",
            provider=promissory.address,
            shutdown_delay_seconds=0,
            provider_certificates=(sandbox.pki / "judiciary-receipts.crt",),  # no promissory receipt verifies under it
        )
        addresses = {"promissory": promissory.address, "setad": start(lambda: run_adapter(adapter)).address}
        addresses["judiciary"] = start(judiciary_opening(sandbox, shutdown_delay_seconds=0)).address
        connections = Connections(sandbox, addresses)
        connections.make(*CALLS)
        promissory.close()
        faulty = start(lambda: run_recording_service(settings, {CHECK_METHOD: failing_lookup}, NoteRecallSource()))
        connections.addresses = addresses | {"promissory": faulty.address}
        fault = connections.make(Call("setad", CHECK_NOTE, check(), Reason.SERVICE_FAILED))

    assert [Reason.SERVICE_FAILED] == fault
    assert {"inquiry.answered", "inquiry.refused", "batch.failed", "receipt.rejected"} <= {e["event"] for e in events}
    assert [] == leaks(json.dumps(events, ensure_ascii=False, default=str).encode(), (*CANARIES, "CANARY"))
    assert [] == leaks(b"\n".join(connections.received), (*CANARIES, "CANARY"))
