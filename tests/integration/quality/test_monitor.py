"""Attribution of failed probes of real services."""

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
from tools.env.repository import ROOT

pytestmark = pytest.mark.timeout(180)

ANSWERED = (None, "")
UNREACHABLE = (Attribution.EXCHANGE, "UNREACHABLE")
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

    assert set(TransportFailure) < set(found)
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
    """An unreachable service counts to the exchange and does not affect probes of others."""
    settings = settings_of(shared, tmp_path, {NOTES: unused_address(), CASES: judiciary.address})
    monitor_rounds(settings)

    found = probe_results(settings)
    assert [UNREACHABLE] * 3 == [found[check] for check in CHECKS]
    assert ANSWERED == found["CheckByNationalId", CBI]
    assert "" == last_samples(settings)[NOTES].health


@pytest.mark.slow
def test_silent_socket(shared: Sandbox, judiciary: RunningService, tmp_path: Path) -> None:
    """A server that accepts TCP and sends nothing is unreachable."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        addresses = {NOTES: f"127.0.0.1:{silent.getsockname()[1]}", CASES: judiciary.address}
        settings = settings_of(shared, tmp_path, addresses, probe_seconds=3.0)
        monitor_rounds(settings)

    found = probe_results(settings)
    assert [UNREACHABLE] * 3 == [found[check] for check in CHECKS]
    assert ANSWERED == found["CheckByNationalId", CBI]


@pytest.mark.parametrize("reason", ["CERTIFICATE_UNUSABLE", "CERTIFICATE_EXPIRED"])
def test_rejected_client_certificate(shared: Sandbox, promissory: RunningService, tmp_path: Path, reason: str) -> None:
    """A client certificate that the service rejects counts to its consumer."""
    certificate = (
        expired_certificate(shared, "setad-expired", SETAD)
        if reason == "CERTIFICATE_EXPIRED"
        else untrusted_certificate(tmp_path)
    )
    probes = (probe_identity("setad", certificate), probe_identity("sample-agency", shared.pki / "agency.crt"))
    settings = settings_of(shared, tmp_path, {NOTES: promissory.address}, probe=probes)
    monitor_rounds(settings)

    found = probe_results(settings)
    assert [(Attribution.CONSUMER, reason)] * 2 == [found[check] for check in CHECKS[:2]]
    assert ANSWERED == found["CheckNote", AGENCY]


def test_expired_certificate_and_unreachable_service(shared: Sandbox, tmp_path: Path) -> None:
    """An unreachable service counts to the exchange, even if the client certificate has expired."""
    certificate = expired_certificate(shared, "setad-late", SETAD)
    settings = settings_of(shared, tmp_path, {NOTES: unused_address()}, probe=(probe_identity("setad", certificate),))
    monitor_rounds(settings)

    assert dict.fromkeys(CHECKS[:2], UNREACHABLE) == probe_results(settings)


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
    """An untrusted server certificate counts to the exchange, not to the service."""
    certificate = untrusted_certificate(tmp_path, hosts=("localhost", "127.0.0.1"))
    own: dict[str, Any] = {"certificate": certificate, "private_key": certificate.with_suffix(".key")}
    with RunningService(promissory_opening(sandbox, shutdown_delay_seconds=0, **own)) as service:
        settings = settings_of(sandbox, tmp_path, {NOTES: service.address})
        monitor_rounds(settings)

    assert dict.fromkeys(CHECKS, (Attribution.EXCHANGE, "SERVICE_UNPROVEN")) == probe_results(settings)


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
