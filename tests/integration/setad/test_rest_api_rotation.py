"""Certificates replaced on disk under the JSON face: in use from the next handshake on, and only when whole."""

import shutil
import time
from pathlib import Path

import httpx

from estelam.auth.dev_ca import DevCertificateAuthority
from tests.integration.setad.adapter_process import GENUINE, caller, faces
from tests.support.service import RunningService
from tools.env.sandbox import ORGANIZATIONS, Sandbox


def reaches(address: str, trust: Path, certificate: Path) -> bool:
    """Whether a new connection, with *certificate*, to a server of *trust* comes about."""
    with caller(trust, certificate) as setad:
        try:
            setad.post(f"{address}/v1/notes:verify", json=GENUINE)
        except httpx.TransportError:
            return False
    return True


def soon_reaches(address: str, trust: Path, certificate: Path) -> bool:
    """Whether that comes to be so within ten seconds."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if reaches(address, trust, certificate):
            return True
        time.sleep(0.2)
    return False


def test_a_new_certificate_and_a_new_authority_are_used_and_the_old_ones_are_not(
    sandbox: Sandbox, promissory: RunningService, tmp_path: Path
) -> None:
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
    with faces(sandbox, promissory.address, **paths) as office:
        assert reaches(office.api, old_trust, old)

        install(successor, "ca_certificates")
        assert soon_reaches(office.api, old_trust, new)
        assert not reaches(office.api, old_trust, old)

        install(successor, "certificate")
        time.sleep(1.5)
        assert reaches(office.api, old_trust, new)  # half a change

        install(successor, "private_key")
        assert soon_reaches(office.api, new_trust, new)
        assert not reaches(office.api, old_trust, new)
