"""`systemctl reload`, which is SIGHUP: the service reads its settings anew."""

import base64
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from development import sandbox as suite
from development.processes import ServiceProcess, free_ports
from development.sandbox import LIFETIME, MINISTRY, SINCE, Sandbox
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.client.channel import ClientIdentity, channel
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from tests.e2e.conftest import NOTE
from tests.support.certificates import DAY, NOW, write_retirement
from tools.env.postgres import PostgresCluster

SECONDS = 30


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def reload(service: ServiceProcess, settings: Path, old: str, new: str, event: str) -> None:
    """Replace *old* by *new* in *settings*, send SIGHUP, and wait until *event* is logged once more."""
    before = service.log.read_text("utf-8").count(event)
    text = settings.read_text("utf-8")
    assert old in text
    settings.write_text(text.replace(old, new), "utf-8")
    service.signal(signal.SIGHUP)
    until(lambda: service.log.read_text("utf-8").count(event) > before)


def signing_key_hash(sandbox: Sandbox, service: ServiceProcess) -> bytes:
    """The hash of the key that signs a receipt now."""
    with channel(service.address, ClientIdentity.named(sandbox.pki, "setad")) as opened:
        receipt = PromissoryNoteInquiryServiceStub(opened).CheckNote(NOTE, timeout=SECONDS).receipt
    *_, signature = receipt.checkpoint.split()
    return base64.b64decode(signature)[:4]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "unit", "failed"), [(1, "service", "service.settings_kept"), (2, "workers", "workers.restart_failed")]
)
def test_signing_key_changes(workers: int, unit: str, failed: str, cluster: PostgresCluster, tmp_path: Path) -> None:
    """After SIGHUP the key that the settings name signs; with invalid settings the service goes on, and logs why."""
    stores = {"promissory": cluster.url(cluster.database())} if workers > 1 else None
    sandbox = suite.create_sandbox(tmp_path / "sandbox", stores=stores)
    suite.load_samples(sandbox)
    DevCertificateAuthority(sandbox.pki).issue_signing("new", MINISTRY, since=SINCE, lifetime=LIFETIME)
    certificates = 'signing_certificates = ["pki/promissory-receipts.crt"'
    listen = f"127.0.0.1:{free_ports('promissory')['promissory']}"
    with ServiceProcess("promissory", sandbox, listen=listen, workers=workers) as service:
        first = signing_key_hash(sandbox, service)
        reload(service, sandbox.config, "signing_key", "signing_keys", failed)
        still = signing_key_hash(sandbox, service)
        settings = sandbox.config.read_text("utf-8")
        sandbox.config.write_text(settings.replace(certificates, f'{certificates}, "pki/new.crt"'), "utf-8")
        reload(service, sandbox.config, "signing_keys", "signing_key", f"{unit}.restarted")
        reload(service, sandbox.config, "pki/promissory-receipts.key", "pki/new.key", f"{unit}.restarted")
        last = signing_key_hash(sandbox, service)

    assert first == still != last
    assert "signing_keys: unknown key" in service.log.read_text("utf-8")


@pytest.mark.slow
def test_unusable_files_are_not_in_force(sandbox: Sandbox, tmp_path: Path) -> None:
    """After a reload with a file that can't be used, new or the same, the service goes on as it was, and says why."""
    suite.load_samples(sandbox)
    settings, other = sandbox.promissory(), sandbox.judiciary()
    retired = tmp_path / "retired.json"
    retired.write_text('{"retired": []}', "ascii")
    row = write_retirement(tmp_path / "row.json", settings.signing_certificates[0], NOW - DAY, "superseded")
    config = sandbox.config.read_text("utf-8")
    changes = [
        (sandbox.config, config.replace("pki/promissory-receipts.key", f"{other.signing_key}"), "no certificate of"),
        (settings.signing_key, other.signing_key.read_text("utf-8"), "no certificate of this key"),
        (retired, row.read_text("utf-8"), "the signing key was retired at"),
        (settings.hmac_keyring, "", "must hold at least one key"),
        (settings.access, "[[deny]]", "grant: is missing"),
        (settings.certificate, "", "is empty, not a certificate"),
        (settings.ca_certificates, "", "is empty, not a certificate"),
    ]
    environ = {"ESTELAM_PROMISSORY_RETIRED_KEYS": f"{retired}"}
    listen = f"127.0.0.1:{free_ports('promissory')['promissory']}"
    with ServiceProcess("promissory", sandbox, listen=listen, environ=environ) as service:
        first = signing_key_hash(sandbox, service)
        for count, (path, content, _) in enumerate(changes, 1):
            before = path.read_bytes()
            path.write_text(content, "utf-8")
            service.signal(signal.SIGHUP)
            until(lambda count=count: len(logged(service, "service.settings_kept")) == count)  # type: ignore[misc]
            path.write_bytes(before)
        still = signing_key_hash(sandbox, service)
        assert not logged(service, "service.restarted")
        service.signal(signal.SIGHUP)
        until(lambda: bool(logged(service, "service.restarted")))

    assert first == still
    for (path, _, why), event in zip(changes, logged(service, "service.settings_kept"), strict=True):
        assert why in event["error"], path


def logged(service: ServiceProcess, event: str) -> list[dict[str, str]]:
    """The lines of the log with *event*."""
    lines = service.log.read_text("utf-8").splitlines()
    return [line for line in map(json.loads, lines) if line["event"] == event]
