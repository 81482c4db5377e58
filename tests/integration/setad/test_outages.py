"""The ministry's announced outage, and the adapter's own, at each face: no answer, and until when there is none."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import httpx
import pytest

from estelam.client.channel import ClientIdentity, channel
from estelam.core.clock import TEHRAN
from estelam.core.errors import Reason
from estelam.core.grpc_status import from_grpc
from estelam.setad.v1 import note_verification_pb2 as pb
from estelam.setad.v1.note_verification_pb2_grpc import NoteVerificationServiceStub
from tests.conftest import Start, promissory_opening
from tests.e2e.test_serving import NOT_SERVING, SERVING, health, until
from tests.integration.setad.adapter_process import GENUINE, Faces, client, faces
from tests.integration.setad.test_officer_page import ask, verdict
from tests.support.outages import HOUR, PROMISSORY, VERIFICATION, outage, publish
from tools.env.sandbox import Sandbox

REQUEST = pb.VerifyNoteRequest(
    serial="1404000000000017",
    obligor_id="9990000018",
    beneficiary_id="99000554330",
    amount_rials=2_500_000_000,
    executive_agency_id="SETAD-0001",
)


@contextmanager
def out(sandbox: Sandbox, start: Start, service: str) -> Iterator[tuple[Faces, datetime]]:
    """The adapter before its ministry, while *service* is out, and until when that is."""
    end = datetime.now(UTC).replace(second=0, microsecond=0) + 4 * HOUR
    publish(sandbox.folder / "outages.toml", outage(service, end - 5 * HOUR, end))
    ministry = start(promissory_opening(sandbox, shutdown_delay_seconds=0))
    with faces(sandbox, ministry.address, shutdown_delay_seconds=0) as office:
        yield office, end


@pytest.fixture(params=[PROMISSORY, VERIFICATION], ids=["the ministry's", "its own"])
def office(loaded: Sandbox, start: Start, request: pytest.FixtureRequest) -> Iterator[tuple[Faces, datetime]]:
    with out(loaded, start, request.param) as found:
        yield found


def lasts(seconds: float, end: datetime) -> bool:
    """Whether so many *seconds* from now is *end*, or little later."""
    return timedelta() <= datetime.now(UTC) + timedelta(seconds=seconds) - end < timedelta(minutes=1)


@pytest.mark.timeout(120)
def test_every_face_says_no_answer_and_until_when(loaded: Sandbox, office: tuple[Faces, datetime]) -> None:
    found, end = office
    with channel(found.service.address, ClientIdentity.named(loaded.pki, "setad")) as opened:
        with pytest.raises(grpc.RpcError) as caught:
            NoteVerificationServiceStub(opened).VerifyNote(REQUEST, timeout=20)
        told = from_grpc(caught.value)
        trailers: Any = caught.value.trailing_metadata()
    with client(loaded, "setad") as setad:
        said = setad.post(f"{found.api}/v1/notes:verify", json=GENUINE)

    assert told is not None
    assert Reason.OUTAGE_ANNOUNCED == told.reason
    assert lasts(told.retry_seconds or 0, end)
    assert {"grpc-retry-pushback-ms": "-1"}.items() <= dict(trailers).items()
    assert (503, "OUTAGE_ANNOUNCED", "service") == (said.status_code, said.json()["reason"], said.json()["layer"])
    assert lasts(said.json()["retry_seconds"], end)
    assert lasts(int(said.headers["retry-after"]), end)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("language", ["fa", "en"])
def test_the_officer_reads_the_minute_on_irans_clocks(office: tuple[Faces, datetime], language: str) -> None:
    found, end = office
    with httpx.Client(base_url=found.page, trust_env=False) as browser:
        response = ask(browser, language=language)
    clock = f"{end.astimezone(TEHRAN):%H:%M}"
    shown = clock if language == "en" else clock.translate({ord(str(n)): chr(0x06F0 + n) for n in range(10)})

    assert (503, "none alert") == (response.status_code, verdict(response))
    assert shown in response.text
    assert lasts(int(response.headers["retry-after"]), end)


@pytest.mark.timeout(120)
def test_health_tells_the_adapters_own_outage_from_its_ministrys(
    loaded: Sandbox, office: tuple[Faces, datetime], request: pytest.FixtureRequest
) -> None:
    own = "[its own]" in request.node.name
    address = office[0].service.address

    # With its ministry out, the adapter is there to say so.
    assert until(lambda: health(loaded, address) == SERVING)
    assert until(lambda: health(loaded, address, VERIFICATION) == (NOT_SERVING if own else SERVING))
