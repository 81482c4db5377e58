"""The officer's page without a browser: what it sends, refuses, and never sends back."""

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files

import httpx
import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from estelam.core.exceptions import ServerError
from estelam.core.settings import SettingsError
from estelam.web.rendering import messages_for
from tests.integration.setad.adapter_process import Faces, faces
from tests.support.service import RunningService
from tools.env.sandbox import Sandbox

TYPED = {
    "serial": "۱۴۰۴ ۰۰۰۰ ۰۰۰۰ ۰۰۱۷",
    "obligor_id": "٩٩٩٠٠٠٠٠١٨",
    "beneficiary_id": "99000554330",
    "amount_rials": "۲٬۵۰۰٬۰۰۰٬۰۰۰",
    "executive_agency_id": "SETAD-0001",
}
SCRIPT = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


@pytest.fixture
def officer(office: Faces) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=office.page, trust_env=False) as browser:
        yield browser


def token(browser: httpx.Client) -> str:
    found = re.search(r'name="token" value="([^"]+)"', browser.get("/en/").text)
    assert found
    return found[1]


def ask(
    browser: httpx.Client,
    typed: Mapping[str, str] = TYPED,
    headers: Mapping[str, str] | None = None,
    *,
    language: str = "en",
) -> httpx.Response:
    return browser.post(f"/{language}/", data={**typed, "token": token(browser)}, headers=headers)


def verdict(response: httpx.Response) -> str:
    found = re.search(r'class="verdict (\w+)" role="(\w+)"', response.text)
    return f"{found[1]} {found[2]}" if found else ""


def test_yes_no_and_no_answer_are_three_things_by_status_class_role_and_words(
    officer: httpx.Client, cut_off: Faces
) -> None:
    yes, no = ask(officer), ask(officer, TYPED | {"amount_rials": "1"})
    with httpx.Client(base_url=cut_off.page, trust_env=False) as browser:
        none = ask(browser)

    assert [(200, "yes status"), (200, "no status"), (503, "none alert")] == [
        (response.status_code, verdict(response)) for response in (yes, no, none)
    ]
    assert "This is not a NO" in none.text
    assert "1" == none.headers["retry-after"]


def test_no_log_says_who_or_what_was_asked_about(officer: httpx.Client, cut_off: Faces) -> None:
    with capture_logs() as logs, httpx.Client(base_url=cut_off.page, trust_env=False) as other:
        for browser in (officer, other):
            ask(browser)
            ask(browser, TYPED | {"executive_agency_id": "NOBODY"})

    assert {"inquiry.refused"} <= {line["event"] for line in logs}
    for secret in ("1404000000000017", "9990000018", "99000554330", "2500000000", "NOBODY"):
        assert secret not in str(logs)


def test_a_refusal_of_the_ministry_is_no_answer_with_its_reason(officer: httpx.Client) -> None:
    response = ask(officer, TYPED | {"executive_agency_id": "NOBODY"})

    assert (400, "none alert") == (response.status_code, verdict(response))
    assert "AGENCY_NOT_MEMBER" in response.text


@pytest.mark.parametrize("language", ["fa", "en"])
def test_script_in_every_field_asks_nothing_and_is_not_sent_back(officer: httpx.Client, language: str) -> None:
    given = {**dict.fromkeys(TYPED, SCRIPT), "token": token(officer)}
    with capture_logs() as logs:
        response = officer.post(f"/{language}/", data=given)

    assert 400 == response.status_code
    assert 5 == response.text.count('aria-invalid="true"')
    assert "alert(" not in response.text
    assert [] == logs


def test_ten_thousand_characters_are_a_clear_error(officer: httpx.Client) -> None:
    long = ask(officer, dict.fromkeys(TYPED, "9" * 10_000))
    longer = ask(officer, dict.fromkeys(TYPED, "9" * 100_000))

    assert (400, 413) == (long.status_code, longer.status_code)
    assert "9" * 100 not in long.text + longer.text
    assert 'role="alert"' in long.text
    assert 'role="alert"' in longer.text


def test_what_was_typed_right_is_kept_beside_what_was_wrong(officer: httpx.Client) -> None:
    response = ask(officer, TYPED | {"serial": "12", "obligor_id": ""})

    assert 'value="99000554330"' in response.text
    assert 'value="2500000000"' in response.text
    assert "must be 16 digits" in response.text
    assert "is empty" in response.text


FOREIGN = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_another_sites_form_asks_nothing(officer: httpx.Client, headers: dict[str, str]) -> None:
    response = ask(officer, headers=headers)

    assert (403, "") == (response.status_code, verdict(response))


@pytest.mark.parametrize("given", ["", "x" * 43])
def test_a_form_without_this_browsers_token_asks_nothing(officer: httpx.Client, given: str) -> None:
    token(officer)

    assert 403 == officer.post("/en/", data={**TYPED, "token": given}).status_code


def test_a_browser_is_held_to_strict_rules_on_every_response(officer: httpx.Client) -> None:
    found = [officer.get(path) for path in ("/fa/", "/en/receipt", "/static/site.css", "/nowhere/at/all", "/de/")]

    for response in found:
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "unsafe" not in response.headers["content-security-policy"]
        assert "nosniff" == response.headers["x-content-type-options"]
        assert "no-store" == response.headers["cache-control"]
    assert [200, 200, 200, 404, 404] == [response.status_code for response in found]


def test_no_page_has_an_inline_script_style_or_foreign_address(officer: httpx.Client) -> None:
    pages = [officer.get("/fa/").text, ask(officer).text, officer.get("/en/receipt").text]
    # No address begins within a word or after a quote that is escaped; a receipt's base64 may have such slashes there.
    foreign = r"(?<![0-9A-Za-z+/])(?<!&#34;)//[a-z]"

    for text in pages:
        assert not re.search(rf"<script(?! src=\"/static/)|<style|\sstyle=|\son\w+=|{foreign}", text)
    for address in ('href="//cdn.example"', "url(//cdn.example)", "https://cdn.example"):
        assert re.search(foreign, address)


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(officer: httpx.Client) -> None:
    cookie = officer.get("/fa/").headers["set-cookie"].lower()

    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_another_name_for_this_host_is_refused(officer: httpx.Client) -> None:
    assert 400 == officer.get("/fa/", headers={"host": "evil.example"}).status_code


def test_a_receipt_that_was_saved_is_proven_and_a_changed_one_is_not(officer: httpx.Client) -> None:
    found = re.search(r'name="receipt" value="([^"]+)"', ask(officer).text)
    assert found
    kept, mine = found[1].replace("&#34;", '"'), token(officer)
    saved = officer.post("/en/receipt/save", data={"receipt": kept, "token": mine})
    proven = officer.post("/en/receipt", data={"token": mine}, files={"receipt": ("kept", saved.content)})
    changed = officer.post("/en/receipt", data={"receipt": kept.replace("A", "B", 1), "token": mine})

    assert (200, kept) == (saved.status_code, saved.text)
    assert saved.headers["content-disposition"].startswith('attachment; filename="estelam-receipt-')
    assert (200, "proven status") == (proven.status_code, verdict(proven))
    assert (422, "unproven alert") == (changed.status_code, verdict(changed))


@pytest.mark.parametrize("text", ["", "nonsense", SCRIPT, "{}", "\ud7ff\n" * 30, "[" * 60_000])
def test_what_is_no_receipt_is_neither_saved_nor_sent_back(officer: httpx.Client, text: str) -> None:
    mine = token(officer)
    for path in ("/en/receipt", "/en/receipt/save"):
        response = officer.post(path, data={"receipt": text, "token": mine})

        assert (422, "unproven alert") == (response.status_code, verdict(response))
        assert "alert(" not in response.text


def test_where_the_login_proxy_names_officers_nobody_else_asks(shared: Sandbox, promissory: RunningService) -> None:
    with (
        faces(shared, promissory.address, page_officer_header="x-forwarded-user") as office,
        httpx.Client(base_url=office.page, trust_env=False) as browser,
    ):
        unnamed, named = ask(browser), ask(browser, headers={"x-forwarded-user": "a.officer"})

    assert (403, "") == (unnamed.status_code, verdict(unnamed))
    assert (200, "yes status") == (named.status_code, verdict(named))


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", "setad.example:8080"])
def test_the_page_is_served_on_loopback_alone(shared: Sandbox, listen: str) -> None:
    with pytest.raises((SettingsError, ValidationError), match="loopback"):
        shared.setad(page_listen=listen)


@pytest.mark.parametrize("face", ["page_listen", "api_listen"])
def test_a_port_that_is_taken_keeps_the_adapter_from_starting(shared: Sandbox, office: Faces, face: str) -> None:
    taken = "127.0.0.1:" + office.page.rpartition(":")[2]

    with pytest.raises(ServerError, match="can't be bound"), faces(shared, "127.0.0.1:1", **{face: taken}):
        pass


def test_every_word_is_there_in_both_languages() -> None:
    fa, en = messages_for("sataad_adapter.web", "fa"), messages_for("sataad_adapter.web", "en")

    assert fa.keys() == en.keys()
    assert all(fa.values())
    assert all(en.values())


def test_every_rule_of_the_form_has_words_of_its_own() -> None:
    rules = {"string.note_serial", "string.agency_id", "string.person_id.form", "page.empty", "page.amount"}

    assert {f"rule_{rule}" for rule in rules} <= messages_for("sataad_adapter.web", "fa").keys()


def test_what_the_page_needs_is_in_the_package() -> None:
    packages = ("estelam.web", "sataad_adapter.web")
    held = {name: {path.name for path in files(name).joinpath("static").iterdir()} for name in packages}

    assert {"estelam.web": {"base.css", "mark.svg"}, "sataad_adapter.web": {"site.css", "site.js"}} == held
