"""Catalogue changes on the dashboard, read from the services' ledgers."""

import re
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import BaseModel

from development.files import CATALOGUE
from development.sandbox import Sandbox
from estelam.auth.grants import Quota
from estelam.catalogue.loader import read_catalogue
from estelam.catalogue.model import Agreement, Approval, Denied, Grant, Method, Party, Service
from estelam.core.clock import Clock
from estelam.core.dates import DateProblem
from estelam.core.keys import HmacKeyring, SigningKey
from estelam.core.settings import StoreSettings
from estelam.ledger.writer import LedgerWriter
from estelam.server.catalogue_audit import record_changes
from estelam.storage.store import AccessMode, Store
from estelam.web.rendering import messages_for
from quality.dashboard import app, change_feed
from quality.dashboard.change_feed import RecordedChange
from tests.integration.quality.conftest import QualityStore
from tests.integration.quality.dashboard.conftest import CASES, NOTES, open_dashboard
from tools.commands.report import quality_home

QUOTA = ("rate: 200, burst: 400", "rate: 50, burst: 100")


class Ledgers:
    """Ledgers of two services, which record changes of the same catalogue."""

    def __init__(self, box: Sandbox, catalogue: Path) -> None:
        self.catalogue = catalogue
        self._services: dict[str, StoreSettings] = {NOTES: box.promissory(), CASES: box.judiciary()}
        self.settings = box.quality()
        self.given = {name: getattr(self.settings, name) for name in ("ledgers", "ledger_certificates")}
        self._micros = Clock().micros()

    def note(self) -> None:
        """Let each service record the current catalogue, a minute apart."""
        for service in self._services.values():
            self._micros += 60_000_000
            keyring, signer = (
                HmacKeyring.load(service.hmac_keyring),
                SigningKey.load(service.signing_key, service.signing_certificates),
            )
            ledger = LedgerWriter(
                service.SECTION, keyring=keyring, signer=signer, clock=replace(Clock(), micros=lambda: self._micros)
            )
            with closing(Store(service.store, ledger=AccessMode.WRITE)) as store:
                record_changes(store, ledger, read_catalogue(self.catalogue))

    def change(self, before: str, after: str) -> None:
        """Change the grants and let the services record that."""
        grants = self.catalogue / "grants.yaml"
        grants.write_text(grants.read_text("utf-8").replace(before, after, 1), "utf-8")
        self.note()

    def feed(self) -> list[RecordedChange]:
        """Changes that the dashboard lists."""
        return change_feed.list_changes(self.settings)


@pytest.fixture
def ledgers(sandbox: Sandbox, tmp_path: Path) -> Ledgers:
    """Two ledgers with the committed catalogue recorded."""
    shutil.copytree(CATALOGUE, tmp_path / "catalogue")
    found = Ledgers(sandbox, tmp_path / "catalogue")
    found.note()
    return found


def test_change_is_listed_once(ledgers: Ledgers) -> None:
    """A change that two services recorded is listed once, with both entries."""
    ledgers.change(*QUOTA)
    newest = ledgers.feed()[0]

    assert ("grants", "G13", "changed") == (newest.change.record.kind, newest.change.record.key, newest.change.action)
    assert {NOTES, CASES} == newest.entries.keys()
    assert 1 == sum(one.change.record.key == "G13" and one.change.action == "changed" for one in ledgers.feed())


def test_repeated_change(ledgers: Ledgers) -> None:
    """A change that was reverted and repeated is listed each time."""
    for before, after in (QUOTA, QUOTA[::-1], QUOTA):
        ledgers.change(before, after)
    quotas = [one for one in ledgers.feed() if one.change.action == "changed"]

    assert 3 == len(quotas)
    assert quotas[0].change == quotas[2].change
    assert sorted((one.at for one in quotas), reverse=True) == [one.at for one in quotas]


def test_page_limit(ledgers: Ledgers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page lists the newest changes and the number of the others."""
    monkeypatch.setattr(app, "MAX_CHANGES", 5)
    quality_store = QualityStore(quality_home(tmp_path / "quality"))
    with open_dashboard(quality_store, **ledgers.given) as running, running.client() as client:
        page, whole = client.get("/en/changes").text, client.get("/changes.json").json()

    assert 5 == page.count('class="word ')
    assert f"Older than these: {len(whole) - 5}" in page


def test_changed_values(ledgers: Ledgers, tmp_path: Path) -> None:
    """The page shows each changed value, with names in place of slugs and fields, in its language."""
    ledgers.change(*QUOTA)
    ledgers.change("    since:", "    staged: true\n    since:")
    with (
        open_dashboard(QualityStore(quality_home(tmp_path / "quality")), **ledgers.given) as running,
        running.client() as client,
    ):
        en, fa = (client.get(f"/{language}/changes").text for language in ("en", "fa"))

    assert "staged: set to \u2068yes\u2069." in en
    assert "quota · inquiries per second: from \u2068200\u2069 to \u206850\u2069." in en
    assert "سهمیه · استعلام در ثانیه: از \u2068۲۰۰\u2069 به \u2068۵۰\u2069 تغییر کرد." in fa
    for page in (en, fa):
        assert not re.findall(f">{NOTES}<|{CASES}| #[0-9]|nothing|None", page)


def test_fields_have_names() -> None:
    """Every field of every record whose changes are recorded has a name."""
    kinds: list[type[BaseModel]] = [Party, Service, Method, Grant, Approval, Quota, Agreement, Denied]
    names = {f"field_{name}" for kind in kinds for name in kind.model_fields}

    assert names == {key for key in messages_for("quality.dashboard", "fa") if key.startswith("field_")}


def test_changes_json(ledgers: Ledgers, tmp_path: Path) -> None:
    """/changes.json filters by a day or an instant, and rejects other values."""
    ledgers.change(*QUOTA)
    newest = ledgers.feed()[0]
    quality_store = QualityStore(quality_home(tmp_path / "quality"))
    with open_dashboard(quality_store, **ledgers.given) as running, running.client() as client:
        whole, late, never = (
            client.get("/changes.json", params=since).json()
            for since in ({}, {"since": newest.at.isoformat()}, {"since": "۱۴۹۹-۰۱-۰۱"})
        )
        wrong = [client.get("/changes.json", params={"since": since}) for since in ("", "<script>", "99-01-01", "7")]

    assert (len(ledgers.feed()), []) == (len(whole), never)
    [only] = late
    assert ("grants", "G13", "changed") == (only["kind"], only["name"], only["change"])
    assert 50.0 == only["after"]["quota"]["rate"]
    assert {NOTES, CASES} == only["entries"].keys()
    assert {400} == {one.status_code for one in wrong}
    neither, two_digits = DateProblem.NEITHER_DATE_NOR_INSTANT.en, DateProblem.YEAR_WITHOUT_FOUR_DIGITS.en
    reasons = [neither, neither, two_digits, neither]
    assert [{"refused": f"since: {reason}"} for reason in reasons] == [one.json() for one in wrong]


def test_unknown_and_repeated_parameters(tmp_path: Path) -> None:
    """A query with an unknown or a repeated parameter gets no JSON: an ignored one would change its meaning."""
    store = QualityStore(quality_home(tmp_path / "quality"))
    queries = {
        "/changes.json?from=1405-09-01": "unknown parameter from; known: since",
        "/changes.json?since=1405-09-01&since=1400-01-01": "since: is given more than once",
        "/changes.json?since=1405-09-01&Since=1400-01-01": "unknown parameter Since; known: since",
        "/status.json?since=1405-09-01": "unknown parameter since; known: none",
        "/status.json?%E2%80%AE=": "unknown parameter; known: none",
    }
    with open_dashboard(store) as running, running.client() as client:
        refused = {query: client.get(query) for query in queries}

    assert {400} == {one.status_code for one in refused.values()}
    assert queries == {query: one.json()["refused"] for query, one in refused.items()}


def test_unreadable_ledger(tmp_path: Path) -> None:
    """An unreadable ledger yields 503 without details."""
    nowhere = {NOTES: f"sqlite:///{tmp_path / 'nowhere'}"}
    with (
        open_dashboard(QualityStore(quality_home(tmp_path / "quality")), ledgers=nowhere) as running,
        running.client() as client,
    ):
        response = client.get("/en/changes")

    assert 503 == response.status_code
    assert "nowhere" not in response.text
