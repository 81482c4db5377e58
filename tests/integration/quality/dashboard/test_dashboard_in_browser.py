"""The board in a real browser: each page, in both languages, light and dark, and how it keeps itself fresh."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from quality.attribution import Attribution
from tests.integration.quality.conftest import CBI, NATIONAL_ID
from tests.integration.quality.dashboard.conftest import DOWN_MINUTES, NOTES, NOW, RunningDashboard
from tests.integration.quality.dashboard.test_dashboard import PAGES
from tests.support.browser import VARIANTS, Open, accessible, chromium, needs_chromium, pages

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def opening(browser: Browser) -> Iterator[Open]:
    """Opens a page."""
    with pages(browser) as begin:
        yield begin


@pytest.mark.parametrize(("language", "scheme", "size"), VARIANTS)
def test_every_page_is_fit_for_screen_readers_and_for_a_phone(
    opening: Open, shown: RunningDashboard, language: str, scheme: str, size: dict[str, int]
) -> None:
    page = opening(f"{shown.address}/{language}/", color_scheme=scheme, viewport=size)
    for place in (*PAGES, "nowhere"):
        page.goto(f"{shown.address}/{language}/{place}")
        accessible(page)


def test_a_reader_finds_the_way_from_what_is_down_to_why(opening: Open, shown: RunningDashboard) -> None:
    page = opening(f"{shown.address}/en/", java_script_enabled=False)
    expect(page.get_by_role("status")).to_contain_text("A service does not answer")
    page.get_by_role("link", name="Cheque case inquiry").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Cheque case inquiry")
    expect(page.locator(".consumer-status", has_text="Central Bank").first).to_contain_text("STORE_UNAVAILABLE")
    expect(page.get_by_text("not serving")).to_be_visible()


def test_all_of_the_board_is_reached_by_keyboard(opening: Open, shown: RunningDashboard) -> None:
    page = opening(f"{shown.address}/fa/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="رفتن به متن")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_have_text("قطعی‌ها")


def test_a_report_opens_from_the_shelf_and_looks_as_it_was_made(opening: Open, shown: RunningDashboard) -> None:
    page = opening(f"{shown.address}/fa/reports")
    page.get_by_role("link", name="بانک مرکزی").first.click()

    expect(page.get_by_role("heading", level=1)).to_have_text("گزارش ماهانه کیفیت سرویس")
    assert "rgb(11, 61, 79)" == page.locator(".masthead").evaluate("e => getComputedStyle(e).backgroundColor")


def test_the_dictionary_opens_and_is_searched(opening: Open, shown: RunningDashboard) -> None:
    page = opening(f"{shown.address}/en/")
    page.get_by_role("link", name="Data dictionary").click()
    page.get_by_role("searchbox").fill("serial")

    expect(page.get_by_text("سریال سفته").first).to_be_visible()


def test_the_board_keeps_itself_fresh_and_focus_stays_where_it_was(opening: Open, shown: RunningDashboard) -> None:
    page = opening("about:blank")
    page.clock.install()
    page.goto(f"{shown.address}/en/services/{NOTES}")
    page.goto(f"{shown.address}/en/")
    expect(page.get_by_role("status")).to_contain_text("A service does not answer")
    link = page.get_by_role("link", name="Cheque case inquiry")
    link.focus()
    shown.watch.probe(range(NOW + 1 - DOWN_MINUTES, NOW + 1), NATIONAL_ID, CBI)
    try:
        page.wait_for_timeout(5_500)  # the board itself looks again after five seconds
        page.clock.run_for(16_000)
        expect(page.get_by_role("status")).to_contain_text("All services answer")
        expect(link).to_be_focused()
    finally:
        shown.watch.probe(range(NOW + 1 - DOWN_MINUTES, NOW + 1), NATIONAL_ID, CBI, Attribution.PROVIDER)


def test_a_board_that_is_gone_says_that_what_stands_there_is_the_past(opening: Open, shown: RunningDashboard) -> None:
    page = opening("about:blank")
    page.clock.install()
    page.goto(f"{shown.address}/en/")
    expect(page.get_by_role("alert")).to_have_count(0)
    page.route("**/en/", lambda route: route.abort())
    page.clock.run_for(16_000)

    expect(page.get_by_role("alert")).to_contain_text("this page is not current")
