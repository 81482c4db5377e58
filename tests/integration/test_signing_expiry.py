"""A service whose signing certificate expires while it runs gives no more answers: they would prove nothing."""

from datetime import timedelta
from pathlib import Path

import grpc

from development import sandbox as suite
from development.sandbox import CHECK_NOTE
from estelam.client.channel import ClientIdentity
from estelam.core.errors import Reason
from estelam.core.pem import read_certificates
from tests.conftest import plain_channel, promissory_opening
from tests.guarantees.test_4_authorization import OK, Time, ask
from tests.support.certificates import DAY, NOW, certificate_pem
from tests.support.service import RunningService


def test_expiry_while_running(tmp_path: Path) -> None:
    """After the last second of the certificate every call is refused, and before it none."""
    sandbox, clock = suite.create_sandbox(tmp_path / "suite"), Time()
    suite.load_samples(sandbox)
    file = sandbox.pki / "promissory-receipts.crt"
    file.write_bytes(certificate_pem(sandbox.pki, read_certificates(file)[0].public_key(), until=NOW + DAY))
    seen = []
    with (
        RunningService(promissory_opening(sandbox, clock.clock, shutdown_delay_seconds=0)) as service,
        plain_channel(service.address, ClientIdentity.named(sandbox.pki, "setad")) as channel,
    ):
        for clock.ahead in (timedelta(), DAY - timedelta(hours=1), DAY + timedelta(hours=1), timedelta()):
            seen.append(ask(channel, CHECK_NOTE)[0])

    refused = (grpc.StatusCode.UNAVAILABLE, Reason.SERVICE_FAILED)
    assert [OK, OK, refused, OK] == seen
