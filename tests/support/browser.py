"""Real Chromium for tests; where there is none, they say so and are skipped."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CHROMIUM = shutil.which("chromium")

DESK, PHONE = {"width": 1180, "height": 800}, {"width": 360, "height": 740}
LOOKS = [("fa", "light", DESK), ("fa", "dark", PHONE), ("en", "dark", DESK), ("en", "light", PHONE)]
"""Language, colours and size, each of them with each other but once."""
Open = Callable[..., Page]

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
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
    """Opens pages; an error of a page's script, or a breach of its policy, fails the test."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def begin(address: str, **how: object) -> Page:
        contexts.append(browser.new_context(**({"viewport": DESK, "accept_downloads": True} | how)))  # type: ignore[arg-type]
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: faults.append(error.message))
        # The status of a refusal is reported too; a breach of the policy is what must not be.
        page.on("console", lambda said: faults.append(said.text) if "Content Security" in said.text else None)
        page.goto(address)
        return page

    yield begin
    for context in contexts:
        context.close()
    assert [] == faults


def accessible(page: Page) -> None:
    """Fails where *page* is not fit for screen readers, or wider than its window."""
    page.wait_for_load_state()
    found = Axe().run(page)
    assert 0 == found.violations_count, f"{page.url}: {found.generate_report()}"
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), page.url
