"""Changes of the catalogue come to the board from the services' ledgers, each told once, the newest first."""

import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from estelam.catalogue.loader import read_catalogue
from estelam.core.clock import Clock
from estelam.core.keys import HmacKeyring, SigningKey
from estelam.core.settings import StoreSettings
from estelam.ledger.writer import LedgerWriter
from estelam.server.catalogue_audit import record_changes
from estelam.storage.store import AccessMode, Store
from quality.dashboard import app, change_feed
from quality.dashboard.change_feed import RecordedChange
from tests.integration.quality.conftest import QualityStore
from tests.integration.quality.dashboard.conftest import CASES, NOTES, open_dashboard
from tools.commands.report import quality_home
from tools.env import sandbox as suite
from tools.env.sandbox import Sandbox

QUOTA = ("rate: 200, burst: 400", "rate: 50, burst: 100")


class Ledgers:
    """Two services' ledgers, in which both note the same catalogue."""

    def __init__(self, box: Sandbox, catalogue: Path) -> None:
        self.catalogue = catalogue
        self._services: dict[str, StoreSettings] = {NOTES: box.promissory(), CASES: box.judiciary()}
        self.addresses = {name: service.store for name, service in self._services.items()}
        self._micros = Clock().micros()

    def note(self) -> None:
        """Let each note what the catalogue is now, a minute apart."""
        for service in self._services.values():
            self._micros += 60_000_000
            keyring, signer = HmacKeyring.load(service.hmac_keyring), SigningKey.load(service.signing_key)
            ledger = LedgerWriter(keyring=keyring, signer=signer, clock=replace(Clock(), micros=lambda: self._micros))
            with closing(Store(service.store, ledger=AccessMode.WRITE)) as store:
                record_changes(store, ledger, read_catalogue(self.catalogue))

    def change(self, before: str, after: str) -> None:
        """Change the grants, and let it be noted."""
        grants = self.catalogue / "grants.yaml"
        grants.write_text(grants.read_text("utf-8").replace(before, after, 1), "utf-8")
        self.note()

    def feed(self) -> list[RecordedChange]:
        """What the board tells."""
        return change_feed.list_changes(self.addresses)


@pytest.fixture
def ledgers(sandbox: Sandbox, tmp_path: Path) -> Ledgers:
    """Two ledgers that have noted the committed catalogue."""
    shutil.copytree(suite.CATALOGUE, tmp_path / "catalogue")
    found = Ledgers(sandbox, tmp_path / "catalogue")
    found.note()
    return found


def test_a_change_that_both_services_noted_is_told_once_with_both_entries(ledgers: Ledgers) -> None:
    ledgers.change(*QUOTA)
    newest = ledgers.feed()[0]

    assert ("grants", "G13", "changed") == (newest.change.record.kind, newest.change.record.key, newest.change.action)
    assert {NOTES, CASES} == newest.entries.keys()
    assert 1 == sum(one.change.record.key == "G13" and one.change.action == "changed" for one in ledgers.feed())


def test_a_change_that_was_taken_back_and_made_again_is_told_each_time(ledgers: Ledgers) -> None:
    for before, after in (QUOTA, QUOTA[::-1], QUOTA):
        ledgers.change(before, after)
    quotas = [one for one in ledgers.feed() if one.change.action == "changed"]

    assert 3 == len(quotas)
    assert quotas[0].change == quotas[2].change
    assert sorted((one.at for one in quotas), reverse=True) == [one.at for one in quotas]


def test_a_page_has_the_newest_changes_and_says_how_many_more_there_are(
    ledgers: Ledgers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "MAX_CHANGES", 5)
    watch = QualityStore(quality_home(tmp_path / "quality"))
    with open_dashboard(watch, ledgers=ledgers.addresses) as board, board.client() as client:
        page, whole = client.get("/en/changes").text, client.get("/changes.json").json()

    assert 5 == page.count('class="word ')
    assert f"Older than these: {len(whole) - 5}" in page


def test_the_board_shows_what_has_changed_value_by_value(ledgers: Ledgers, tmp_path: Path) -> None:
    ledgers.change(*QUOTA)
    with (
        open_dashboard(QualityStore(quality_home(tmp_path / "quality")), ledgers=ledgers.addresses) as board,
        board.client() as client,
    ):
        page = client.get("/en/changes").text

    assert "quota.rate: 200.0 → 50.0" in page
    assert f"{NOTES} #" in page


def test_machines_read_what_has_changed_since_a_day_or_an_instant(ledgers: Ledgers, tmp_path: Path) -> None:
    ledgers.change(*QUOTA)
    newest, refused = ledgers.feed()[0], '{"refused":"since: give a day, or an instant with its zone"}'
    watch = QualityStore(quality_home(tmp_path / "quality"))
    with open_dashboard(watch, ledgers=ledgers.addresses) as board, board.client() as client:
        whole, late, never = (
            client.get("/changes.json", params=since).json()
            for since in ({}, {"since": newest.at.isoformat()}, {"since": "۱۴۹۹-۰۱-۰۱"})
        )
        wrong = [client.get("/changes.json", params={"since": since}) for since in ("", "<script>", "1405-13-01", "7")]

    assert (len(ledgers.feed()), []) == (len(whole), never)
    [only] = late
    assert ("grants", "G13", "changed") == (only["kind"], only["name"], only["change"])
    assert 50.0 == only["after"]["quota"]["rate"]
    assert {NOTES, CASES} == only["entries"].keys()
    assert {(400, refused)} == {(one.status_code, one.text) for one in wrong}


def test_a_ledger_that_cannot_be_read_is_told_as_blindness(tmp_path: Path) -> None:
    nowhere = {NOTES: f"sqlite:///{tmp_path / 'nowhere'}"}
    with (
        open_dashboard(QualityStore(quality_home(tmp_path / "quality")), ledgers=nowhere) as board,
        board.client() as client,
    ):
        response = client.get("/en/changes")

    assert 503 == response.status_code
    assert "nowhere" not in response.text
