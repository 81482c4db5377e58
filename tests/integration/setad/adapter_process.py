"""A running adapter with both HTTP frontends, and HTTPS clients with certificates, for tests."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from development.processes import free_ports
from development.sandbox import Sandbox
from sataad_adapter.service import run_adapter
from tests.support.service import RunningService

GENUINE = {
    "serial": "1404000000000017",
    "obligorId": "9990000018",
    "beneficiaryId": "99000554330",
    "amountRials": "2500000000",
    "executiveAgencyId": "SETAD-0001",
}


@dataclass(frozen=True, slots=True)
class Adapter:
    """A running adapter: the URLs of its web UI and REST API, and its gRPC service."""

    page: str
    api: str
    service: RunningService


@contextmanager
def running_adapter(sandbox: Sandbox, provider: str, clock: Any = None, **overrides: object) -> Iterator[Adapter]:
    """Run an adapter with both frontends, which calls *provider* (host:port)."""
    ports = free_ports("page", "api")
    listens = {f"{name}_listen": f"127.0.0.1:{port}" for name, port in ports.items()}
    settings = sandbox.setad(listen="127.0.0.1:0", provider=provider, **(listens | overrides))
    with RunningService(lambda: run_adapter(settings, clock=clock)) as service:
        yield Adapter(f"http://localhost:{ports['page']}", f"https://localhost:{ports['api']}", service)


def https_client_named(sandbox: Sandbox, name: str) -> httpx.Client:
    """Return an HTTPS client with the sandbox's certificate *name*."""
    return https_client(sandbox.pki / "ca.crt", sandbox.pki / f"{name}.crt")


def https_client(trust: Path, certificate: Path | None) -> httpx.Client:
    """Return an HTTPS client that trusts *trust*, with *certificate* and the key beside it, or without one."""
    tls = ssl.create_default_context(cafile=trust)
    if certificate:
        tls.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return httpx.Client(verify=tls, trust_env=False)
