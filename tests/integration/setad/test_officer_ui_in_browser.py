"""The officer's web UI in Chromium: each flow, with and without JavaScript, in both languages and colour schemes."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser, FilePayload, Page, expect

from sataad_adapter.web.number_words import amount_lines
from tests.integration.setad.adapter_process import Adapter
from tests.integration.setad.test_officer_ui import NOTES, TYPED
from tests.support.browser import VARIANTS, Open, accessible, chromium, needs_chromium, pages

pytestmark = needs_chromium


SUBMIT = "main form button"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Open pages in the browser; fail on a script error or a violation of the content security policy."""
    with pages(browser) as open_page:
        yield open_page


def ask(page: Page, **changed: str) -> None:
    for name, value in (TYPED | changed).items():
        page.fill(f"#{name}", value)
    page.click(SUBMIT)
    page.wait_for_load_state()


def send_list(page: Page) -> None:
    notes = FilePayload(name="notes.csv", mimeType="text/csv", buffer=NOTES.encode())
    page.set_input_files("#list", notes)
    page.fill("#executive_agency_id", "SETAD-0001")
    page.click(SUBMIT)


@pytest.mark.parametrize("script", [True, False])
def test_yes_and_receipt(open_page: Open, adapter: Adapter, tmp_path: Path, *, script: bool) -> None:
    """An officer sees YES with the parties, saves the receipt and verifies it, with and without JavaScript."""
    page = open_page(f"{adapter.page}/fa/", java_script_enabled=script)
    ask(page)
    expect(page.get_by_role("status")).to_contain_text("بلی")
    expect(page.get_by_role("region", name="متعهد")).to_contain_text("آرش نمونه‌ای")
    expect(page).to_have_title("بلی · استعلام سفته الکترونیکی · سامانه ستاد")
    serial = page.locator("dd .id", has_text="1404000000000017")
    assert 1 == serial.evaluate("each => each.getClientRects().length")  # on one line, to be copied in one piece

    with page.expect_download() as download:
        page.get_by_role("button", name="ذخیره رسید").click()
    download.value.save_as(tmp_path / "receipt.jsonl")
    page.get_by_role("link", name="بررسی رسید").click()
    page.set_input_files("#file", tmp_path / "receipt.jsonl")
    page.get_by_role("button", name="بررسی", exact=True).click()

    expect(page.get_by_role("status")).to_contain_text("اصالت رسید تأیید شد")
    expect(page.locator(".answer.YES")).to_have_text("بلی")
    signed = page.get_by_role("region", name="صحت‌سنجی سفته")
    expect(signed).to_contain_text(re.compile("شناسه کلید امضا\\s*[0-9a-f]{16}"))
    expect(page.get_by_role("region", name="آنچه این رسید ثابت نمی‌کند")).to_contain_text("توان متعهد")


@pytest.mark.slow
@pytest.mark.parametrize("script", [True, False])
def test_language_switch(open_page: Open, adapter: Adapter, *, script: bool) -> None:
    """The language switch keeps what is typed, and Enter in a field inquires, with and without JavaScript."""
    page = open_page(f"{adapter.page}/en/", java_script_enabled=script)
    for name, value in TYPED.items():
        page.fill(f"#{name}", value)
    page.click("button.language")
    expect(page.locator("html")).to_have_attribute("lang", "fa")
    expect(page.locator("#serial")).to_have_value(TYPED["serial"])
    if script:  # which the check of accessibility needs
        accessible(page)
    page.press("#serial", "Enter")

    expect(page.get_by_role("status")).to_contain_text("بلی")


def test_no_and_no_answer_differ(open_page: Open, adapter: Adapter, offline: Adapter) -> None:
    """NO and no answer share no border style, colour or symbol."""
    no, none = open_page(f"{adapter.page}/en/"), open_page(f"{offline.page}/en/")
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


@pytest.mark.slow
@pytest.mark.parametrize("script", [True, False])
def test_list_of_notes(open_page: Open, adapter: Adapter, *, script: bool) -> None:
    """The page of a list shows its end by itself, with and without JavaScript."""
    page = open_page(f"{adapter.page}/en/batch", java_script_enabled=script)
    send_list(page)

    expect(page.get_by_role("heading", level=1)).to_have_text("The list has ended", timeout=15_000)
    expect(page.locator(".answer.YES")).to_have_text("1")
    expect(page.locator(".answer.NO")).to_have_text("1")
    expect(page.locator(".answer.none")).to_have_text("1")


@pytest.mark.slow
def test_retry_button(open_page: Open, offline: Adapter) -> None:
    """The retry button repeats the inquiry."""
    page = open_page(f"{offline.page}/en/")
    ask(page)
    first = page.locator("dd", has_text="-").last.inner_text()
    page.get_by_role("button", name="Try again").click()

    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator("dd", has_text="-").last).not_to_have_text(first)


@pytest.mark.slow
def test_correction_by_keyboard(open_page: Open, adapter: Adapter) -> None:
    """Invalid input is reported at its field and can be corrected by keyboard alone."""
    page = open_page(f"{adapter.page}/en/")
    ask(page, serial="12")
    expect(page.get_by_role("alert")).to_contain_text("No inquiry was made")
    expect(page.get_by_label("Note serial")).to_have_attribute("aria-invalid", "true")

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Note serial")).to_be_focused()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type(TYPED["serial"])
    page.keyboard.press("Enter")

    expect(page.get_by_role("status")).to_contain_text("YES")


@pytest.mark.slow
def test_several_tabs(open_page: Open, adapter: Adapter) -> None:
    """A second tab of the same browser does not invalidate the first one's form."""
    first = open_page(f"{adapter.page}/en/")
    for name, value in TYPED.items():
        first.fill(f"#{name}", value)
    second = first.context.new_page()
    second.goto(f"{adapter.page}/en/")
    ask(second)
    first.click(SUBMIT)

    for page in (first, second):
        expect(page.get_by_role("status")).to_contain_text("YES")


PREFIX = "/estelam"


@contextmanager
def prefixed(target: str) -> Iterator[str]:
    """Serve the site *target* below PREFIX, as a reverse proxy that removes it; yield its address."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            with closing(HTTPConnection(target.removeprefix("http://"))) as inside:
                inside.request(self.command, self.path.removeprefix(PREFIX), body, dict(self.headers))
                response = inside.getresponse()
                content = response.read()
            self.send_response_only(response.status)
            for name, value in response.getheaders():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 - the base class looks for this name

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("localhost", 0), Proxy) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}{PREFIX}"
        server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("script", [True, False])
def test_path_prefix(open_page: Open, adapter: Adapter, *, script: bool) -> None:
    """Links, styles, forms and redirects work under the path prefix of a reverse proxy."""
    with prefixed(adapter.page) as site:
        walk_through(open_page("about:blank", java_script_enabled=script), site)


def walk_through(page: Page, site: str) -> None:
    outside: list[str] = []
    page.on("request", lambda request: None if request.url.startswith(site) else outside.append(request.url))

    page.goto(f"{site}/fa/")
    ask(page)
    expect(page.get_by_role("status")).to_contain_text("بلی")
    page.locator("form button.quiet").click()
    expect(page.get_by_role("status")).to_contain_text("اصالت رسید تأیید شد")
    page.get_by_role("link", name="English").click()
    expect(page).to_have_url(re.compile(f"{site}/en/receipt/.+"))
    expect(page.get_by_role("status")).to_contain_text("Valid")
    page.get_by_role("link", name="Verify a note").click()
    expect(page).to_have_url(f"{site}/en/")
    ask(page, serial="12")
    expect(page.get_by_role("alert")).to_contain_text("No inquiry was made")
    page.goto(f"{site}/en/no/such/page")
    page.get_by_role("link", name="Back to the inquiry").click()
    expect(page).to_have_url(f"{site}/en/")

    assert [] == outside


@pytest.mark.slow
def test_mistake_found_by_the_ministry(open_page: Open, adapter: Adapter) -> None:
    """An agency's id in lower case is reported at its field, and can be corrected there."""
    page = open_page(f"{adapter.page}/en/")
    ask(page, executive_agency_id="setad-0001")
    agency = page.get_by_label("Executive agency's id")
    expect(page.get_by_role("alert")).to_contain_text("is not a registered member of Setad")
    expect(agency).to_have_attribute("aria-invalid", "true")
    expect(agency).to_have_value("setad-0001")
    expect(page.locator("#serial")).to_have_value(TYPED["serial"])
    agency.fill("SETAD-0001")
    page.click(SUBMIT)

    expect(page.get_by_role("status")).to_contain_text("YES")


@pytest.mark.slow
def test_printed_sheet(open_page: Open, adapter: Adapter) -> None:
    """A printed answer has the case, the answer, the inquiry id and the checkpoint as a QR code, and no buttons."""
    page = open_page(f"{adapter.page}/en/")
    ask(page, case_reference="1405/12", amount_rials="1")
    page.emulate_media(media="print")

    for shown in (".head", ".verdict", ".qr", ".paper"):
        expect(page.locator(shown)).to_be_visible()
    expect(page.locator(".head")).to_contain_text("1405/12")
    expect(page.get_by_label("Receipt")).to_contain_text(re.compile("estelam/promissory/[0-9]{11} [0-9]+:[0-9a-f]{64}"))
    expect(page.locator("button:visible")).to_have_count(0)


@pytest.mark.slow
@pytest.mark.parametrize("language", ["fa", "en"])
def test_amount_in_words(open_page: Open, adapter: Adapter, language: str) -> None:
    """While the amount is typed, the script shows the words that the result shows too."""
    page = open_page(f"{adapter.page}/{language}/")
    for amount in (1, 20, 115, 25_000_000_000, 10_000_013, 2**63 - 8):
        page.fill("#amount_rials", str(amount))

        assert amount_lines(amount, language) == page.locator("#amount_words p").all_inner_texts()


@pytest.mark.slow
@pytest.mark.parametrize(("language", "scheme", "size"), VARIANTS)
def test_accessibility(
    open_page: Open, adapter: Adapter, offline: Adapter, language: str, scheme: str, size: dict[str, int]
) -> None:
    """Every page passes the accessibility checks and fits its window, in each language, colour scheme and size."""
    page = open_page(f"{adapter.page}/{language}/", color_scheme=scheme, viewport=size)
    steps: tuple[Callable[[], object], ...] = (
        page.reload,
        lambda: ask(page, serial="12", amount_rials="x"),
        lambda: ask(page),
        lambda: page.locator("form button.quiet").click(),
        lambda: page.goto(f"{adapter.page}/{language}/receipt"),
        lambda: page.click(SUBMIT),
        lambda: page.goto(f"{adapter.page}/{language}/answers/nowhere"),
        lambda: page.goto(f"{adapter.page}/{language}/batch"),
        lambda: page.click(SUBMIT),
        lambda: send_list(page),
        lambda: page.goto(f"{offline.page}/{language}/"),
        lambda: ask(page),
    )
    for step in steps:
        step()
        accessible(page)
        assert ("rtl" if language == "fa" else "ltr") == page.locator("html").get_attribute("dir")
