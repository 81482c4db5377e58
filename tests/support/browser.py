"""Real Chromium for tests; without it they are skipped with the reason."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CHROMIUM = shutil.which("chromium")

DESKTOP, PHONE = {"width": 1180, "height": 800}, {"width": 360, "height": 740}
VARIANTS = [
    ("fa", "light", DESKTOP),
    pytest.param("en", "light", PHONE, marks=pytest.mark.slow),
    pytest.param("fa", "dark", PHONE, marks=pytest.mark.slow),
    pytest.param("en", "dark", DESKTOP, marks=pytest.mark.slow),
]
"""Language, colour scheme and window size, so that every pair of values occurs once."""
Open = Callable[..., Page]

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def pages(browser: Browser) -> Iterator[Open]:
    """Opens pages; a script error or a violation of the page's content security policy fails the test."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def begin(address: str, **how: object) -> Page:
        contexts.append(browser.new_context(**({"viewport": DESKTOP, "accept_downloads": True} | how)))  # type: ignore[arg-type]
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: faults.append(error.message))
        # The console also shows statuses of refusals; only policy violations must not occur.
        page.on("console", lambda entry: faults.append(entry.text) if "Content Security" in entry.text else None)
        page.goto(address)
        return page

    yield begin
    for context in contexts:
        context.close()
    assert [] == faults


def accessible(page: Page) -> None:
    """Fail if *page* has accessibility violations or is wider than its window."""
    page.wait_for_load_state()
    found = Axe().run(page)
    assert 0 == found.violations_count, f"{page.url}: {found.generate_report()}"
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), page.url
