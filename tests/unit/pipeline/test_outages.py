"""Announced outages: the file and who is out by it, and a real service before, within and after its own."""

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
from tools.env.sandbox import Sandbox

NOON = datetime(2026, 12, 3, 12, tzinfo=UTC)
OUT = (grpc.StatusCode.UNAVAILABLE, Reason.OUTAGE_ANNOUNCED)
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outages.toml"


def left(path: Path, at: datetime, service: str = PROMISSORY) -> float | None:
    time = Time()
    time.passed = at - datetime.now(UTC)
    found = OutageSchedule(path, time.clock).remaining_seconds(service)
    return None if found is None else round(found)


def test_an_outage_holds_from_its_first_instant_to_before_its_end_for_its_service_alone(path: Path) -> None:
    publish(path, outage(PROMISSORY, NOON, NOON + HOUR))

    assert [None, 3600, 1, None] == [
        left(path, NOON + offset) for offset in (-SECOND, timedelta(), HOUR - SECOND, HOUR + SECOND)
    ]
    assert left(path, NOON, JUDICIARY) is None


def test_outages_that_meet_are_one_in_whatever_order_they_stand(path: Path) -> None:
    spans = [(2, 4), (0, 1), (1, 2), (5, 6)]
    publish(path, *(outage(PROMISSORY, NOON + a * HOUR, NOON + b * HOUR) for a, b in spans))

    assert 4 * 3600 == left(path, NOON)
    assert left(path, NOON + 4 * HOUR + SECOND) is None


def test_what_is_written_is_read_again_word_for_word(path: Path) -> None:
    told = outage(PROMISSORY, NOON, NOON + HOUR)
    publish(path, told)

    assert [told] == OutageTable.load(path).outage
    assert [path] == list(path.parent.iterdir())


GOOD = f'[[outage]]\nservice = "{PROMISSORY}"\nfrom = 2026-12-03T12:00:00Z\nuntil = 2026-12-03T13:00:00Z\n'
GOOD += 'reason_fa = "نگهداشت"\nreason_en = "maintenance"\n'
BROKEN = {
    "half of it": GOOD[:40],
    "no TOML": "announced: yes",
    "no UTF-8": "\udcff",
    "an unknown key": GOOD + "why = 1\n",
    "no zone": GOOD.replace("13:00:00Z", "13:00:00"),
    "a text for a time": GOOD.replace("2026-12-03T13:00:00Z", '"2026-12-03T13:00:00Z"'),
    "a number for a time": GOOD.replace("2026-12-03T13:00:00Z", "7"),
    "an impossible time": GOOD.replace("12-03T13", "13-03T13"),
    "an end before its beginning": GOOD.replace("T13", "T11"),
    "an end in its beginning": GOOD.replace("T13", "T12"),
    "years": GOOD.replace("2026-12-03T13", "2062-12-03T13"),
    "no service's name": GOOD.replace(PROMISSORY, "promissory-note-inquiry"),
    "no reason": GOOD.replace("maintenance", ""),
    "a reason without end": GOOD.replace("maintenance", "x" * 10_000),
    "a mebibyte and more": GOOD + "#" * (1 << 20),
    "lists within lists": "a = " + "[" * 10_000,
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_file_that_cannot_be_meant_is_refused_with_its_name(path: Path, text: str) -> None:
    path.write_text(GOOD, "utf-8")
    assert 1 == len(OutageTable.load(path).outage)
    path.write_text(text, "utf-8", "surrogateescape")

    with pytest.raises(OutageError, match=r"outages\.toml: "):
        OutageTable.load(path)


def test_what_cannot_be_read_changes_nothing_and_is_logged(path: Path) -> None:
    time = Time()
    outages = OutageSchedule(path, time.clock)
    with capture_logs() as quiet:
        before = outages.remaining_seconds(PROMISSORY)
    publish(path, outage(PROMISSORY, time.began - HOUR, time.began + HOUR))
    time.passed += 2 * SECOND
    within = outages.remaining_seconds(PROMISSORY)
    kept = []
    for change in (lambda: path.write_text(GOOD[:40], "utf-8"), path.unlink):
        change()
        time.passed += 2 * SECOND
        with capture_logs() as logs:
            kept.append(outages.remaining_seconds(PROMISSORY))
        assert ["outages.unreadable"] == [line["event"] for line in logs]
    publish(path)
    time.passed += 2 * SECOND

    assert (None, []) == (before, quiet)
    assert within is not None
    assert None not in kept
    assert outages.remaining_seconds(PROMISSORY) is None


def test_the_setting_names_a_file_beside_the_settings_and_may_be_missing(sandbox: Sandbox) -> None:
    assert sandbox.folder / "outages.toml" == sandbox.promissory().outages
    given = {**sandbox.environ, "ESTELAM_PROMISSORY_OUTAGES": "/elsewhere/outages.toml"}
    assert Path("/elsewhere/outages.toml") == load_settings(PromissorySettings, environ=given).outages
    assert OutageSchedule(None, Time().clock).remaining_seconds(PROMISSORY) is None


class House:
    """The promissory service, its file of outages, and the time they live in."""

    def __init__(self, sandbox: Sandbox, start: Start) -> None:
        self.sandbox, self.time = sandbox, Time()
        self.first = self.time.began + HOUR
        self.end = self.first + 4 * HOUR
        publish(sandbox.folder / "outages.toml", outage(PROMISSORY, self.first, self.end))
        self.service: RunningService = start(promissory_opening(sandbox, self.time.clock, shutdown_delay_seconds=0))

    def health(self) -> list[int]:
        """Of the service by its name, and of the whole server."""
        with plain_channel(self.service.address, ClientIdentity.named(self.sandbox.pki, "setad")) as opened:
            stub = HealthStub(opened)  # type: ignore[no-untyped-call]
            return [stub.Check(HealthCheckRequest(service=name), timeout=10).status for name in (PROMISSORY, "")]

    def says(self, *statuses: int) -> bool:
        return until(lambda: self.health() == list(statuses))


@pytest.fixture
def house(loaded: Sandbox, start: Start) -> House:
    return House(loaded, start)


@pytest.fixture
def stub(house: House) -> Iterator[Any]:
    with plain_channel(house.service.address, ClientIdentity.named(house.sandbox.pki, "setad")) as opened:
        yield PromissoryNoteInquiryServiceStub(opened)


@pytest.mark.timeout(120)
def test_a_service_answers_before_its_outage_refuses_within_and_answers_after(house: House, stub: Any) -> None:
    before = (stub.CheckNote(NOTE, timeout=10).answer, house.says(SERVING, SERVING))
    house.time.go_to(house.first)
    within = refusal(lambda: stub.CheckNote(NOTE, timeout=10))
    # Whoever brings calls should go on: nobody else can tell callers until when.
    out = house.says(NOT_SERVING, SERVING)
    house.time.go_to(house.end)
    after = (stub.CheckNote(NOTE, timeout=10).answer, house.says(SERVING, SERVING))

    assert (ANSWER_YES, True) == before == after
    assert (OUT, True) == (within, out)


def test_a_caller_is_told_until_when_and_its_grpc_not_to_try_by_itself(house: House, stub: Any) -> None:
    house.time.go_to(house.first)
    with pytest.raises(grpc.RpcError) as caught:
        stub.CheckNote(NOTE, timeout=10)
    told = from_grpc(caught.value)
    still = (house.end - house.time.clock.now()).total_seconds()
    metadata: Any = caught.value.trailing_metadata()
    trailers = dict(metadata)

    assert told is not None
    assert told.retry_seconds is not None
    assert 0 <= told.retry_seconds - still <= RETRY_SPREAD_SECONDS + 2
    assert "-1" == trailers["grpc-retry-pushback-ms"]
    assert {"estelam-inquiry-id", "ratelimit", "ratelimit-policy"} <= trailers.keys()
    assert error_details_pb2.RetryInfo.DESCRIPTOR.full_name.encode() in trailers["grpc-status-details-bin"]


def test_within_an_outage_who_may_not_ask_or_asks_wrongly_is_told_that_as_ever(house: House, stub: Any) -> None:
    house.time.go_to(house.first)
    with plain_channel(house.service.address, ClientIdentity.named(house.sandbox.pki, "stranger")) as opened:
        stranger = refusal(lambda: PromissoryNoteInquiryServiceStub(opened).CheckNote(NOTE, timeout=10))
    malformed = refusal(lambda: stub.CheckNote(pb.CheckNoteRequest(serial="1"), timeout=10))

    assert (grpc.StatusCode.PERMISSION_DENIED, Reason.NOT_GRANTED) == stranger
    assert (grpc.StatusCode.INVALID_ARGUMENT, Reason.FIELD_INVALID) == malformed


def test_a_refusal_within_an_outage_stands_in_the_ledger(house: House, stub: Any) -> None:
    stub.CheckNote(NOTE, timeout=10)
    house.time.go_to(house.first)
    refusal(lambda: stub.CheckNote(NOTE, timeout=10))

    assert ["", "OUTAGE_ANNOUNCED"] == ledger_reasons(house.sandbox.promissory().store)


@pytest.mark.timeout(120)
def test_within_its_outage_a_service_whose_store_is_gone_says_so_all_the_same(house: House, stub: Any) -> None:
    facts = house.sandbox.folder / "promissory"
    house.time.go_to(house.first)
    facts.rename(facts.with_name("moved"))
    refusals = {refusal(lambda: stub.CheckNote(NOTE, timeout=10)) for _ in range(3)}
    whole = house.says(NOT_SERVING, SERVING)
    house.time.go_to(house.end)
    over = house.says(NOT_SERVING, NOT_SERVING)
    facts.with_name("moved").rename(facts)

    assert {OUT} == refusals
    assert (True, True) == (whole, over)
    assert house.says(SERVING, SERVING)


@pytest.mark.timeout(120)
def test_our_own_client_takes_the_word_and_does_not_wait_for_hours(house: House) -> None:
    house.time.go_to(house.first)
    with channel(house.service.address, ClientIdentity.named(house.sandbox.pki, "setad")) as opened:
        told = refusal(lambda: PromissoryNoteInquiryServiceStub(opened).CheckNote(NOTE, timeout=20))

    assert OUT == told
    assert ["OUTAGE_ANNOUNCED"] == ledger_reasons(house.sandbox.promissory().store)


@pytest.mark.timeout(120)
def test_an_outage_that_is_ended_early_or_announced_late_is_followed_within_moments(house: House, stub: Any) -> None:
    now = house.time.began
    path = house.sandbox.folder / "outages.toml"
    publish(path, outage(PROMISSORY, now - HOUR, now + HOUR))
    late = until(lambda: house.health() == [NOT_SERVING, SERVING]), refusal(lambda: stub.CheckNote(NOTE, timeout=10))
    publish(path)
    early = house.says(SERVING, SERVING), stub.CheckNote(NOTE, timeout=10).answer

    assert (True, OUT) == late
    assert (True, ANSWER_YES) == early
