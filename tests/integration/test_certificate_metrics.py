"""The metric of expiry shows each certificate and revocation list that a service uses."""

import re
import urllib.request
from pathlib import Path
from typing import Any

from development import sandbox as suite
from development.processes import free_ports
from estelam.core.pem import read_certificates
from tests.conftest import promissory_opening
from tests.integration.setad.adapter_process import running_adapter
from tests.support.certificates import DAY, NOW, crl_pem
from tests.support.service import RunningService

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
VALUE = re.compile(r'^estelam_certificate_expiry_timestamp_seconds\{use="(\w+)"\} (\S+)$', re.MULTILINE)


def expiries(port: int) -> dict[str, float]:
    with OPENER.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        return {use: float(value) for use, value in VALUE.findall(response.read().decode())}


def test_expiries(tmp_path: Path) -> None:
    """Each use has the expiry of its own file."""
    sandbox = suite.create_sandbox(tmp_path / "suite")
    (tmp_path / "ca.crl").write_bytes(crl_pem(sandbox.pki, until=NOW + 3 * DAY))
    ends = {
        file: read_certificates(sandbox.pki / f"{file}.crt")[0].not_valid_after_utc.timestamp()
        for file in ("promissory-server", "promissory-receipts", "setad-server", "setad")
    }
    port = free_ports("metrics")["metrics"]
    options: dict[str, Any] = {"metrics_listen": f"127.0.0.1:{port}", "revocation_lists": (tmp_path / "ca.crl",)}
    with RunningService(promissory_opening(sandbox, shutdown_delay_seconds=0, **options)):
        promissory = expiries(port)
    with running_adapter(sandbox, "127.0.0.1:1", **options):
        setad = expiries(port)

    listed = {"revocation_list": (NOW + 3 * DAY).timestamp()}
    assert {"tls": ends["promissory-server"], "signing": ends["promissory-receipts"], **listed} == promissory
    assert {"tls": ends["setad-server"], "client": ends["setad"], **listed} == setad
