"""Announced outages: the file, the schedule, and a real service before, during and after its own outage."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from structlog.testing import capture_logs

from development.sandbox import Sandbox
from estelam.client.channel import ClientIdentity, channel
from estelam.core.errors import Reason
from estelam.core.grpc_status import from_grpc
from estelam.core.settings import load_settings
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from estelam.pipeline.outages import RETRY_SPREAD_SECONDS, OutageError, OutageSchedule, OutageTable
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from promissory.settings import PromissorySettings
from tests.conftest import Start, plain_channel, promissory_opening
from tests.e2e.conftest import NOTE, refusal
from tests.e2e.test_serving import until
from tests.support.outages import HOUR, JUDICIARY, PROMISSORY, SECOND, Time, ledger_reasons, outage, publish
from tests.support.service import RunningService

NOON = datetime(2026, 12, 3, 12, tzinfo=UTC)
REFUSED = (grpc.StatusCode.UNAVAILABLE, Reason.OUTAGE_ANNOUNCED)
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outages.toml"


def remaining(path: Path, at: datetime, service: str = PROMISSORY) -> float | None:
    time = Time()
    time.passed = at - datetime.now(UTC)
    found = OutageSchedule(path, time.clock).remaining_seconds(service)
    return None if found is None else round(found)


def test_outage_includes_begin_and_excludes_end(path: Path) -> None:
    """An outage applies to its own service only, from its begin (inclusive) to its end (exclusive)."""
    publish(path, outage(PROMISSORY, NOON, NOON + HOUR))

    assert [None, 3600, 1, None] == [
        remaining(path, NOON + offset) for offset in (-SECOND, timedelta(), HOUR - SECOND, HOUR + SECOND)
    ]
    assert remaining(path, NOON, JUDICIARY) is None


def test_adjacent_outages_are_one(path: Path) -> None:
    """Adjacent outages count as one, in any order in the file."""
    spans = [(2, 4), (0, 1), (1, 2), (5, 6)]
    publish(path, *(outage(PROMISSORY, NOON + a * HOUR, NOON + b * HOUR) for a, b in spans))

    assert 4 * 3600 == remaining(path, NOON)
    assert remaining(path, NOON + 4 * HOUR + SECOND) is None


def test_saved_file_loads_unchanged(path: Path) -> None:
    """A saved table loads unchanged, and saving leaves no draft behind."""
    refused = outage(PROMISSORY, NOON, NOON + HOUR)
    publish(path, refused)

    assert [refused] == OutageTable.load(path).outage
    assert [path] == list(path.parent.iterdir())


VALID = f'[[outage]]\nservice = "{PROMISSORY}"\nfrom = 2026-12-03T12:00:00Z\nuntil = 2026-12-03T13:00:00Z\n'
VALID += 'reason_fa = "نگهداشت"\nreason_en = "maintenance"\n'
INVALID = {
    "truncated": VALID[:40],
    "not TOML": "announced: yes",
    "not UTF-8": "\udcff",
    "an unknown key": VALID + "why = 1\n",
    "no zone": VALID.replace("13:00:00Z", "13:00:00"),
    "another string as time": VALID.replace("2026-12-03T13:00:00Z", '"soon"'),
    "a date as time": VALID.replace("2026-12-03T13:00:00Z", "2026-12-04"),
    "a year of two digits": VALID.replace("2026-12-03T13:00:00Z", '"26-12-03T13:00:00Z"'),
    "a year of no calendar": VALID.replace("2026", "0626"),
    "an impossible Jalali day": VALID.replace("2026-12-03", "1405-12-30"),
    "a number as time": VALID.replace("2026-12-03T13:00:00Z", "7"),
    "an impossible time": VALID.replace("12-03T13", "13-03T13"),
    "end before begin": VALID.replace("T13", "T11"),
    "end equals begin": VALID.replace("T13", "T12"),
    "too long": VALID.replace("2026-12-03T13", "2062-12-03T13"),
    "invalid service name": VALID.replace(PROMISSORY, "promissory-note-inquiry"),
    "no reason": VALID.replace("maintenance", ""),
    "reason too long": VALID.replace("maintenance", "x" * 10_000),
    "larger than 1 MiB": VALID + "#" * (1 << 20),
    "deeply nested": "a = " + "[" * 10_000,
}


@pytest.mark.parametrize("written", ["1405-09-12T{}Z", '"1405/9/12 {}Z"', '"۱۴۰۵-۰۹-۱۲T{}+00:00"', '"2026-12-03T{}Z"'])
def test_times_in_either_calendar(path: Path, written: str) -> None:
    """Times may be Jalali, as TOML's own or as text."""
    text = VALID.replace("2026-12-03T12:00:00Z", written.format("12:00:00"))
    path.write_text(text.replace("2026-12-03T13:00:00Z", written.format("13:00:00")), "utf-8")

    [outage] = OutageTable.load(path).outage

    noon = datetime(2026, 12, 3, 12, tzinfo=UTC)
    assert (noon, noon + HOUR) == (outage.since, outage.until)


@pytest.mark.parametrize("text", INVALID.values(), ids=INVALID)
def test_invalid_file_raises(path: Path, text: str) -> None:
    """An invalid file raises OutageError with the file's name."""
    path.write_text(VALID, "utf-8")
    assert 1 == len(OutageTable.load(path).outage)
    path.write_text(text, "utf-8", "surrogateescape")

    with pytest.raises(OutageError, match=r"outages\.toml: "):
        OutageTable.load(path)


def test_unreadable_file_keeps_last_content(path: Path) -> None:
    """A file that becomes unreadable or is deleted leaves the last outages in force, and is logged."""
    time = Time()
    outages = OutageSchedule(path, time.clock)
    with capture_logs() as quiet:
        before = outages.remaining_seconds(PROMISSORY)
    publish(path, outage(PROMISSORY, time.began - HOUR, time.began + HOUR))
    time.passed += 2 * SECOND
    within = outages.remaining_seconds(PROMISSORY)
    remaining_each = []
    for change in (lambda: path.write_text(VALID[:40], "utf-8"), path.unlink):
        change()
        time.passed += 2 * SECOND
        with capture_logs() as logs:
            remaining_each.append(outages.remaining_seconds(PROMISSORY))
        assert ["outages.unreadable"] == [line["event"] for line in logs]
    publish(path)
    time.passed += 2 * SECOND

    assert (None, []) == (before, quiet)
    assert within is not None
    assert None not in remaining_each
    assert outages.remaining_seconds(PROMISSORY) is None


def test_service_beside_another(path: Path) -> None:
    """A service without outages of its own is in operation exactly when the one is whose process serves it."""
    time = Time()
    publish(path, outage(PROMISSORY, time.began - HOUR, time.began + HOUR))
    outages = OutageSchedule(path, time.clock, {"a.v1.Beside": PROMISSORY})

    assert None not in {outages.remaining_seconds(service) for service in (PROMISSORY, "a.v1.Beside")}
    assert outages.remaining_seconds("a.v1.Other") is None


def test_outages_setting(sandbox: Sandbox) -> None:
    """The setting `outages` is relative to the settings file; the file may be missing."""
    assert sandbox.folder / "outages.toml" == sandbox.promissory().outages
    given = {**sandbox.environ, "ESTELAM_PROMISSORY_OUTAGES": "/elsewhere/outages.toml"}
    assert Path("/elsewhere/outages.toml") == load_settings(PromissorySettings, environ=given).outages
    assert OutageSchedule(None, Time().clock).remaining_seconds(PROMISSORY) is None


class ServiceUnderTest:
    """The promissory service with its file of outages and a clock that the test sets."""

    def __init__(self, sandbox: Sandbox, start: Start) -> None:
        self.sandbox, self.time = sandbox, Time()
        self.first = self.time.began + HOUR
        self.end = self.first + 4 * HOUR
        publish(sandbox.folder / "outages.toml", outage(PROMISSORY, self.first, self.end))
        self.running: RunningService = start(promissory_opening(sandbox, self.time.clock, shutdown_delay_seconds=0))

    def health(self) -> list[int]:
        """Return the health of the service and of the whole server."""
        with plain_channel(self.running.address, ClientIdentity.named(self.sandbox.pki, "setad")) as opened:
            stub = HealthStub(opened)  # type: ignore[no-untyped-call]
            return [stub.Check(HealthCheckRequest(service=name), timeout=10).status for name in (PROMISSORY, "")]

    def reports(self, *statuses: int) -> bool:
        return until(lambda: self.health() == list(statuses))


@pytest.fixture
def service(loaded: Sandbox, start: Start) -> ServiceUnderTest:
    return ServiceUnderTest(loaded, start)


@pytest.fixture
def stub(service: ServiceUnderTest) -> Iterator[Any]:
    with plain_channel(service.running.address, ClientIdentity.named(service.sandbox.pki, "setad")) as opened:
        yield PromissoryNoteInquiryServiceStub(opened)


@pytest.mark.timeout(120)
def test_service_refuses_during_outage(service: ServiceUnderTest, stub: Any) -> None:
    """A service answers before its outage, refuses during it and answers after it; health follows."""
    before = (stub.CheckNote(NOTE, timeout=10).answer, service.reports(SERVING, SERVING))
    service.time.go_to(service.first)
    within = refusal(lambda: stub.CheckNote(NOTE, timeout=10))
    # Load balancers should keep sending calls: only the service can tell when the outage ends.
    out = service.reports(NOT_SERVING, SERVING)
    service.time.go_to(service.end)
    after = (stub.CheckNote(NOTE, timeout=10).answer, service.reports(SERVING, SERVING))

    assert (ANSWER_YES, True) == before == after
    assert (REFUSED, True) == (within, out)


def test_refusal_has_retry_delay_and_forbids_automatic_retry(service: ServiceUnderTest, stub: Any) -> None:
    """The refusal states when to retry and forbids automatic retries by gRPC."""
    service.time.go_to(service.first)
    with pytest.raises(grpc.RpcError) as caught:
        stub.CheckNote(NOTE, timeout=10)
    refused = from_grpc(caught.value)
    still = (service.end - service.time.clock.now()).total_seconds()
    metadata: Any = caught.value.trailing_metadata()
    trailers = dict(metadata)

    assert refused is not None
    assert refused.retry_seconds is not None
    assert 0 <= refused.retry_seconds - still <= RETRY_SPREAD_SECONDS + 2
    assert "-1" == trailers["grpc-retry-pushback-ms"]
    assert {"estelam-inquiry-id", "ratelimit", "ratelimit-policy"} <= trailers.keys()
    assert error_details_pb2.RetryInfo.DESCRIPTOR.full_name.encode() in trailers["grpc-status-details-bin"]


def test_other_refusals_come_first_during_outage(service: ServiceUnderTest, stub: Any) -> None:
    """During an outage an unauthorized or malformed call is still refused for that reason."""
    service.time.go_to(service.first)
    with plain_channel(service.running.address, ClientIdentity.named(service.sandbox.pki, "stranger")) as opened:
        stranger = refusal(lambda: PromissoryNoteInquiryServiceStub(opened).CheckNote(NOTE, timeout=10))
    malformed = refusal(lambda: stub.CheckNote(pb.CheckNoteRequest(serial="1"), timeout=10))

    assert (grpc.StatusCode.PERMISSION_DENIED, Reason.NOT_GRANTED) == stranger
    assert (grpc.StatusCode.INVALID_ARGUMENT, Reason.FIELD_INVALID) == malformed


def test_outage_refusal_is_recorded(service: ServiceUnderTest, stub: Any) -> None:
    """A refusal during an outage is recorded in the ledger."""
    stub.CheckNote(NOTE, timeout=10)
    service.time.go_to(service.first)
    refusal(lambda: stub.CheckNote(NOTE, timeout=10))

    assert ["", "OUTAGE_ANNOUNCED"] == ledger_reasons(service.sandbox.promissory().store)


@pytest.mark.timeout(120)
def test_outage_is_reported_without_store(service: ServiceUnderTest, stub: Any) -> None:
    """During its outage a service whose store is gone still reports the outage."""
    facts = service.sandbox.folder / "promissory"
    service.time.go_to(service.first)
    facts.rename(facts.with_name("moved"))
    refusals = {refusal(lambda: stub.CheckNote(NOTE, timeout=10)) for _ in range(3)}
    whole = service.reports(NOT_SERVING, SERVING)
    service.time.go_to(service.end)
    over = service.reports(NOT_SERVING, NOT_SERVING)
    facts.with_name("moved").rename(facts)

    assert {REFUSED} == refusals
    assert (True, True) == (whole, over)
    assert service.reports(SERVING, SERVING)


@pytest.mark.timeout(120)
def test_client_does_not_retry_during_outage(service: ServiceUnderTest) -> None:
    """Our own client returns the refusal at once and does not retry."""
    service.time.go_to(service.first)
    with channel(service.running.address, ClientIdentity.named(service.sandbox.pki, "setad")) as opened:
        refused = refusal(lambda: PromissoryNoteInquiryServiceStub(opened).CheckNote(NOTE, timeout=20))

    assert REFUSED == refused
    assert ["OUTAGE_ANNOUNCED"] == ledger_reasons(service.sandbox.promissory().store)


@pytest.mark.timeout(120)
def test_changed_file_applies_soon(service: ServiceUnderTest, stub: Any) -> None:
    """An outage that is announced late or ended early applies within seconds."""
    now = service.time.began
    path = service.sandbox.folder / "outages.toml"
    publish(path, outage(PROMISSORY, now - HOUR, now + HOUR))
    late = until(lambda: service.health() == [NOT_SERVING, SERVING]), refusal(lambda: stub.CheckNote(NOTE, timeout=10))
    publish(path)
    early = service.reports(SERVING, SERVING), stub.CheckNote(NOTE, timeout=10).answer

    assert (True, REFUSED) == late
    assert (True, ANSWER_YES) == early
