"""Announced outages of the ministry and of the adapter, over gRPC, REST and the web UI."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from development.sandbox import Sandbox
from estelam.client.channel import ClientIdentity, channel
from estelam.core.clock import TEHRAN
from estelam.core.errors import Reason
from estelam.core.grpc_status import from_grpc
from estelam.setad.v1 import note_verification_pb2 as pb
from estelam.setad.v1.note_verification_pb2_grpc import NoteVerificationServiceStub
from tests.conftest import Start, promissory_opening
from tests.e2e.test_serving import NOT_SERVING, SERVING, health, until
from tests.integration.setad.adapter_process import GENUINE, Adapter, https_client_named, running_adapter
from tests.integration.setad.test_officer_ui import ask, open_browser, verdict
from tests.support.outages import HOUR, PROMISSORY, VERIFICATION, outage, publish

REQUEST = pb.VerifyNoteRequest(
    serial="1404000000000017",
    obligor_id="9990000018",
    beneficiary_id="99000554330",
    amount_rials=2_500_000_000,
    executive_agency_id="SETAD-0001",
)


@contextmanager
def adapter_in_outage(sandbox: Sandbox, start: Start, service: str) -> Iterator[tuple[Adapter, datetime]]:
    """Run the adapter and its ministry while *service* is in an announced outage; yield the adapter and its end."""
    end = datetime.now(UTC).replace(second=0, microsecond=0) + 4 * HOUR
    publish(sandbox.folder / "outages.toml", outage(service, end - 5 * HOUR, end))
    ministry = start(promissory_opening(sandbox, shutdown_delay_seconds=0))
    with running_adapter(sandbox, ministry.address, shutdown_delay_seconds=0) as adapter:
        yield adapter, end


@pytest.fixture(params=[PROMISSORY, VERIFICATION], ids=["the ministry's", "its own"])
def adapter(loaded: Sandbox, start: Start, request: pytest.FixtureRequest) -> Iterator[tuple[Adapter, datetime]]:
    with adapter_in_outage(loaded, start, request.param) as running:
        yield running


def ends_at(seconds: float, end: datetime) -> bool:
    """Return whether *seconds* from now is *end*, or at most a minute later."""
    return timedelta() <= datetime.now(UTC) + timedelta(seconds=seconds) - end < timedelta(minutes=1)


@pytest.mark.timeout(120)
def test_outage_on_grpc_and_rest(loaded: Sandbox, adapter: tuple[Adapter, datetime]) -> None:
    """During an outage gRPC and REST give no answer, and a retry delay until its end."""
    running, end = adapter
    with channel(running.service.address, ClientIdentity.named(loaded.pki, "setad")) as grpc_channel:
        with pytest.raises(grpc.RpcError) as caught:
            NoteVerificationServiceStub(grpc_channel).VerifyNote(REQUEST, timeout=20)
        refusal = from_grpc(caught.value)
        trailers: Any = caught.value.trailing_metadata()
    with https_client_named(loaded, "setad") as setad:
        response = setad.post(f"{running.api}/v1/notes:verify", json=GENUINE)

    assert refusal is not None
    assert Reason.OUTAGE_ANNOUNCED == refusal.reason
    assert ends_at(refusal.retry_seconds or 0, end)
    assert {"grpc-retry-pushback-ms": "-1"}.items() <= dict(trailers).items()
    assert (503, "OUTAGE_ANNOUNCED", "service") == (
        response.status_code,
        response.json()["reason"],
        response.json()["layer"],
    )
    assert ends_at(response.json()["retry_seconds"], end)
    assert ends_at(int(response.headers["retry-after"]), end)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("language", ["fa", "en"])
def test_outage_in_web_ui(adapter: tuple[Adapter, datetime], language: str) -> None:
    """During an outage the web UI shows its end in Iran's time."""
    running, end = adapter
    with open_browser(running) as browser:
        response = ask(browser, language=language)
    clock = f"{end.astimezone(TEHRAN):%H:%M}"
    shown = clock if language == "en" else clock.translate({ord(str(n)): chr(0x06F0 + n) for n in range(10)})

    assert (503, "none alert") == (response.status_code, verdict(response))
    assert shown in response.text
    assert ends_at(int(response.headers["retry-after"]), end)


@pytest.mark.timeout(120)
def test_health_in_outages(loaded: Sandbox, adapter: tuple[Adapter, datetime], request: pytest.FixtureRequest) -> None:
    """Health is NOT_SERVING in the adapter's own outage and SERVING in the ministry's."""
    own = "[its own]" in request.node.name
    address = adapter[0].service.address

    # In the ministry's outage the adapter serves, to return the refusal.
    assert until(lambda: health(loaded, address) == SERVING)
    assert until(lambda: health(loaded, address, VERIFICATION) == (NOT_SERVING if own else SERVING))
