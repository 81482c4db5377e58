"""The dashboard in a real browser: accessibility, navigation and refresh."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from quality.attribution import Attribution
from tests.integration.quality.conftest import CBI, NATIONAL_ID
from tests.integration.quality.dashboard.conftest import DOWN_MINUTES, NOTES, NOW, RunningDashboard
from tests.integration.quality.dashboard.test_dashboard import PAGES
from tests.support.browser import VARIANTS, Open, accessible, chromium, needs_chromium, pages
from tests.support.screenshots import Screenshots

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens a page."""
    with pages(browser) as begin:
        yield begin


@pytest.mark.slow
@pytest.mark.parametrize(("language", "scheme", "size"), VARIANTS)
def test_accessibility(
    open_page: Open, running_dashboard: RunningDashboard, language: str, scheme: str, size: dict[str, int]
) -> None:
    """Every page passes the accessibility checks in each language, colour scheme and size."""
    page = open_page(f"{running_dashboard.address}/{language}/", color_scheme=scheme, viewport=size)
    for place in (*PAGES, "nowhere"):
        page.goto(f"{running_dashboard.address}/{language}/{place}")
        accessible(page)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "scheme", "width"),
    [("fa", "light", 1280), ("en", "dark", 1280), ("en", "light", 320), ("fa", "dark", 320)],
)
def test_looks(
    browser: Browser, open_page: Open, running_dashboard: RunningDashboard, language: str, scheme: str, width: int
) -> None:
    """Every page looks like its committed screenshot, in each language, colour scheme and width."""
    shots, size = Screenshots(browser), {"width": width, "height": 800}
    page = open_page("about:blank", color_scheme=scheme, viewport=size)
    page.route("**/*.js", lambda route: route.abort())  # the script states the page's age, which differs each time
    differing = []
    for place in PAGES:
        page.goto(f"{running_dashboard.address}/{language}/{place}")
        name = re.sub(r"\W+", "-", place or "overview").strip("-")
        if shots.differs(page, f"dashboard/{name}-{language}-{scheme}-{width}"):
            differing.append(place)

    assert [] == differing


def test_from_overview_to_reason(open_page: Open, running_dashboard: RunningDashboard) -> None:
    """The overview links to the service page with the reason of a failure, without script."""
    page = open_page(f"{running_dashboard.address}/en/", java_script_enabled=False)
    expect(page.get_by_role("status")).to_contain_text("A service does not answer")
    page.get_by_role("link", name="Cheque case inquiry").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Cheque case inquiry")
    expect(page.locator(".consumer-status", has_text="Central Bank").first).to_contain_text("STORE_UNAVAILABLE")
    expect(page.get_by_text("not serving")).to_be_visible()


@pytest.mark.slow
def test_keyboard(open_page: Open, running_dashboard: RunningDashboard) -> None:
    """The pages can be reached by keyboard."""
    page = open_page(f"{running_dashboard.address}/fa/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="پرش به محتوای اصلی")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_have_text("قطعی‌ها")


@pytest.mark.slow
def test_report_page(open_page: Open, running_dashboard: RunningDashboard) -> None:
    """A report opens with its own styles."""
    page = open_page(f"{running_dashboard.address}/fa/reports")
    page.get_by_role("link", name="بانک مرکزی").first.click()

    expect(page.get_by_role("heading", level=1)).to_have_text("گزارش ماهانه کیفیت سرویس")
    assert "rgb(11, 61, 79)" == page.locator(".masthead").evaluate("e => getComputedStyle(e).backgroundColor")


@pytest.mark.slow
def test_dictionary(open_page: Open, running_dashboard: RunningDashboard) -> None:
    """The data dictionary opens and can be searched."""
    page = open_page(f"{running_dashboard.address}/en/")
    page.get_by_role("link", name="Data dictionary").click()
    page.get_by_role("searchbox").fill("serial")
    page.keyboard.press("Enter")

    expect(page.get_by_text("CheckNoteRequest.serial").or_(page.get_by_text("the note's serial")).first).to_be_visible()
    expect(page.get_by_role("link", name="Data dictionary")).to_have_attribute("aria-current", "page")


@pytest.mark.slow
def test_refresh(open_page: Open, running_dashboard: RunningDashboard) -> None:
    """The page refreshes itself and keeps the focus."""
    page = open_page("about:blank")
    page.clock.install()
    page.goto(f"{running_dashboard.address}/en/services/{NOTES}")
    page.goto(f"{running_dashboard.address}/en/")
    expect(page.get_by_role("status")).to_contain_text("A service does not answer")
    link = page.get_by_role("link", name="Cheque case inquiry")
    link.focus()
    running_dashboard.quality_store.probe(range(NOW + 1 - DOWN_MINUTES, NOW + 1), NATIONAL_ID, CBI)
    try:
        status = page.get_by_role("status")
        for _ in range(60):  # a status is kept for ten times as long as it took to read
            if "A service reports that it is not serving" in status.inner_text():
                break
            page.wait_for_timeout(2_000)
            page.clock.run_for(16_000)
        expect(status).to_contain_text("A service reports that it is not serving")
        expect(link).to_be_focused()
    finally:
        running_dashboard.quality_store.probe(
            range(NOW + 1 - DOWN_MINUTES, NOW + 1), NATIONAL_ID, CBI, Attribution.PROVIDER
        )


def test_lost_connection(open_page: Open, running_dashboard: RunningDashboard) -> None:
    """A page that can't be refreshed shows that it is not current."""
    page = open_page("about:blank")
    page.clock.install()
    page.goto(f"{running_dashboard.address}/en/")
    expect(page.get_by_role("alert")).to_have_count(0)
    page.route("**/en/", lambda route: route.abort())
    page.clock.run_for(16_000)

    expect(page.get_by_role("alert")).to_contain_text("this page is not current")
