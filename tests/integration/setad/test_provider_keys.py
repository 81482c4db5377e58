"""The adapter follows the ministry's rotation and retirement of signing keys while it runs."""

from pathlib import Path
from typing import Any

import httpx
from google.protobuf import json_format

from development import sandbox as suite
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.setad.v1 import note_verification_pb2 as pb
from sataad_adapter.web.receipts import archive_lines
from tests.conftest import promissory_opening
from tests.guarantees.test_4_authorization import Time
from tests.integration.setad.adapter_process import GENUINE, https_client_named, running_adapter
from tests.integration.setad.test_officer_ui import open_browser
from tests.support.certificates import DAY, NOW, concatenate, write_retirement
from tests.support.service import RunningService


def outcome(client: httpx.Client, url: str) -> str:
    """The answer of VerifyNote, or the reason for which there is none."""
    reply = client.post(f"{url}/v1/notes:verify", json=GENUINE).json()
    return str(reply.get("answer") or reply["reason"])


def test_page_states_why(tmp_path: Path) -> None:
    """The officer's page states that a key is retired, in both languages, and not that the receipt was changed."""
    sandbox = suite.create_sandbox(tmp_path / "suite")
    suite.load_samples(sandbox)
    retired, clock = sandbox.folder / "retired.json", Time()
    retired.write_text('{"retired": []}', "ascii")
    with (
        RunningService(promissory_opening(sandbox, shutdown_delay_seconds=0)) as ministry,
        running_adapter(sandbox, ministry.address, clock.clock, provider_retired_keys=retired) as adapter,
        https_client_named(sandbox, "setad") as setad,
    ):
        reply = setad.post(f"{adapter.api}/v1/notes:verify", json=GENUINE).json()
        request = json_format.ParseDict(GENUINE, pb.VerifyNoteRequest())
        archive = archive_lines(request, json_format.ParseDict(reply, pb.VerifyNoteResponse()))
        write_retirement(retired, sandbox.pki / "promissory-receipts.crt", NOW - DAY, "compromised")
        clock.seconds += 2
        with open_browser(adapter) as browser:
            pages = {name: browser.post(f"/{name}/receipt", data={"receipt": archive}) for name in ("fa", "en")}

    assert [422, 422] == [page.status_code for page in pages.values()]
    assert "its key had been retired before the time of the answer" in pages["en"].text
    assert "امضا درست است" in pages["fa"].text
    assert all("the signing key was retired at" in page.text for page in pages.values())


def test_rotation_and_retirement(tmp_path: Path) -> None:
    """A new certificate is used at once, a retired key proves nothing more; a malformed list changes nothing."""
    sandbox = suite.create_sandbox(tmp_path / "suite")
    suite.load_samples(sandbox)
    DevCertificateAuthority(sandbox.pki).issue_signing("new", "99001504616")
    known, retired = sandbox.folder / "known.crt", sandbox.folder / "retired.json"
    concatenate(known, [sandbox.pki / "promissory-receipts.crt"])
    retired.write_text('{"retired": []}', "ascii")
    signing: dict[str, Any] = {
        "signing_key": sandbox.pki / "new.key",
        "signing_certificates": (sandbox.pki / "new.crt",),
    }
    clock, seen = Time(), []
    with (
        RunningService(promissory_opening(sandbox, shutdown_delay_seconds=0, **signing)) as ministry,
        running_adapter(
            sandbox, ministry.address, clock.clock, provider_certificates=(known,), provider_retired_keys=retired
        ) as adapter,
        https_client_named(sandbox, "setad") as setad,
    ):
        for change in (
            lambda: None,
            lambda: concatenate(known, [sandbox.pki / "promissory-receipts.crt", sandbox.pki / "new.crt"]),
            lambda: retired.write_text("{", "ascii"),
            lambda: write_retirement(retired, sandbox.pki / "new.crt", NOW - DAY, "superseded"),
        ):
            change()
            clock.seconds += 2
            seen.append(outcome(setad, adapter.api))

    assert ["PROVIDER_UNPROVEN", "ANSWER_YES", "ANSWER_YES", "PROVIDER_UNPROVEN"] == seen
