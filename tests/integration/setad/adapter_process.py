"""The adapter with its faces on HTTP, for tests: where they are, and what a caller over mTLS needs."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from sataad_adapter.service import adapter
from tests.support.service import RunningService
from tools.env.processes import free_ports
from tools.env.sandbox import Sandbox

GENUINE = {
    "serial": "1404000000000017",
    "obligorId": "9990000018",
    "beneficiaryId": "99000554330",
    "amountRials": "2500000000",
    "executiveAgencyId": "SETAD-0001",
}


@dataclass(frozen=True, slots=True)
class Faces:
    """Where the adapter's faces are."""

    page: str
    api: str
    service: RunningService


@contextmanager
def faces(sandbox: Sandbox, provider: str, **overrides: object) -> Iterator[Faces]:
    """A running adapter with both faces."""
    ports = free_ports("page", "api")
    listens = {f"{name}_listen": f"127.0.0.1:{port}" for name, port in ports.items()}
    settings = sandbox.setad(listen="127.0.0.1:0", provider=provider, **(listens | overrides))
    with RunningService(lambda: adapter(settings)) as service:
        yield Faces(f"http://localhost:{ports['page']}", f"https://localhost:{ports['api']}", service)


def client(sandbox: Sandbox, name: str) -> httpx.Client:
    """An HTTP client with the certificate *name*."""
    return caller(sandbox.pki / "ca.crt", sandbox.pki / f"{name}.crt")


def caller(trust: Path, certificate: Path | None) -> httpx.Client:
    """An HTTP client with *certificate* and the key beside it, or with none."""
    tls = ssl.create_default_context(cafile=trust)
    if certificate:
        tls.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return httpx.Client(verify=tls, trust_env=False)
