"""The purpose of an inquiry in any script, from the command line, the JSON API and the page to the ledger."""

import contextlib
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from development.sandbox import Sandbox
from estelam.core.keys import HmacKeyring
from estelam.core.model import Subject
from estelam.ledger import search
from estelam.ledger.tables import StoredEntry
from estelam.storage.store import Store
from tests.e2e.conftest import LIVE, CommandLine, options
from tests.integration.setad.adapter_process import GENUINE, Adapter, https_client_named, running_adapter
from tests.integration.setad.test_officer_ui import ask, open_browser, verdict
from tests.support.service import RunningService

TENDER = "مناقصه شمارهٔ ۱۲/الف"
OFFICERS = ["user@agency.ir", "AGENCY\\user", "علی‌رضا نمونه‌ای", "CN=A. Officer, O=Agency", "100%"]
HEADER = "x-forwarded-user"


@pytest.fixture(scope="module")
def adapter(shared: Sandbox, promissory: RunningService) -> Iterator[Adapter]:
    with running_adapter(shared, promissory.address, page_officer_header=HEADER) as running:
        yield running


def recorded(sandbox: Sandbox) -> StoredEntry:
    """The newest entry of the ministry's ledger about the note."""
    settings = sandbox.promissory()
    keyring = HmacKeyring.load(settings.hmac_keyring)
    with contextlib.closing(Store(settings.store)) as store, store.transaction() as connection:
        *_, last = search.entries_about(connection, keyring, Subject("serial", LIVE["serial"]))
    return last


def hashed(sandbox: Sandbox, kind: str, text: str) -> bytes:
    return HmacKeyring.load(sandbox.promissory().hmac_keyring).hash(Subject(kind, text))


def test_command(shared: Sandbox, adapter: Adapter) -> None:
    """A Persian case reference and a login name arrive in the ledger as keyed hashes of these texts."""
    given = options(**LIVE, agency="SETAD-0001", case_reference=f" {TENDER} ", operator=OFFICERS[0], inquiry_id="۷")
    found = CommandLine(shared)("setad", "verify", *given, "--address", adapter.service.address)
    stored = recorded(shared)

    assert (0, "") == (found.code, found.err)
    assert hashed(shared, "case", TENDER) == stored.keys.case_reference
    assert hashed(shared, "operator", OFFICERS[0]) == stored.keys.operator
    assert hashed(shared, "correlation", "۷") == stored.keys.correlation
    report = CommandLine(shared)("ledger", "subject-report", "promissory", LIVE["serial"], "--kind", "serial", "--json")
    assert stored.index in [row["index"] for row in report.json["inquiries"]]


def test_json(shared: Sandbox, adapter: Adapter) -> None:
    """The JSON API takes the text itself, in UTF-8, or percent-encoded, and returns the correlation id encoded."""
    with https_client_named(shared, "setad") as client:
        for tender in (TENDER.encode(), quote(TENDER).encode()):
            sent = {b"x-case-reference": tender, b"x-inquiry-id": "۷".encode()}
            response = client.post(f"{adapter.api}/v1/notes:verify", json=GENUINE, headers=sent)

            assert (200, "%DB%B7") == (response.status_code, response.headers["x-inquiry-id"])
            assert hashed(shared, "case", TENDER) == recorded(shared).keys.case_reference


@pytest.mark.parametrize("officer", OFFICERS)
def test_login_name(shared: Sandbox, adapter: Adapter, officer: str) -> None:
    """A login proxy may pass a login name of any form."""
    with open_browser(adapter) as browser:
        response = ask(browser, headers={HEADER: officer.encode()})  # type: ignore[dict-item]

    assert (200, "yes status") == (response.status_code, verdict(response))
    assert hashed(shared, "operator", officer) == recorded(shared).keys.operator


@pytest.mark.parametrize("text", ["", " ", "م" * 65, "\u200f", "a\u202eb", "a\nb", "a\ue000"])
@pytest.mark.parametrize("option", ["case-reference", "operator", "inquiry-id"])
def test_refused_before_it_is_sent(shared: Sandbox, option: str, text: str) -> None:
    """A text that is empty, too long or not visible is refused before it is sent, and its option is named."""
    found = CommandLine(shared)(
        "promissory", "check", *options(**LIVE), f"--{option}", text, "--address", "127.0.0.1:9", "--json"
    )

    assert (2, True) == (found.code, found.json["error"].startswith(f"--{option}: "))
