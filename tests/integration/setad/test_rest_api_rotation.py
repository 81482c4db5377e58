"""The REST API's certificates replaced on disk while it runs."""

import shutil
import time
from pathlib import Path

import httpx

from development.sandbox import ORGANIZATIONS, Sandbox
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.core.reload import CREDENTIALS_STILL_SECONDS
from tests.integration.setad.adapter_process import GENUINE, https_client, running_adapter
from tests.support.service import RunningService


def connects(address: str, trust: Path, certificate: Path) -> bool:
    """Return whether a new connection with *certificate* to a server that *trust* signed succeeds."""
    with https_client(trust, certificate) as setad:
        try:
            setad.post(f"{address}/v1/notes:verify", json=GENUINE)
        except httpx.TransportError:
            return False
    return True


def connects_within_ten_seconds(address: str, trust: Path, certificate: Path) -> bool:
    """Return whether `connects` becomes true within ten seconds."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if connects(address, trust, certificate):
            return True
        time.sleep(0.2)
    return False


def test_rotation(sandbox: Sandbox, promissory: RunningService, tmp_path: Path) -> None:
    """The REST API uses a replaced certificate and CA from the next handshake, but only once the files match."""
    successor = tmp_path / "successor"
    authority = DevCertificateAuthority.create(successor, "the next authority")
    authority.issue("setad-server", [ORGANIZATIONS["setad"]], hosts=["localhost"])
    authority.issue("setad", [ORGANIZATIONS["setad"]])
    served = {"certificate": "server.crt", "private_key": "server.key", "ca_certificates": "callers.crt"}
    paths = {name: sandbox.folder / file for name, file in served.items()}

    def install(pki: Path, name: str) -> None:
        shutil.copy(pki / ("ca.crt" if name == "ca_certificates" else f"setad-server{paths[name].suffix}"), paths[name])

    for name in served:
        install(sandbox.pki, name)
    old, new = (sandbox.pki / "setad.crt", successor / "setad.crt")
    old_trust, new_trust = (sandbox.pki / "ca.crt", successor / "ca.crt")
    with running_adapter(sandbox, promissory.address, **paths) as adapter:
        assert connects(adapter.api, old_trust, old)

        install(successor, "ca_certificates")
        assert connects_within_ten_seconds(adapter.api, old_trust, new)
        assert not connects(adapter.api, old_trust, old)

        install(successor, "certificate")
        time.sleep(2 * CREDENTIALS_STILL_SECONDS + 0.5)
        assert connects(adapter.api, old_trust, new)  # the key does not match yet

        install(successor, "private_key")
        assert connects_within_ten_seconds(adapter.api, new_trust, new)
        assert not connects(adapter.api, old_trust, new)
