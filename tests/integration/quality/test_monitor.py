"""Attribution of failed probes of real services."""

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from development import sandbox as suite
from development.sandbox import GRANTS, MINISTRY, Sandbox
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.catalogue import loader
from estelam.core.clock import Clock
from quality.attribution import Attribution, TransportFailure, attribution_of
from quality.monitor import environment, prober
from quality.monitor.environment import ClockReading
from quality.monitor.prober import ProbeRun
from quality.records import MetricsSample, Probe
from tests.conftest import judiciary_opening, promissory_opening
from tests.integration.quality.conftest import AGENCY, CBI, CHECK_NOTE, SETAD
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
from tools.env.repository import ROOT

pytestmark = pytest.mark.timeout(180)

ANSWERED = (None, "")
REFUSED = (Attribution.PROVIDER, "CONNECTION_REFUSED")
FROZEN = (Attribution.PROVIDER, "SERVICE_FROZEN")
CHECKS = [("CheckNote", SETAD), ("GetNoteParties", SETAD), ("CheckNote", AGENCY)]
LONG_AGO = datetime.now(UTC) - timedelta(days=30)


def unused_address() -> str:
    """An address without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


def untrusted_certificate(folder: Path, *, hosts: tuple[str, ...] = ()) -> Path:
    """A certificate from an authority that the services don't trust."""
    return DevCertificateAuthority.create(folder / "elsewhere").issue("setad", [SETAD], hosts=hosts)


def test_documented_attribution() -> None:
    """The attribution table in docs/quality-rules.md agrees with the code."""
    words = (ROOT / "docs" / "quality-rules.md").read_text("utf-8")
    found = dict(re.findall(r"^\|[^|]*\| `([A-Z_]+)` \| (\w+) \|$", words, re.MULTILINE))

    assert set(TransportFailure) <= set(found)
    assert {reason: attribution_of(reason) for reason in found} == found


def test_answered_probes(
    shared: Sandbox, promissory: RunningService, judiciary: RunningService, tmp_path: Path
) -> None:
    """A probe that is answered has no fault, and the service reports SERVING."""
    settings = settings_of(shared, tmp_path, {NOTES: promissory.address, CASES: judiciary.address})
    for address in settings.addresses.values():
        wait_until_healthy(shared, address)
    monitor_rounds(settings)

    cases = [("CheckByNationalId", CBI), ("CheckByTrackingId", CBI)]
    assert dict.fromkeys(CHECKS + cases, ANSWERED) == probe_results(settings)
    assert {NOTES: "SERVING", CASES: "SERVING"} == {name: one.health for name, one in last_samples(settings).items()}


def test_unreachable_service(shared: Sandbox, judiciary: RunningService, tmp_path: Path) -> None:
    """A crashed service, whose host refuses connections, counts to its provider, and other probes go on."""
    settings = settings_of(shared, tmp_path, {NOTES: unused_address(), CASES: judiciary.address})
    monitor_rounds(settings)

    found = probe_results(settings)
    assert [REFUSED] * 3 == [found[check] for check in CHECKS]
    assert ANSWERED == found["CheckByNationalId", CBI]
    assert "" == last_samples(settings)[NOTES].health


@pytest.mark.slow
def test_silent_socket(shared: Sandbox, judiciary: RunningService, tmp_path: Path) -> None:
    """A server that accepts TCP and sends nothing is frozen, which counts to its provider."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        addresses = {NOTES: f"127.0.0.1:{silent.getsockname()[1]}", CASES: judiciary.address}
        settings = settings_of(shared, tmp_path, addresses, probe_seconds=3.0)
        monitor_rounds(settings)

    found = probe_results(settings)
    assert [FROZEN] * 3 == [found[check] for check in CHECKS]
    assert ANSWERED == found["CheckByNationalId", CBI]


@pytest.mark.parametrize("reason", ["CERTIFICATE_UNUSABLE", "CERTIFICATE_EXPIRED"])
def test_rejected_client_certificate(shared: Sandbox, promissory: RunningService, tmp_path: Path, reason: str) -> None:
    """A probe whose own certificate every service rejects measures nothing, and is nobody's failure."""
    certificate = (
        expired_certificate(shared, "setad-expired", SETAD)
        if reason == "CERTIFICATE_EXPIRED"
        else untrusted_certificate(tmp_path)
    )
    probes = (probe_identity("setad", certificate), probe_identity("sample-agency", shared.pki / "agency.crt"))
    settings = settings_of(shared, tmp_path, {NOTES: promissory.address}, probe=probes)
    monitor_rounds(settings)

    assert {("CheckNote", AGENCY): ANSWERED} == probe_results(settings)


def test_all_paths_down(shared: Sandbox, tmp_path: Path) -> None:
    """Services of several providers that are unreachable together count to the exchange, one alone to nobody yet."""
    settings = settings_of(shared, tmp_path, {})
    catalogue = loader.read_catalogue(settings.catalogue)
    fault, reason = attribution_of(TransportFailure.UNREACHABLE), TransportFailure.UNREACHABLE

    def unreachable(service: str) -> ProbeRun:
        return ProbeRun((Probe(7, CHECK_NOTE, SETAD, fault, reason),), MetricsSample(7, service), ())

    for services, expected in (((NOTES, CASES), Attribution.EXCHANGE), ((NOTES, NOTES), Attribution.UNKNOWN)):
        runs = prober.attribute_to_path([unreachable(one) for one in services], catalogue)
        assert [expected] * 2 == [one.fault for run in runs for one in run.probes]


@pytest.mark.parametrize("fault", ["clock set", "clock of all services", "authorities", "names"])
def test_own_environment(shared: Sandbox, promissory: RunningService, tmp_path: Path, fault: str) -> None:
    """While the monitor's own clock, trust or resolver is wrong, it measures nothing and blames nobody."""
    settings = settings_of(shared, tmp_path, {NOTES: promissory.address})
    clock, torn = Clock(), tmp_path / "torn.crt"
    torn.write_bytes(b"-----BEGIN CERTIFICATE-----")
    before = ClockReading(clock.micros() - 3_600_000_000 * (fault == "clock set"), clock.monotonic())
    differences = [90.0, 100.0] if fault == "clock of all services" else [90.0, -1.0]
    changes: dict[str, dict[str, Any]] = {
        "authorities": {"ca_certificates": torn},
        "names": {"addresses": {NOTES: "no-such-host.invalid:1"}},
    }

    def problem(**changed: Any) -> str:
        given = settings.model_copy(update=changed)
        return asyncio.run(environment.find_problem(given, clock, before=before, differences=differences))

    assert problem(**changes.get(fault, {}))
    before, differences = ClockReading.of(clock), [90.0, -1.0]
    assert "" == problem()


def test_unreadable_client_certificate(shared: Sandbox, promissory: RunningService, tmp_path: Path) -> None:
    """An unreadable client certificate yields no result and does not stop other probes."""
    torn = tmp_path / "torn.crt"
    torn.write_bytes((shared.pki / "setad.crt").read_bytes()[:100])
    torn.with_suffix(".key").write_bytes((shared.pki / "setad.key").read_bytes())
    probes = (probe_identity("setad", torn), probe_identity("sample-agency", shared.pki / "agency.crt"))
    settings = settings_of(shared, tmp_path, {NOTES: promissory.address}, probe=probes)
    monitor_rounds(settings)

    assert {("CheckNote", AGENCY): ANSWERED} == probe_results(settings)


def test_expired_server_certificate(sandbox: Sandbox, tmp_path: Path) -> None:
    """An expired server certificate counts to the provider."""
    certificate = expired_certificate(sandbox, "promissory-late", MINISTRY, hosts=("localhost", "127.0.0.1"))
    own: dict[str, Any] = {"certificate": certificate, "private_key": certificate.with_suffix(".key")}
    with RunningService(promissory_opening(sandbox, shutdown_delay_seconds=0, **own)) as service:
        settings = settings_of(sandbox, tmp_path, {NOTES: service.address})
        monitor_rounds(settings)

    assert dict.fromkeys(CHECKS, (Attribution.PROVIDER, "SERVICE_CERTIFICATE_EXPIRED")) == probe_results(settings)


def test_untrusted_server_certificate(sandbox: Sandbox, tmp_path: Path) -> None:
    """Of an untrusted server certificate it is not known whose fault it is."""
    certificate = untrusted_certificate(tmp_path, hosts=("localhost", "127.0.0.1"))
    own: dict[str, Any] = {"certificate": certificate, "private_key": certificate.with_suffix(".key")}
    with RunningService(promissory_opening(sandbox, shutdown_delay_seconds=0, **own)) as service:
        settings = settings_of(sandbox, tmp_path, {NOTES: service.address})
        monitor_rounds(settings)

    assert dict.fromkeys(CHECKS, (Attribution.UNKNOWN, "SERVICE_UNPROVEN")) == probe_results(settings)


def test_healthy_service_without_answer(shared: Sandbox, silent_service: str, tmp_path: Path) -> None:
    """A service that reports its health and does not answer counts to its provider."""
    settings = settings_of(shared, tmp_path, {NOTES: silent_service}, probe_seconds=2.0)
    monitor_rounds(settings)

    assert dict.fromkeys(CHECKS, (Attribution.PROVIDER, "SERVICE_SILENT")) == probe_results(settings)


def test_refusal_reason(sandbox: Sandbox, tmp_path: Path) -> None:
    """A refused probe has the reason that the service gave."""
    with RunningService(judiciary_opening(sandbox, shutdown_delay_seconds=0)) as service:  # without data
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
def test_separate_refusals(
    loaded: Sandbox, tmp_path: Path, grants: list[tuple[str, str, str]], burst: int, fault: Attribution, reason: str
) -> None:
    """Refusals for grants and quotas have attributions of their own."""
    suite.write_access(loaded, grants, rate=0.001, burst=burst)
    with RunningService(promissory_opening(loaded, shutdown_delay_seconds=0)) as service:
        settings = settings_of(loaded, tmp_path, {NOTES: service.address})
        monitor_rounds(settings, rounds=2)

    assert (fault, reason) == probe_results(settings)["CheckNote", AGENCY]


def expired_certificate(sandbox: Sandbox, name: str, organization: str, *, hosts: tuple[str, ...] = ()) -> Path:
    """An expired certificate from the sandbox's authority."""
    authority = DevCertificateAuthority(sandbox.pki)
    return authority.issue(name, [organization], hosts=hosts, since=LONG_AGO, lifetime=timedelta(days=1))


@pytest.fixture
def silent_service(shared: Sandbox) -> Iterator[str]:
    """Address of a service with the ministry's certificate that reports SERVING and answers no call."""

    def never(_request: bytes, context: grpc.ServicerContext) -> bytes:
        gone = threading.Event()
        if context.add_callback(gone.set):
            gone.wait(30)
        return b""

    with fake_service(shared, never) as address:
        yield address
