"""The dictionary page in a real browser, opened from disk."""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from estelam.data_model import export
from estelam.data_model.model import load
from tests.support.browser import chromium, needs_chromium

pytestmark = [needs_chromium, pytest.mark.slow]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("dictionary")
    export.write(load(), folder, {})
    return (folder / "index.html").as_uri()


@pytest.fixture(scope="module", params=["light", "dark"])
def page(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Page]:
    with browser.new_page(color_scheme=request.param, viewport={"width": 390, "height": 800}) as opened:
        opened.goto(address)
        yield opened


@pytest.mark.parametrize(
    ("query", "row"),
    [
        ("کد پستي", "estelam.promissory.v1.Party.postal_code"),
        ("tracking code", "estelam.judiciary.v1.CheckByTrackingIdRequest.tracking_id"),
        ("سریال ١٦ رقمی", "estelam.promissory.v1.CheckNoteRequest.serial"),
    ],
)
def test_search(page: Page, query: str, row: str) -> None:
    """The search finds a field in both languages, with Arabic or Persian letters and digits."""
    page.fill("#find", query)
    found = page.eval_on_selector_all("tbody tr:not([hidden])", "rows => rows.map(row => row.id)")
    page.fill("#find", "")

    assert row in found
    assert len(found) < 5


def test_language_filter(page: Page) -> None:
    """One language can be shown alone."""
    page.check("#en")
    english = page.locator("main").inner_text()
    page.check("#both")

    assert "the note's serial" in english
    assert "سریال سفته" not in english
    assert "سریال سفته" in page.locator("main").inner_text()


def test_accessibility(page: Page) -> None:
    """The page fits a phone's width and has no accessibility violations, in light and dark colours."""
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert Axe().run(page).violations_count == 0
