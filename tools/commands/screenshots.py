"""Take the documentation's screenshots: the officer's page after a YES, and the dashboard over an invented day.

Run `python -m tools.commands.screenshots`; it needs Chromium and writes into docs/images.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, ViewportSize, sync_playwright

from development import sandbox as suite
from development.files import CATALOGUE
from development.processes import QUALITY, SERVICES, ServiceProcess, free_ports
from development.sandbox import ORGANIZATIONS, Sandbox
from estelam.core.clock import Clock
from estelam.storage.store import AccessMode, Store
from quality import repository
from quality.attribution import Attribution
from quality.periods import minute_of
from quality.records import Probe
from tools.env.repository import ROOT

IMAGES = ROOT / "docs" / "images"
SIZE = ViewportSize(width=960, height=640)
NOTE = {
    "serial": "1404 0000 0000 0017",
    "obligor_id": "9990000018",
    "beneficiary_id": "99000554330",
    "amount_rials": "2,500,000,000",
    "executive_agency_id": "SETAD-0001",
}
DAY_MINUTES = 1440
FAULT_MINUTES = range(400, 425)
"""Of the last day: when the invented outage of the judiciary was."""
CALLS = (
    (suite.CHECK_NOTE, "setad"),
    (suite.CHECK_NOTE, "agency"),
    (suite.GET_NOTE_PARTIES, "setad"),
    (suite.CHECK_BY_NATIONAL_ID, "cbi"),
    (suite.CHECK_BY_TRACKING_ID, "cbi"),
    (suite.VERIFY_NOTE, "setad"),
)


def main() -> None:
    """Start all services on free ports in a temporary folder, and photograph both pages."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="estelam-screenshots-") as folder, _chromium() as browser:
        ports = free_ports(*SERVICES, "page", "dashboard")
        sandbox = suite.create_sandbox(Path(folder), ports=ports, catalogue=CATALOGUE)
        suite.load_samples(sandbox)
        suite.prepare_quality(sandbox)
        _invent_a_day(sandbox)
        services = [ServiceProcess(name, sandbox) for name in (*SERVICES, QUALITY)]
        with contextlib.ExitStack() as running:
            for service in services:
                running.enter_context(service)
            _officer_page(browser, f"http://localhost:{ports['page']}/en/")
            _dashboard(browser, f"http://localhost:{ports['dashboard']}/en/")


@contextlib.contextmanager
def _chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            yield browser
        finally:
            browser.close()


def _invent_a_day(sandbox: Sandbox) -> None:
    """Store probes of the last day: all answered, but for an outage of the judiciary."""
    now = minute_of(Clock().now())
    probes = []
    for minute in range(DAY_MINUTES):
        for method, consumer in CALLS:
            failed = minute in FAULT_MINUTES and consumer == "cbi"
            fault, reason = (Attribution.PROVIDER, "STORE_UNAVAILABLE") if failed else (None, "")
            probes.append(Probe(now - DAY_MINUTES + minute, method, ORGANIZATIONS[consumer], fault, reason))
    with (
        contextlib.closing(Store(sandbox.quality().store, facts=AccessMode.WRITE)) as store,
        store.transaction() as connection,
    ):
        repository.save_probes(connection, probes)


def _officer_page(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport=SIZE)
    page.goto(address)
    for name, value in NOTE.items():
        page.fill(f"#{name}", value)
    page.click("main form button")
    page.get_by_role("status").wait_for()
    page.screenshot(path=IMAGES / "officer-page.png")


def _dashboard(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport=SIZE)
    page.goto(address)
    page.screenshot(path=IMAGES / "dashboard.png")


if __name__ == "__main__":
    main()
