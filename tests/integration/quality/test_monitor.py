"""Through whom an inquiry failed, as probes of real services find it: nobody is blamed for another's fault."""

import re
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from estelam.auth.dev_ca import DevCertificateAuthority
from quality.attribution import Attribution, TransportFailure, attribution_of
from tests.conftest import judiciary_opening, promissory_opening
from tests.integration.quality.conftest import AGENCY, CBI, SETAD
from tests.integration.quality.monitored_services import (
    CASES,
    NOTES,
    fake_service,
    last_samples,
    monitor_rounds,
    probe_identity,
    probe_results,
    settings_of,
    wait_until_healthy,
)
from tests.support.service import RunningService
from tools.env import sandbox as suite
from tools.env.sandbox import GRANTS, MINISTRY, ROOT, Sandbox

pytestmark = pytest.mark.timeout(180)

ANSWERED = (None, "")
GONE = (Attribution.EXCHANGE, "UNREACHABLE")
CHECKS = [("CheckNote", SETAD), ("GetNoteParties", SETAD), ("CheckNote", AGENCY)]
LONG_AGO = datetime.now(UTC) - timedelta(days=30)


def nowhere() -> str:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


def stranger(folder: Path, *, hosts: tuple[str, ...] = ()) -> Path:
    """A certificate of an authority that nobody here knows."""
    return DevCertificateAuthority.create(folder / "elsewhere").issue("setad", [SETAD], hosts=hosts)


def test_the_rules_in_words_count_what_probes_find_to_whom_the_code_does() -> None:
    words = (ROOT / "docs" / "quality-rules.md").read_text("utf-8")
    found = dict(re.findall(r"^\|[^|]*\| `([A-Z_]+)` \| (\w+) \|$", words, re.MULTILINE))

    assert set(TransportFailure) < set(found)
    assert {reason: attribution_of(reason) for reason in found} == found


def test_who_is_granted_a_method_and_answered_finds_it_there(
    shared: Sandbox, promissory: RunningService, judiciary: RunningService, tmp_path: Path
) -> None:
    settings = settings_of(shared, tmp_path, {NOTES: promissory.address, CASES: judiciary.address})
    for address in settings.addresses.values():
        wait_until_healthy(shared, address)
    monitor_rounds(settings)

    cases = [("CheckByNationalId", CBI), ("CheckByTrackingId", CBI)]
    assert dict.fromkeys(CHECKS + cases, ANSWERED) == probe_results(settings)
    assert {NOTES: "SERVING", CASES: "SERVING"} == {name: one.health for name, one in last_samples(settings).items()}


def test_one_that_is_gone_takes_no_other_with_it(shared: Sandbox, judiciary: RunningService, tmp_path: Path) -> None:
    settings = settings_of(shared, tmp_path, {NOTES: nowhere(), CASES: judiciary.address})
    monitor_rounds(settings)

    found = probe_results(settings)
    assert [GONE] * 3 == [found[check] for check in CHECKS]
    assert ANSWERED == found["CheckByNationalId", CBI]
    assert "" == last_samples(settings)[NOTES].health


def test_who_takes_the_connection_and_never_speaks_is_the_way_that_failed(
    shared: Sandbox, judiciary: RunningService, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        addresses = {NOTES: f"127.0.0.1:{silent.getsockname()[1]}", CASES: judiciary.address}
        settings = settings_of(shared, tmp_path, addresses, probe_seconds=3.0)
        monitor_rounds(settings)

    found = probe_results(settings)
    assert [GONE] * 3 == [found[check] for check in CHECKS]
    assert ANSWERED == found["CheckByNationalId", CBI]


@pytest.mark.parametrize("reason", ["CERTIFICATE_UNUSABLE", "CERTIFICATE_EXPIRED"])
def test_a_certificate_that_the_service_turns_away_is_its_consumers_fault(
    shared: Sandbox, promissory: RunningService, tmp_path: Path, reason: str
) -> None:
    shown = expired(shared, "setad-expired", SETAD) if reason == "CERTIFICATE_EXPIRED" else stranger(tmp_path)
    probes = (probe_identity("setad", shown), probe_identity("sample-agency", shared.pki / "agency.crt"))
    settings = settings_of(shared, tmp_path, {NOTES: promissory.address}, probe=probes)
    monitor_rounds(settings)

    found = probe_results(settings)
    assert [(Attribution.CONSUMER, reason)] * 2 == [found[check] for check in CHECKS[:2]]
    assert ANSWERED == found["CheckNote", AGENCY]


def test_an_expired_certificate_is_not_blamed_for_a_service_that_is_gone(shared: Sandbox, tmp_path: Path) -> None:
    shown = expired(shared, "setad-late", SETAD)
    settings = settings_of(shared, tmp_path, {NOTES: nowhere()}, probe=(probe_identity("setad", shown),))
    monitor_rounds(settings)

    assert dict.fromkeys(CHECKS[:2], GONE) == probe_results(settings)


def test_a_certificate_that_cant_be_read_measures_nothing_and_stops_no_other_probe(
    shared: Sandbox, promissory: RunningService, tmp_path: Path
) -> None:
    torn = tmp_path / "torn.crt"
    torn.write_bytes((shared.pki / "setad.crt").read_bytes()[:100])
    torn.with_suffix(".key").write_bytes((shared.pki / "setad.key").read_bytes())
    probes = (probe_identity("setad", torn), probe_identity("sample-agency", shared.pki / "agency.crt"))
    settings = settings_of(shared, tmp_path, {NOTES: promissory.address}, probe=probes)
    monitor_rounds(settings)

    assert {("CheckNote", AGENCY): ANSWERED} == probe_results(settings)


def test_a_services_own_expired_certificate_is_its_providers_fault(sandbox: Sandbox, tmp_path: Path) -> None:
    shown = expired(sandbox, "promissory-late", MINISTRY, hosts=("localhost", "127.0.0.1"))
    own: dict[str, Any] = {"certificate": shown, "private_key": shown.with_suffix(".key")}
    with RunningService(promissory_opening(sandbox, shutdown_delay_seconds=0, **own)) as service:
        settings = settings_of(sandbox, tmp_path, {NOTES: service.address})
        monitor_rounds(settings)

    assert dict.fromkeys(CHECKS, (Attribution.PROVIDER, "SERVICE_CERTIFICATE_EXPIRED")) == probe_results(settings)


def test_whoever_cant_prove_to_be_the_service_is_not_taken_for_it(sandbox: Sandbox, tmp_path: Path) -> None:
    shown = stranger(tmp_path, hosts=("localhost", "127.0.0.1"))
    own: dict[str, Any] = {"certificate": shown, "private_key": shown.with_suffix(".key")}
    with RunningService(promissory_opening(sandbox, shutdown_delay_seconds=0, **own)) as service:
        settings = settings_of(sandbox, tmp_path, {NOTES: service.address})
        monitor_rounds(settings)

    assert dict.fromkeys(CHECKS, (Attribution.EXCHANGE, "SERVICE_UNPROVEN")) == probe_results(settings)


def test_a_service_that_tells_its_health_and_not_the_answer_is_its_providers_fault(
    shared: Sandbox, mute: str, tmp_path: Path
) -> None:
    settings = settings_of(shared, tmp_path, {NOTES: mute}, probe_seconds=2.0)
    monitor_rounds(settings)

    assert dict.fromkeys(CHECKS, (Attribution.PROVIDER, "SERVICE_SILENT")) == probe_results(settings)


def test_what_a_service_says_of_itself_is_taken_at_its_word(sandbox: Sandbox, tmp_path: Path) -> None:
    with RunningService(judiciary_opening(sandbox, shutdown_delay_seconds=0)) as service:  # nothing was ever loaded
        settings = settings_of(sandbox, tmp_path, {CASES: service.address})
        questions = {name: asked for name, asked in settings.probe_requests.items() if "NationalId" in name}
        monitor_rounds(settings.model_copy(update={"probe_requests": questions}))

    assert {("CheckByNationalId", CBI): (Attribution.PROVIDER, "COVERAGE_UNDECLARED")} == probe_results(settings)


@pytest.mark.parametrize(
    ("grants", "burst", "fault", "reason"),
    [
        ([grant for grant in GRANTS if grant[0] != "agency"], 2000, Attribution.UNGRANTED, "NOT_GRANTED"),
        (GRANTS, 1, Attribution.THROTTLED, "QUOTA_EXHAUSTED"),
    ],
    ids=["without a grant", "over quota"],
)
def test_a_refusal_is_an_answer_and_counted_apart(
    loaded: Sandbox, tmp_path: Path, grants: list[tuple[str, str, str]], burst: int, fault: Attribution, reason: str
) -> None:
    suite.write_access(loaded, grants, rate=0.001, burst=burst)
    with RunningService(promissory_opening(loaded, shutdown_delay_seconds=0)) as service:
        settings = settings_of(loaded, tmp_path, {NOTES: service.address})
        monitor_rounds(settings, rounds=2)

    assert (fault, reason) == probe_results(settings)["CheckNote", AGENCY]


def expired(sandbox: Sandbox, name: str, organization: str, *, hosts: tuple[str, ...] = ()) -> Path:
    """A certificate of the sandbox's own authority that was good once."""
    authority = DevCertificateAuthority(sandbox.pki)
    return authority.issue(name, [organization], hosts=hosts, since=LONG_AGO, lifetime=timedelta(days=1))


@pytest.fixture
def mute(shared: Sandbox) -> Iterator[str]:
    """Where a service with the ministry's certificate says that it serves, and answers nothing."""

    def never(_request: bytes, context: grpc.ServicerContext) -> bytes:
        gone = threading.Event()
        if context.add_callback(gone.set):
            gone.wait(30)
        return b""

    with fake_service(shared, never) as address:
        yield address
