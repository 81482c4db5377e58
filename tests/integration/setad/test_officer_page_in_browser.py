"""The officer's page in a real browser: each flow, without a script and with, in both languages, light and dark."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.integration.setad.adapter_process import Faces
from tests.integration.setad.test_officer_page import TYPED
from tests.support.browser import LOOKS, Open, accessible, chromium, needs_chromium, pages

pytestmark = needs_chromium


ASK = "main form button"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def opened(browser: Browser) -> Iterator[Open]:
    """Opens a page."""
    with pages(browser) as begin:
        yield begin


def ask(page: Page, **changed: str) -> None:
    for name, value in (TYPED | changed).items():
        page.fill(f"#{name}", value)
    page.click(ASK)
    page.wait_for_load_state()


@pytest.mark.parametrize("script", [True, False])
def test_an_officer_sees_yes_with_the_parties_saves_the_receipt_and_verifies_it(
    opened: Open, office: Faces, tmp_path: Path, *, script: bool
) -> None:
    page = opened(f"{office.page}/fa/", java_script_enabled=script)
    ask(page)
    expect(page.get_by_role("status")).to_contain_text("بلی")
    expect(page.get_by_role("region", name="متعهد")).to_contain_text("آرش نمونه‌ای")
    expect(page).to_have_title("بلی · استعلام سفته الکترونیکی · سامانه ستاد")

    with page.expect_download() as download:
        page.get_by_role("button", name="ذخیره رسید").click()
    download.value.save_as(tmp_path / "receipt.jsonl")
    page.get_by_role("link", name="بررسی رسید").click()
    page.set_input_files("#file", tmp_path / "receipt.jsonl")
    page.get_by_role("button", name="بررسی کن").click()

    expect(page.get_by_role("status")).to_contain_text("ثابت است")
    expect(page.locator(".answer.YES")).to_have_text("بلی")


def test_no_is_an_answer_and_an_outage_is_unmistakably_not_one(opened: Open, office: Faces, cut_off: Faces) -> None:
    no, none = opened(f"{office.page}/en/"), opened(f"{cut_off.page}/en/")
    ask(no, amount_rials="1")
    ask(none)

    expect(no.get_by_role("status")).to_contain_text("NO")
    expect(no.get_by_role("alert")).to_have_count(0)
    expect(none.get_by_role("alert")).to_contain_text("This is not a NO")
    expect(none.get_by_role("status")).to_have_count(0)
    looks = [
        page.locator(".verdict").evaluate(
            "e => [getComputedStyle(e).borderStyle, getComputedStyle(e).color, e.querySelector('svg').innerHTML]"
        )
        for page in (no, none)
    ]
    assert not set(looks[0]) & set(looks[1])


def test_after_an_outage_one_button_asks_again(opened: Open, cut_off: Faces) -> None:
    page = opened(f"{cut_off.page}/en/")
    ask(page)
    first = page.locator("dd", has_text="-").last.inner_text()
    page.get_by_role("button", name="Ask again").click()

    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator("dd", has_text="-").last).not_to_have_text(first)


def test_wrong_input_is_told_at_the_field_and_mended_by_keyboard_alone(opened: Open, office: Faces) -> None:
    page = opened(f"{office.page}/en/")
    ask(page, serial="12")
    expect(page.get_by_role("alert")).to_contain_text("Nothing was asked yet")
    expect(page.get_by_label("Note serial")).to_have_attribute("aria-invalid", "true")

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Note serial")).to_be_focused()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type(TYPED["serial"])
    page.keyboard.press("Enter")

    expect(page.get_by_role("status")).to_contain_text("YES")


def test_a_zero_too_many_is_seen_while_it_is_typed(opened: Open, office: Faces) -> None:
    page = opened(f"{office.page}/fa/")
    page.fill("#amount_rials", "25000000000")

    expect(page.locator("#amount_rials_hint")).to_contain_text("۲۵٬۰۰۰٬۰۰۰٬۰۰۰")


@pytest.mark.parametrize(("language", "scheme", "size"), LOOKS)
def test_every_page_is_fit_for_screen_readers_and_for_a_phone(
    opened: Open, office: Faces, cut_off: Faces, language: str, scheme: str, size: dict[str, int]
) -> None:
    page = opened(f"{office.page}/{language}/", color_scheme=scheme, viewport=size)
    steps: tuple[Callable[[], object], ...] = (
        page.reload,
        lambda: ask(page, serial="12", amount_rials="x"),
        lambda: ask(page),
        lambda: page.locator("button.quiet").click(),
        lambda: page.goto(f"{office.page}/{language}/receipt"),
        lambda: page.click(ASK),
        lambda: page.goto(f"{office.page}/{language}/nowhere"),
        lambda: page.goto(f"{cut_off.page}/{language}/"),
        lambda: ask(page),
    )
    for step in steps:
        step()
        accessible(page)
        assert ("rtl" if language == "fa" else "ltr") == page.locator("html").get_attribute("dir")
