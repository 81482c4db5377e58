"""Promise 8: who and what is asked about stands in no log, no metric, no refusal and no column of a ledger."""

import contextlib
import csv
import json
import sqlite3
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest
from structlog.testing import capture_logs

from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.client.channel import ClientIdentity
from estelam.core.errors import Reason
from estelam.core.grpc_status import from_grpc
from estelam.core.model import Inquiry
from estelam.core.settings import StoreSettings
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as cases
from estelam.loading.feed import CoverageDeclaration, Feed
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.server.service import run_recording_service
from estelam.setad.v1 import note_verification_pb2 as setad
from judiciary import feeds as judiciary_load
from promissory import feeds as promissory_load
from promissory.methods import CHECK_NOTE as CHECK_METHOD
from sataad_adapter.service import run_adapter
from tests.conftest import Start, judiciary_opening, plain_channel, promissory_opening
from tools.env import sandbox as suite
from tools.env.processes import SERVICES, ServiceProcess, free_ports
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

# Nothing here is like anything else in a log or a store: whatever is found of it has leaked.
SERIAL, UNKNOWN = "1405662607550143", "1405662607559971"
OBLIGOR, HOLDER, FOREIGNER = "9997382919", "99007382912", "973829104655"
TRACKING, UNKNOWN_TRACKING = "738291046557382914", "738291046557382969"
AMOUNT = 7_382_915_036
NAMES = ("Canary Obligorson", "Canary Holderson", "Canary Street 7741", "قناری نمونه", "9902847561")
PURPOSE = {"x-inquiry-id": "canary-inquiry", "x-case-reference": "canary-case", "x-operator": "canary-operator"}
DIGITS = (SERIAL, UNKNOWN, OBLIGOR, HOLDER, FOREIGNER, TRACKING, UNKNOWN_TRACKING, str(AMOUNT))
CANARIES = (*DIGITS, *NAMES, *PURPOSE.values())
# The one field of a request that a ledger keeps as it is: an agency is no person.
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
class Way:
    """One way through the house: who asks what, and how it ends."""

    caller: str
    method: str
    request: bytes
    ends: str = OK
    metadata: Mapping[str, str] = field(default_factory=lambda: PURPOSE)


WAYS = [
    Way("setad", CHECK_NOTE, check()),
    Way("setad", CHECK_NOTE, check(serial=UNKNOWN, beneficiary_id=FOREIGNER)),
    Way("setad", GET_NOTE_PARTIES, parties()),
    Way("setad", VERIFY_NOTE, verify()),
    Way("setad", VERIFY_NOTE, verify(serial=UNKNOWN)),
    Way("cbi", CHECK_BY_NATIONAL_ID, person(OBLIGOR)),
    Way("cbi", CHECK_BY_TRACKING_ID, cheque(TRACKING)),
    Way("cbi", CHECK_BY_NATIONAL_ID, person(FOREIGNER), Reason.COVERAGE_UNDECLARED),
    Way("cbi", CHECK_BY_TRACKING_ID, cheque(UNKNOWN_TRACKING), Reason.COVERAGE_UNDECLARED),
    Way("setad", GET_NOTE_PARTIES, parties(serial=UNKNOWN), Reason.NOTE_NOT_CONFIRMED),
    Way("setad", GET_NOTE_PARTIES, parties(agency=STRANGE_AGENCY), Reason.AGENCY_NOT_MEMBER),
    Way("setad", VERIFY_NOTE, verify(agency=STRANGE_AGENCY), Reason.AGENCY_NOT_MEMBER),
    Way("setad", CHECK_NOTE, check(serial=SERIAL + "X", obligor_id=OBLIGOR + "1"), Reason.FIELD_INVALID),
    Way("setad", GET_NOTE_PARTIES, parties(agency=f"{OBLIGOR} {STRANGE_AGENCY}"), Reason.FIELD_INVALID),
    Way("setad", VERIFY_NOTE, verify(serial=SERIAL[:-1], amount_rials=-AMOUNT), Reason.FIELD_INVALID),
    Way("cbi", CHECK_BY_NATIONAL_ID, person(f"{OBLIGOR}\n"), Reason.FIELD_INVALID),
    Way("cbi", CHECK_BY_TRACKING_ID, cheque(f"IR{TRACKING}"), Reason.FIELD_INVALID),
    Way("setad", CHECK_NOTE, check() + b"\x7a\x0a" + OBLIGOR.encode(), Reason.FIELD_UNKNOWN),
    Way("setad", CHECK_NOTE, SERIAL.encode(), Reason.REQUEST_MALFORMED),
    Way("cbi", CHECK_BY_NATIONAL_ID, OBLIGOR.encode() * 500, Reason.REQUEST_TOO_LARGE),
    Way("stranger", CHECK_NOTE, check(), Reason.NOT_GRANTED),
    Way("agency", GET_NOTE_PARTIES, parties(), Reason.NOT_GRANTED),
    Way("stranger", VERIFY_NOTE, verify(), Reason.NOT_GRANTED),
    Way("setad", CHECK_BY_NATIONAL_ID, person(OBLIGOR), Reason.NOT_GRANTED),
    Way("two names", CHECK_NOTE, check(), Reason.CERTIFICATE_UNUSABLE),
    Way("setad", f"{CHECK_NOTE}{OBLIGOR}", check(), Reason.METHOD_UNKNOWN),
    Way("setad", CHECK_NOTE, check(), Reason.METADATA_MALFORMED, {"x-operator": f"{OBLIGOR} canary-operator"}),
    Way(
        "stranger", CHECK_BY_TRACKING_ID, cheque(TRACKING), Reason.METADATA_REQUIRED, {"x-operator": "canary-operator"}
    ),
    Way("agency", CHECK_NOTE, check()),
    Way("agency", CHECK_NOTE, check(), Reason.QUOTA_EXHAUSTED),
    Way("setad", CHECK_NOTE, check(), "RESOURCE_EXHAUSTED", {"x-operator": "canary-operator" * 1000}),
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
demands = ["x-case-reference"]
"""


def furnish(folder: Path) -> Sandbox:
    """A suite whose stores hold what is asked about here."""
    sandbox = suite.create_sandbox(folder, ports=free_ports("promissory", "judiciary", "setad"))
    suite.write_access(sandbox, [grant for grant in GRANTS if grant[0] != "agency"], rate=100, burst=1000)
    with sandbox.access.open("a", encoding="utf-8") as table:
        table.write(MORE_GRANTS)
    DevCertificateAuthority(sandbox.pki).issue("two names", [OBLIGOR + "0", HOLDER])
    load(sandbox.promissory(), promissory_load.MEMBERS, {"agency_id": AGENCY, "name": NAMES[3]})
    load_note(sandbox, datetime.now(UTC))
    case = {"case_number": "1", "kind": "CIVIL", "filed_on": "2025-01-01", "registered_at": "2025-01-01T00:00:00Z"}
    load(
        sandbox.judiciary(),
        judiciary_load.CASES,
        case | {"tracking_id": TRACKING, "national_id": OBLIGOR, "role": "DRAWER"},
    )
    return sandbox


def load_note(sandbox: Sandbox, through: datetime, *, replace: bool = False) -> None:
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
    load(sandbox.promissory(), promissory_load.NOTES, row, CoverageDeclaration(through=through), replace=replace)


def load(
    store: StoreSettings,
    feed: Feed,
    row: Mapping[str, Any],
    declaration: CoverageDeclaration | None = None,
    *,
    replace: bool = False,
) -> None:
    path = Path(store.store.removeprefix("sqlite:///")) / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, feed.columns)
        writer.writeheader()
        writer.writerow(row)
    suite.load_file(store, feed, path, declaration, replace=replace)
    path.unlink()


@dataclass
class Doors:
    """Connections of every caller to every service, and all that was said through them but for the answers."""

    sandbox: Sandbox
    addresses: Mapping[str, str]
    said: list[bytes] = field(default_factory=list)

    def walk(self, *ways: Way) -> list[str]:
        """How each of *ways* ends."""
        return [self._ask(way) for way in ways]

    def _ask(self, path: Way) -> str:
        service = path.method.split(".")[1]
        with plain_channel(self.addresses[service], ClientIdentity.named(self.sandbox.pki, path.caller)) as channel:
            rpc: Any = channel.unary_unary(f"/{path.method}")
            call = rpc.future(path.request, timeout=20, metadata=list(path.metadata.items()))
            refusal = None if call.exception() is None else from_grpc(call.exception())
            self._hear(path, call)
            return refusal.reason if refusal else call.code().name

    def _hear(self, path: Way, call: Any) -> None:
        self.said.append(f"{call.code()} {call.details()}".encode())
        for key, value in (*call.initial_metadata(), *call.trailing_metadata()):
            # The caller's own id of the inquiry comes back to it, and to no one else.
            if (key, value) != ("x-inquiry-id", path.metadata.get("x-inquiry-id")):
                self.said += [key.encode(), value if isinstance(value, bytes) else value.encode()]


def leaks(haystack: bytes, canaries: Sequence[str] = CANARIES) -> list[str]:
    """Those of *canaries* that stand in *haystack*: as text, escaped, as hexadecimal digits, or packed."""
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


def break_store(sandbox: Sandbox) -> None:
    """Take the table of notes away: each look-up fails with a text that quotes what was asked."""
    with contextlib.closing(sqlite3.connect(sandbox.folder / "promissory" / "facts.db")) as connection, connection:
        connection.execute("ALTER TABLE note RENAME TO gone")


STALE = [
    Way("setad", CHECK_NOTE, check(serial=UNKNOWN), Reason.DATA_STALE),
    Way("setad", VERIFY_NOTE, verify(serial=UNKNOWN), Reason.DATA_STALE),
]
BROKEN = [
    Way("setad", CHECK_NOTE, check(), Reason.STORE_UNAVAILABLE),
    Way("setad", GET_NOTE_PARTIES, parties(), Reason.STORE_UNAVAILABLE),
    Way("setad", VERIFY_NOTE, verify(), Reason.STORE_UNAVAILABLE),
]
UNLEDGERED = [Way("setad", CHECK_NOTE, check(), Reason.STORE_UNAVAILABLE)]
DEAD = [Way("setad", VERIFY_NOTE, verify(), Reason.PROVIDER_UNAVAILABLE)]


@dataclass
class Evidence:
    """All that three real processes let out of the house."""

    ends: list[str]
    said: bytes
    logs: dict[str, bytes]
    metrics: dict[str, bytes]
    ledgers: dict[str, bytes]


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    sandbox = furnish(tmp_path_factory.mktemp("canaries") / "suite")
    services = {
        name: ServiceProcess(name, sandbox, environ={f"ESTELAM_{name.upper()}_LOG_LEVEL": "debug"}) for name in SERVICES
    }
    with contextlib.ExitStack() as running:
        for service in services.values():
            running.callback(service.launch().stop)
        doors = Doors(sandbox, {name: f"localhost:{service.wait().port}" for name, service in services.items()})
        ends = doors.walk(*WAYS)
        load_note(sandbox, datetime.now(UTC) - timedelta(days=10), replace=True)
        ends += doors.walk(*STALE)
        break_store(sandbox)
        ends += doors.walk(*BROKEN)
        with unledgered(sandbox):
            ends += doors.walk(*UNLEDGERED)
        metrics = {name: scrape(service) for name, service in services.items()}
        services["promissory"].kill()
        ends += doors.walk(*DEAD)
    return Evidence(
        ends,
        b"\n".join(doors.said),
        {name: service.log.read_bytes() for name, service in services.items()},
        metrics,
        {name: stored(sandbox, name, "ledger") for name in ("promissory", "judiciary")},
    )


@contextlib.contextmanager
def unledgered(sandbox: Sandbox) -> Iterator[None]:
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
    """The bytes of one half of a store, its log of what is not yet written back included."""
    return b"".join(path.read_bytes() for path in sorted((sandbox.folder / service).glob(f"{half}.db*")))


def test_every_path_through_the_house_ends_as_it_should(evidence: Evidence) -> None:
    assert [path.ends for path in (*WAYS, *STALE, *BROKEN, *UNLEDGERED, *DEAD)] == evidence.ends


def test_no_refusal_quotes_what_was_asked(evidence: Evidence) -> None:
    assert b"QUOTA_EXHAUSTED" in evidence.said
    assert [] == leaks(evidence.said, (*CANARIES, "CANARY"))


@pytest.mark.parametrize("service", SERVICES)
def test_no_log_names_what_was_asked_even_at_its_most_talkative(evidence: Evidence, service: str) -> None:
    assert b"inquiry.answered" in evidence.logs[service]
    assert [] == leaks(evidence.logs[service], (*CANARIES, "CANARY"))


@pytest.mark.parametrize("service", SERVICES)
def test_no_metric_counts_people(evidence: Evidence, service: str) -> None:
    assert b"estelam_inquiries_total" in evidence.metrics[service]
    assert [] == leaks(evidence.metrics[service], (*CANARIES, "CANARY"))


@pytest.mark.parametrize("service", ["promissory", "judiciary"])
def test_no_ledger_holds_what_was_asked_in_any_form_that_can_be_read(evidence: Evidence, service: str) -> None:
    assert ORGANIZATIONS["stranger"].encode() in evidence.ledgers[service]
    assert [] == leaks(evidence.ledgers[service])


def test_what_is_searched_with_finds_what_is_there(tmp_path: Path) -> None:
    sandbox = furnish(tmp_path / "suite")
    held = {SERIAL, OBLIGOR, HOLDER, *NAMES}

    assert held <= set(leaks(stored(sandbox, "promissory", "facts")))
    assert [SERIAL] == leaks(SERIAL.encode().hex().upper().encode())
    assert [SERIAL] == leaks(int(SERIAL).to_bytes(8, "little"))
    assert [NAMES[3]] == leaks(json.dumps(NAMES[3]).encode())


def quoting(_reading: object, inquiries: Sequence[Inquiry]) -> NoReturn:
    """A look-up with a fault whose text quotes what was asked."""
    raise ValueError(str([inquiry.request for inquiry in inquiries]))


def test_no_event_within_the_process_names_what_was_asked_not_even_a_fault(tmp_path: Path, start: Start) -> None:
    sandbox = furnish(tmp_path / "suite")
    settings = sandbox.promissory(listen="127.0.0.1:0", shutdown_delay_seconds=0)
    with capture_logs() as events:
        ministry = start(promissory_opening(sandbox, shutdown_delay_seconds=0))
        doubting = sandbox.setad(
            listen="127.0.0.1:0",
            provider=ministry.address,
            shutdown_delay_seconds=0,
            provider_certificates=(sandbox.pki / "judiciary-receipts.crt",),  # of which no promissory receipt is
        )
        addresses = {"promissory": ministry.address, "setad": start(lambda: run_adapter(doubting)).address}
        addresses["judiciary"] = start(judiciary_opening(sandbox, shutdown_delay_seconds=0)).address
        doors = Doors(sandbox, addresses)
        doors.walk(*WAYS)
        ministry.close()
        faulty = start(lambda: run_recording_service(settings, {CHECK_METHOD: quoting}))
        doors.addresses = addresses | {"promissory": faulty.address}
        fault = doors.walk(Way("setad", CHECK_NOTE, check(), Reason.SERVICE_FAILED))

    assert [Reason.SERVICE_FAILED] == fault
    assert {"inquiry.answered", "inquiry.refused", "batch.failed", "provider.unproven"} <= {e["event"] for e in events}
    assert [] == leaks(json.dumps(events, ensure_ascii=False, default=str).encode(), (*CANARIES, "CANARY"))
    assert [] == leaks(b"\n".join(doors.said), (*CANARIES, "CANARY"))
