"""Refusals of every kind are paced and charged to their caller, and logged within a limit."""

import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest

from development import sandbox as suite
from development.sandbox import Sandbox
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.auth.rate_limit import Throttle
from estelam.client.channel import ClientIdentity
from estelam.core.errors import Reason
from estelam.core.grpc_status import from_grpc
from tests.conftest import Start, plain_channel, promissory_opening
from tests.e2e.conftest import NOTE
from tests.integration.setad.adapter_process import GENUINE, Adapter, https_client_named, running_adapter
from tests.support.certificates import write_flipped

pytestmark = pytest.mark.slow

CHECK_NOTE, HEALTH = f"/{suite.CHECK_NOTE}", "/grpc.health.v1.Health/Check"
BURST = 5
TIMES = 4

Kind = tuple[str, str, bytes, tuple[tuple[str, str], ...], Reason | None]
KINDS: dict[str, Kind] = {
    "no grant": ("stranger", CHECK_NOTE, NOTE.SerializeToString(), (), Reason.NOT_GRANTED),
    "malformed": ("setad", CHECK_NOTE, b"\xff", (), Reason.REQUEST_MALFORMED),
    "invalid": ("setad", CHECK_NOTE, b"", (), Reason.FIELD_INVALID),
    "too large": ("setad", CHECK_NOTE, bytes(5000), (), Reason.REQUEST_TOO_LARGE),
    "bad metadata": (
        "setad",
        CHECK_NOTE,
        NOTE.SerializeToString(),
        (("x-inquiry-id", "="),),
        Reason.METADATA_MALFORMED,
    ),
    "no organisation": ("nobody", CHECK_NOTE, NOTE.SerializeToString(), (), Reason.CERTIFICATE_UNUSABLE),
    "forged proxy": (
        "stranger",
        CHECK_NOTE,
        NOTE.SerializeToString(),
        (("x-forwarded-client-cert", "Hash=1"),),
        Reason.CERTIFICATE_UNUSABLE,
    ),
    "unknown method": ("stranger", "/estelam.Unknown/Method", b"", (), Reason.METHOD_UNKNOWN),
    "health": ("stranger", HEALTH, HealthCheckRequest(service="unknown").SerializeToString(), (), None),
}


def refusals(sandbox: Sandbox, address: str, kind: Kind, times: int) -> list[Reason | None]:
    """The reasons of *times* refusals of a *kind*, one after the other."""
    name, method, request, metadata, _ = kind
    found = []
    with plain_channel(address, ClientIdentity.named(sandbox.pki, name)) as opened:
        call: Callable[..., bytes] = opened.unary_unary(method)
        for _ in range(times):
            with pytest.raises(grpc.RpcError) as caught:
                call(request, timeout=30, metadata=metadata)
            refusal = from_grpc(caught.value)
            found.append(refusal.reason if refusal else None)
    return found


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Counter[Hashable]:
    """How many turns each caller has taken."""
    taken: Counter[Hashable] = Counter()
    delay = Throttle.delay

    def counted(throttle: Throttle, caller: Hashable, most: float) -> float:
        taken[caller] += 1
        return delay(throttle, caller, most)

    monkeypatch.setattr(Throttle, "delay", counted)
    return taken


@pytest.fixture
def with_nobody(loaded: Sandbox) -> Sandbox:
    """A sandbox with a certificate that names no organisation."""
    DevCertificateAuthority(loaded.pki).issue("nobody", [], lifetime=timedelta(days=1))
    return loaded


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_every_refusal_is_paced(with_nobody: Sandbox, start: Start, turns: Counter[Hashable], kind: Kind) -> None:
    """A refusal of any kind takes its turn among those of its caller, and so does the health of the service."""
    service = start(promissory_opening(with_nobody))

    assert [kind[-1]] * TIMES == refusals(with_nobody, service.address, kind, TIMES)
    assert [TIMES] == list(turns.values())


@pytest.mark.parametrize("kind", ["no grant", "no organisation", "unknown method", "health"])
def test_rewritten_certificate_has_no_turn_of_its_own(
    with_nobody: Sandbox, start: Start, turns: Counter[Hashable], kind: str
) -> None:
    """Refusals of a certificate whose issuer's signature was rewritten take the turns of the original."""
    service = start(promissory_opening(with_nobody))
    name, *rest = KINDS[kind]
    rewritten = write_flipped(with_nobody.pki / f"{name}.crt").stem
    for certificate in (name, rewritten):
        refusals(with_nobody, service.address, (certificate, *rest), TIMES)  # type: ignore[arg-type]

    assert [2 * TIMES] == list(turns.values())


JSON = {"content-type": "application/json"}
OTHER_SITE = {"origin": "https://example.com"}
WEB: dict[str, tuple[str, str, str, dict[str, Any], int]] = {
    "JSON, not JSON": ("api", "POST", "/v1/notes:verify", {"content": b"{", "headers": JSON}, 400),
    "JSON, another type": ("api", "POST", "/v1/notes:verify", {"content": b"{}"}, 400),
    "JSON, a query": ("api", "POST", "/v1/notes:verify?a=1", {"json": GENUINE}, 400),
    "JSON, missing fields": ("api", "POST", "/v1/notes:verify", {"json": {}}, 400),
    "JSON, another path": ("api", "POST", "/v1/notes", {"json": GENUINE}, 404),
    "JSON, another method": ("api", "GET", "/v1/notes:verify", {}, 405),
    "page, missing fields": ("page", "POST", "/en/", {"data": {"serial": "1"}}, 400),
    "page, another path": ("page", "GET", "/en/nothing", {}, 404),
    "page, another method": ("page", "PUT", "/en/", {}, 404),
    "page, another site's form": ("page", "POST", "/en/", {"data": {"serial": "1"}, "headers": OTHER_SITE}, 403),
    "page, no receipt": ("page", "POST", "/en/receipt", {"data": {"receipt": "1"}}, 400),
    "page, no list": ("page", "POST", "/en/batch", {"data": {"list": "1"}}, 400),
    "page, another host": ("page", "GET", "/en/", {"headers": {"host": "example.com"}}, 400),
}
INQUIRIES = [kind for kind in WEB if kind.startswith("JSON") and WEB[kind][-1] == 400] + ["page, missing fields"]


def responses(sandbox: Sandbox, adapter: Adapter, kind: str, times: int) -> list[int]:
    """The HTTP status of *times* requests of a *kind*, one after the other."""
    face, method, path, more, _ = WEB[kind]
    base = adapter.api if face == "api" else adapter.page
    headers = {} if face == "api" else {"origin": base}
    with https_client_named(sandbox, "setad") as client:
        more = more | {"headers": headers | more.get("headers", {})}
        client.follow_redirects = True  # from a form to its result
        return [client.request(method, base + path, **more).status_code for _ in range(times)]


@pytest.fixture
def adapter(loaded: Sandbox) -> Iterator[Adapter]:
    """An adapter whose callers have few tokens."""
    suite.write_access(loaded, suite.GRANTS, rate=0.001, burst=BURST)
    with running_adapter(loaded, "127.0.0.1:1") as running:
        yield running


@pytest.mark.parametrize("kind", WEB)
def test_every_refused_request_is_paced(loaded: Sandbox, adapter: Adapter, turns: Counter[Hashable], kind: str) -> None:
    """A refusal of any kind takes its turn on the HTTP faces too, exactly once."""
    assert [WEB[kind][-1]] * TIMES == responses(loaded, adapter, kind, TIMES)
    assert [TIMES] == list(turns.values())


@pytest.mark.parametrize("kind", INQUIRIES)
def test_refused_inquiries_are_charged(loaded: Sandbox, adapter: Adapter, kind: str) -> None:
    """A granted caller pays for inquiries over HTTP that are refused, and has no debt after many of them."""
    refused = responses(loaded, adapter, kind, 2 * BURST)
    with https_client_named(loaded, "setad") as client:
        answer = client.post(f"{adapter.api}/v1/notes:verify", json=GENUINE).json()

    assert [400] * 2 * BURST == refused
    assert Reason.QUOTA_EXHAUSTED == answer["reason"]


@pytest.mark.parametrize("name", ["malformed", "invalid", "too large", "bad metadata"])
def test_refused_requests_are_charged(with_nobody: Sandbox, start: Start, name: str) -> None:
    """A granted caller pays for requests that are refused, and has no debt after many of them."""
    suite.write_access(with_nobody, suite.GRANTS, rate=0.001, burst=BURST)
    service = start(promissory_opening(with_nobody))
    refused = refusals(with_nobody, service.address, KINDS[name], 2 * BURST)
    valid: Kind = ("setad", CHECK_NOTE, NOTE.SerializeToString(), (), None)

    assert [KINDS[name][-1]] * 2 * BURST == refused
    assert [Reason.QUOTA_EXHAUSTED] == refusals(with_nobody, service.address, valid, 1)


def test_logged_refusals_are_limited(loaded: Sandbox, start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    """Beyond the limit of a caller refusals are counted, and the next line of the log states how many."""
    service = start(promissory_opening(loaded, refusal_record_rate_per_second=0.001, refusal_record_burst=BURST))
    refusals(loaded, service.address, KINDS["no grant"], 3 * BURST)
    refusals(loaded, service.address, KINDS["malformed"], 1)
    output = capsys.readouterr()
    lines = [line for line in (output.out + output.err).splitlines() if "inquiry.refused" in line]

    assert len(lines) == BURST + 1
    assert f"unlogged={2 * BURST}" in lines[-1] or json.loads(lines[-1])["unlogged"] == 2 * BURST
