"""The officer's web UI over plain HTTP: results, refusals, and what it never echoes."""

import base64
import csv
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest
from markupsafe import escape
from pydantic import ValidationError
from pypdf import PdfWriter
from structlog.testing import capture_logs

from development.processes import run_command
from development.sandbox import CHECK_BY_NATIONAL_ID, Sandbox
from estelam.core.errors import Reason, Refusal
from estelam.core.exceptions import ServerError
from estelam.core.model import Inquiry, Purpose
from estelam.core.settings import SettingsError
from estelam.inquiry.v1 import inquiry_pb2
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as cases
from estelam.presentation.style import FONT
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.receipts.archive import ReceiptRecord, encode
from estelam.receipts.problems import ReceiptProblem
from estelam.receipts.receipt import canonical
from estelam.web.rendering import messages_for
from sataad_adapter.verification import VerificationBackend
from tests.integration.setad.adapter_process import Adapter, running_adapter
from tests.support.service import RunningService

TYPED = {
    "serial": "۱۴۰۴ ۰۰۰۰ ۰۰۰۰ ۰۰۱۷",
    "obligor_id": "٩٩٩٠٠٠٠٠١٨",
    "beneficiary_id": "99000554330",
    "amount_rials": "۲٬۵۰۰٬۰۰۰٬۰۰۰",
    "executive_agency_id": "SETAD-0001",
}
SCRIPT = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


@pytest.fixture
def officer(adapter: Adapter) -> Iterator[httpx.Client]:
    with open_browser(adapter) as browser:
        yield browser


def open_browser(adapter: Adapter) -> httpx.Client:
    """A client that sends forms as browsers do, with the Origin of the page, and follows the redirect to the result."""
    return httpx.Client(base_url=adapter.page, headers={"origin": adapter.page}, trust_env=False, follow_redirects=True)


def ask(
    browser: httpx.Client,
    typed: Mapping[str, str] = TYPED,
    headers: Mapping[str, str] | None = None,
    *,
    language: str = "en",
) -> httpx.Response:
    return browser.post(f"/{language}/", data=dict(typed), headers=headers)


@contextmanager
def capture_metadata() -> Iterator[list[Purpose]]:
    """Collect the purpose of each inquiry that the adapter passes on."""
    sent: list[Purpose] = []
    passed_on = VerificationBackend.answer

    def answer(self: VerificationBackend, inquiry: Inquiry, *rest: Any) -> Any:
        sent.append(inquiry.purpose)
        return passed_on(self, inquiry, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VerificationBackend, "answer", answer)
        yield sent


def verdict(response: httpx.Response) -> str:
    found = re.search(r'class="verdict (\w+)" role="(\w+)"', response.text)
    return f"{found[1]} {found[2]}" if found else ""


def test_three_outcomes_differ(officer: httpx.Client, offline: Adapter) -> None:
    """YES, NO and no answer differ in status, CSS class, ARIA role and text."""
    yes, no = ask(officer), ask(officer, TYPED | {"amount_rials": "1"})
    with open_browser(offline) as browser:
        none = ask(browser)

    assert [(200, "yes status"), (200, "no status"), (503, "none alert")] == [
        (response.status_code, verdict(response)) for response in (yes, no, none)
    ]
    assert "This is not a NO" in none.text
    assert "1" == none.headers["retry-after"]


@pytest.mark.parametrize(("language", "text"), [("fa", "در سفته درج نشده است"), ("en", "Not stated in the note")])
def test_absent_address_is_named(officer: httpx.Client, language: str, text: str) -> None:
    """An address and a postal code that the note lacks are shown as not stated, never as an empty place."""
    endorsed = {"serial": "1404000000000033", "obligor_id": "99000158381", "beneficiary_id": "9990000042"}
    page = ask(officer, TYPED | endorsed | {"amount_rials": "12000000000"}, language=language).text

    assert 2 == page.count(text)


def test_logs_have_no_identifiers(officer: httpx.Client, offline: Adapter) -> None:
    """No log line holds an identifier of the form."""
    with capture_logs() as logs, open_browser(offline) as other:
        for browser in (officer, other):
            ask(browser)
            ask(browser, TYPED | {"executive_agency_id": "NOBODY"})

    assert {"inquiry.refused"} <= {line["event"] for line in logs}
    for secret in ("1404000000000017", "9990000018", "99000554330", "2500000000", "NOBODY"):
        assert secret not in str(logs)


def test_refusal_is_shown(officer: httpx.Client) -> None:
    """A mistake that the ministry finds is shown at its field in a whole sentence, and everything typed is kept."""
    response = ask(officer, TYPED | {"executive_agency_id": "setad-0001"})

    assert (400, "") == (response.status_code, verdict(response))
    assert "No answer was given: please correct these fields" in response.text
    assert '_error">Executive agency&#39;s id is not a registered member of Setad' in response.text
    for value in (TYPED | {"executive_agency_id": "setad-0001"}).values():
        assert f'value="{value}"' in response.text


@pytest.mark.parametrize("language", ["fa", "en"])
def test_script_injection(officer: httpx.Client, language: str) -> None:
    """Script in every field is refused, shown as text, and not logged."""
    with capture_logs() as logs:
        response = ask(officer, dict.fromkeys(TYPED, SCRIPT), language=language)

    assert 400 == response.status_code
    assert 5 == response.text.count('aria-invalid="true"')
    assert 5 == response.text.count("&lt;script&gt;alert(1)")
    assert not re.search(r"<script>|<img|\"'>", response.text)
    assert ["inquiry.refused"] == [event["event"] for event in logs]
    assert "script" not in str(logs)


@pytest.mark.parametrize(("language", "text"), [("en", "groups of three digits"), ("fa", "هر سه رقم")])
def test_misplaced_separators(officer: httpx.Client, language: str, text: str) -> None:
    """An amount with a digit missing in a group is not asked; the field says what is expected."""
    response = ask(officer, TYPED | {"amount_rials": "2,500,000,00"}, language=language)

    assert (400, "") == (response.status_code, verdict(response))
    assert text in response.text
    assert 'value="2,500,000,00"' in response.text


def test_long_input(officer: httpx.Client) -> None:
    """Overlong input is refused with an alert."""
    long = ask(officer, dict.fromkeys(TYPED, "9" * 1_000))
    longer = ask(officer, dict.fromkeys(TYPED, "9" * 10_000))

    assert (400, 413) == (long.status_code, longer.status_code)
    assert 'role="alert"' in long.text
    assert 'role="alert"' in longer.text


@pytest.mark.parametrize("wrong", ["12", "1404 x", "\u061c۱۴۰۴", "نام", "2,500.5", "-1"])
def test_typed_text_is_kept(officer: httpx.Client, offline: Adapter, wrong: str) -> None:
    """A form that fails keeps everything as it was typed, also what is wrong."""
    typed = dict.fromkeys(TYPED, wrong)
    with open_browser(offline) as other:
        invalid, unanswered = ask(officer, typed), ask(other)

    assert 5 == invalid.text.count(f'value="{wrong}"')
    for value in TYPED.values():
        assert 2 == unanswered.text.count(f'" value="{value}"')


def test_each_invalid_field_is_reported(officer: httpx.Client) -> None:
    """Each invalid field has its message."""
    response = ask(officer, TYPED | {"serial": "12", "obligor_id": "", "executive_agency_id": "نمونه"})

    assert "must be 16 digits" in response.text
    assert "or its exact name in the list" in response.text
    assert "is empty" in response.text


def test_invisible_characters_are_ignored(officer: httpx.Client) -> None:
    """Fields pasted with direction marks and other characters without a glyph are those that are seen."""
    marked = {name: f"\u061c{value[:1]}\u2067{value[1:]}\ufe0f\u200f" for name, value in TYPED.items()}

    assert "yes status" == verdict(ask(officer, marked))


REMEDIES = {
    Reason.DATA_STALE: ("If it lasts", 'data-wait="60"', True),
    Reason.OUTAGE_ANNOUNCED: ("If it lasts", "Ask again after", True),
    Reason.NOTE_NOT_CONFIRMED: ("If it lasts", "You can ask again now", True),
    Reason.PROVIDER_CONTRADICTS: (">Tell the administrator", "PROVIDER_CONTRADICTS\n", False),
}
"""What the page offers for a reason: its heading, a part of it, and whether it offers to ask again."""


def test_remedy_follows_reason(shared: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where the same inquiry may be answered later, the page offers it; the text to copy names nobody."""
    refusals = iter(Refusal(each, retry_seconds=9000 if "OUTAGE" in each else None) for each in REMEDIES)

    def refuse(_self: object, _inquiry: object, _seconds: float, done: Callable[[Refusal], None]) -> Callable[[], None]:
        done(next(refusals))
        return lambda: None

    monkeypatch.setattr(VerificationBackend, "answer", refuse)
    with running_adapter(shared, "127.0.0.1:1") as adapter, open_browser(adapter) as browser:
        pages = {reason: ask(browser).text for reason in REMEDIES}

    for reason, (heading, part, again) in REMEDIES.items():
        text = pages[reason]
        copied = text[text.index("<textarea") : text.index("</textarea>")]
        assert (True, True, again) == (heading in text, part in text, "Try again" in text), reason
        assert not any(value in copied for value in TYPED.values())


def test_case_and_agency(shared: Sandbox, promissory: RunningService) -> None:
    """The case reference is sent as metadata and shown; an agency is found by its name and remembered."""
    agency = "اداره کل راه و شهرسازی استان نمونه شمالی"
    typed = TYPED | {"case_reference": " پرونده ۱۲ ", "executive_agency_id": agency}
    with (
        capture_metadata() as sent,
        running_adapter(shared, promissory.address, page_officer_header="x-forwarded-user") as adapter,
        open_browser(adapter) as browser,
    ):
        browser.headers["x-forwarded-user"] = "a.officer"
        answer, form = ask(browser, typed), browser.get("/en/")

    assert "yes status" == verdict(answer)
    assert "<bdi>پرونده ۱۲</bdi>" in answer.text
    assert 'value="SETAD-0001" dir="auto"' in form.text
    assert "Agency: <bdi>" + agency in form.text
    assert "Officer: <bdi>a.officer" in form.text
    assert ("پرونده ۱۲", "a.officer") == (sent[0].case_reference, sent[0].operator)


NOTES = """amount_rials;serial;obligor_id;beneficiary_id
۲٬۵۰۰٬۰۰۰٬۰۰۰;1404000000000017;9990000018;99000554330
1;1404000000000017;9990000018;99000554330
1;140400000000001;9990000018;99000554330
"""


def test_list_of_notes(officer: httpx.Client, adapter: Adapter) -> None:
    """Each row of a list is asked once; the browser that sent it takes the answers and their receipts as files."""
    typed = {"executive_agency_id": "SETAD-0001", "case_reference": "1405/12"}
    page = officer.post("/en/batch", data=typed, files={"list": ("notes.csv", NOTES.encode())})
    for _ in range(100):
        if "The list has ended" in (page := officer.get(page.url)).text:
            break
        time.sleep(0.1)
    answers, receipts = (officer.get(f"{page.url}/{name}") for name in ("answers.csv", "receipts.jsonl"))
    found = list(csv.DictReader(answers.text.removeprefix("\ufeff").splitlines()))

    assert ["YES", "NO", "UNANSWERED"] == [row["answer"] for row in found]
    assert "serial must be 16 ASCII digits" in found[2]["reason"]
    assert ("آرش نمونه‌ای", "1405/12") == (found[0]["obligor_full_name"], found[0]["case_reference"])
    assert "Row 3 (line 4 of the file)" in page.text
    valid = officer.post("/en/receipt", data={"receipt": receipts.text})
    assert (200, "valid status") == (valid.status_code, verdict(valid))
    for name in ("", "/answers.csv", "/receipts.jsonl"):
        assert 410 == httpx.get(f"{adapter.page}{page.url.path}{name}", trust_env=False).status_code


def test_wrong_list(officer: httpx.Client) -> None:
    """A list that can't be read is not asked, and the fields beside it are kept."""
    page = officer.post("/fa/batch", data={"executive_agency_id": "ن"}, files={"list": ("notes.csv", b"a\n1\n")})
    other = officer.post("/fa/batch", data={"executive_agency_id": "A"}, files={"list": ("notes.csv", b"a\n1\n")})

    assert (400, 400) == (page.status_code, other.status_code)
    assert 'value="ن"' in page.text
    assert "the header must name each of these columns" in other.text


CROSS_SITE_HEADERS = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
]


@pytest.mark.parametrize("headers", CROSS_SITE_HEADERS)
def test_cross_site_form(officer: httpx.Client, headers: dict[str, str]) -> None:
    """A form from another site makes no inquiry."""
    response = ask(officer, headers=headers)

    assert (403, "") == (response.status_code, verdict(response))


def test_form_of_unknown_origin(adapter: Adapter) -> None:
    """A form that does not state where it comes from makes no inquiry: every browser states it."""
    with httpx.Client(base_url=adapter.page, trust_env=False) as client:
        assert 403 == client.post("/en/", data=TYPED).status_code


OWN_PAGES = [
    ("localhost:443", "https://localhost"),
    ("localhost", "https://localhost:443"),
    ("localhost:80", "http://localhost"),
    ("LOCALHOST", "http://localhost"),
    ("[::1]:8443", "https://[::1]:8443"),
    ("[::1]", "https://[::1]"),
]


@pytest.mark.parametrize(("host", "origin"), OWN_PAGES)
def test_default_port(officer: httpx.Client, host: str, origin: str) -> None:
    """Host and Origin are the same site with and without the default port."""
    assert "yes status" == verdict(ask(officer, headers={"host": host, "origin": origin}))


FOREIGN_PAGES = [
    ("localhost:443", "http://localhost"),
    ("localhost", "https://localhost:8443"),
    ("localhost", "https://localhost.evil.example"),
    ("localhost", "https://localhost:99999"),
    ("localhost:8080", "http://localhost:9090"),
]


@pytest.mark.parametrize(("host", "origin"), FOREIGN_PAGES)
def test_other_port(officer: httpx.Client, host: str, origin: str) -> None:
    """A page of another port or scheme is another site."""
    assert 403 == ask(officer, headers={"host": host, "origin": origin}).status_code


@pytest.mark.parametrize(("path", "target"), [("/", "fa/"), ("/en", "en/")])
def test_redirects_are_relative(officer: httpx.Client, path: str, target: str) -> None:
    """A redirect stays below the path under which a reverse proxy serves the site."""
    response = officer.get(path, follow_redirects=False)

    assert (303, target) == (response.status_code, response.headers["location"])


def proven_index(page: str) -> int:
    """Return the place in the ministry's ledger of the answer on *page*."""
    found = re.search(r'name="receipt" value="([^"]+)"', page)
    assert found
    fields = json.loads(found[1].replace("&#34;", '"').splitlines()[0])
    return inquiry_pb2.Receipt.FromString(base64.b64decode(fields["receipt"])).index


def test_result_is_shown_again(officer: httpx.Client) -> None:
    """A reload and the other language show the same answer, and the ministry's ledger has no further entry."""
    answer = ask(officer, TYPED | {"amount_rials": "1"})
    switched = officer.post(switch_of(answer), data=TYPED)
    again = [officer.get(answer.url), switched, officer.get(switched.url), officer.get(answer.url)]
    index = proven_index(answer.text)

    assert [(200, "no status")] * 4 == [(page.status_code, verdict(page)) for page in again]
    assert [index] * 4 == [proven_index(page.text) for page in again]
    assert index + 1 == proven_index(ask(officer).text)


def test_language_switch_keeps_typed_text(officer: httpx.Client) -> None:
    """The other language shows the form as it was typed, with the problems of unchanged fields, and asks nothing."""
    index = proven_index(ask(officer, TYPED | {"amount_rials": "1"}).text)
    typed = TYPED | {"serial": "12", "amount_rials": "x", "case_reference": "A <1>"}
    refused = ask(officer, typed)
    result = re.search(r'name="result" value="([^"]+)"', refused.text)
    assert result
    switched = officer.post("/fa/typed", data=typed | {"serial": "13", "result": result[1]})
    again = officer.get(str(switched.url).replace("/fa/", "/en/"))
    blank = officer.post("/fa/typed", data={"serial": "1404"})

    for page in (switched, again):
        assert 200 == page.status_code
        assert all(f'value="{value}"' in page.text for value in ("13", "x", "A &lt;1&gt;", TYPED["obligor_id"]))
        assert ["amount_rials"] == re.findall(r'id="(\w+)_error"', page.text)
    assert ('value="1404"' in blank.text, "_error" in blank.text) == (True, False)
    assert index + 1 == proven_index(ask(officer).text)


def switch_of(page: httpx.Response) -> str:
    """The address to which the page's language switch sends its form."""
    found = re.search(r'class="language"[^>]* formaction="([^"]+)"', page.text)
    assert found
    return str(page.url.join(found[1]))


def test_language_switch_below_a_result(officer: httpx.Client, offline: Adapter) -> None:
    """Below an answer, and where there is none, the other language shows the form as it was typed, unfolded."""
    typed = TYPED | {"serial": "13", "case_reference": "A <1>"}
    with open_browser(offline) as other:
        for browser in (officer, other):
            result = ask(browser, TYPED | {"amount_rials": "1"})
            switched = browser.post(switch_of(result), data=typed)
            back = browser.post(switch_of(switched), data=typed)

            assert (result.status_code, "fa") == (switched.status_code, switched.url.path.split("/")[1])
            assert '<details class="another">' in result.text
            for page in (switched, back):
                assert all(f'value="{value}"' in page.text for value in ("13", "A &lt;1&gt;"))
                assert '<details class="another" open>' in page.text


def test_language_switch_of_a_list(officer: httpx.Client) -> None:
    """The other language shows the list's form as it was typed, with the problems of what is unchanged."""
    typed = {"executive_agency_id": "ن", "case_reference": "A <1>"}
    rejected = officer.post("/en/batch", data=typed, files={"list": ("notes.csv", b"a\n1\n")})
    blank = officer.post(switch_of(officer.get("/en/batch")), data=typed)
    result = re.search(r'name="result" value="([^"]+)"', rejected.text)
    assert result
    same = officer.post(switch_of(rejected), data=typed | {"result": result[1]})
    changed = officer.post(switch_of(rejected), data=typed | {"executive_agency_id": "A", "result": result[1]})

    assert [200, 400, 200] == [page.status_code for page in (blank, same, changed)]
    assert all('value="A &lt;1&gt;"' in page.text and 'lang="fa"' in page.text for page in (blank, same, changed))
    assert [False, True, False] == ["executive_agency_id_error" in page.text for page in (blank, same, changed)]


def test_cookie_over_https(officer: httpx.Client) -> None:
    """Scripts can't read the cookie; behind HTTPS it is sent over HTTPS alone, and no other host can plant it."""
    secure = {"x-forwarded-proto": "https", "origin": str(officer.base_url).replace("http:", "https:")}
    for headers, expected in (({}, {"estelam"}), (secure, {"__Host-estelam", "Secure"})):
        response = officer.post("/en/", data=TYPED, headers=headers, follow_redirects=False)
        [cookie] = [each for each in response.headers.get_list("set-cookie") if "agency" not in each]

        words = {word.strip() for word in re.split("[;=]", cookie)}
        assert expected | {"HttpOnly", "SameSite", "Path"} <= words
        assert ("Secure" in words) == ("Secure" in expected)


def test_result_of_another(adapter: Adapter, officer: httpx.Client) -> None:
    """Without the cookie of the browser that asked, a result has expired, which is no answer."""
    address = ask(officer).url
    assert officer.cookies["estelam"]
    for cookies in ({}, {"estelam": "A" * 22}, {"estelam": "../"}):
        page = httpx.get(address, cookies=cookies, trust_env=False)

        assert (410, "") == (page.status_code, verdict(page))
        assert "neither a YES nor a NO" in page.text


def test_security_headers(officer: httpx.Client) -> None:
    """Every response has the strict security headers."""
    responses = [officer.get(path) for path in ("/fa/", "/en/receipt", "/static/site.css", "/nowhere/at/all", "/de/")]

    for response in responses:
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "unsafe" not in response.headers["content-security-policy"]
        assert "nosniff" == response.headers["x-content-type-options"]
        assert "no-store" == response.headers["cache-control"]
    assert [200, 200, 200, 404, 404] == [response.status_code for response in responses]


def test_no_inline_or_external_content(officer: httpx.Client) -> None:
    """No page has inline script or style or an external address."""
    pages = [officer.get("/fa/").text, ask(officer).text, officer.get("/en/receipt").text]
    # An address starts neither inside a word nor after an escaped quote, where a receipt's base64 may have slashes.
    external = r"(?<![0-9A-Za-z+/])(?<!&#34;)//[a-z]"

    for text in pages:
        assert not re.search(rf"<script(?! src=\"(\.\./)*static/)|<style|\sstyle=|\son\w+=|{external}", text)
        assert not re.search(r'(href|src|action)="/', text)
    for address in ('href="//cdn.example"', "url(//cdn.example)", "https://cdn.example"):
        assert re.search(external, address)


def test_unknown_host_header(officer: httpx.Client) -> None:
    """A request with an unknown Host header is refused."""
    assert 400 == officer.get("/fa/", headers={"host": "evil.example"}).status_code


def test_saved_receipt_verifies(officer: httpx.Client) -> None:
    """A saved receipt verifies and a changed one does not."""
    found = re.search(r'name="receipt" value="([^"]+)"', ask(officer).text)
    assert found
    archive = found[1].replace("&#34;", '"')
    saved = officer.post("/en/receipt/save", data={"receipt": archive})
    valid = officer.post("/en/receipt", files={"receipt": ("receipt.jsonl", saved.content)})

    assert (200, archive) == (saved.status_code, saved.text)
    assert saved.headers["content-disposition"].startswith('attachment; filename="estelam-receipt-')
    assert (200, "valid status") == (valid.status_code, verdict(valid))


def one_of_each(archive: str) -> dict[str, str]:
    """Return the archive of one reply with one thing wrong, by the verdict and the problem."""
    fields = json.loads(archive)
    receipt = inquiry_pb2.Receipt.FromString(base64.b64decode(fields["receipt"]))

    def with_receipt(change: Callable[[inquiry_pb2.Receipt], object]) -> str:
        changed = inquiry_pb2.Receipt()
        changed.CopyFrom(receipt)
        change(changed)
        return json.dumps(fields | {"receipt": base64.b64encode(canonical(changed)).decode()})

    def with_note(change: Callable[[bytes], bytes]) -> str:
        """Return the archive with another signature, which begins with the 4 bytes that name its key."""
        start, space, signature = receipt.checkpoint.removesuffix("\n").rpartition(" ")
        note = start + space + base64.b64encode(change(base64.b64decode(signature))).decode() + "\n"
        return with_receipt(lambda changed: setattr(changed, "checkpoint", note))

    answered = cases.CheckByNationalIdRequest(national_id="9990000050"), cases.CheckByNationalIdResponse()
    answered[1].receipt.entry = canonical(inquiry_pb2.Entry(method=CHECK_BY_NATIONAL_ID))
    other_service = ReceiptRecord(CHECK_BY_NATIONAL_ID, *answered)
    other_answer = canonical(notes.CheckNoteResponse(answer=inquiry_pb2.ANSWER_YES))
    return {
        "MALFORMED EMPTY": " \n",
        "MALFORMED NOT_A_SAVED_REPLY": archive[:-9],
        "MALFORMED REFORMATTED": json.dumps(fields, separators=(",", ":")),
        "MALFORMED DAMAGED": with_receipt(lambda changed: setattr(changed, "checkpoint", "0")),
        "MALFORMED TOO_LONG": f"{archive}\n" * 21,
        "UNCHECKED UNKNOWN_KEY": with_note(lambda signature: bytes(4) + signature[4:]),
        "UNCHECKED OTHER_SERVICE": encode(other_service).decode(),
        "INVALID OTHER_CONTENT": with_receipt(lambda changed: setattr(changed, "reply", other_answer)),
        "INVALID NOT_IN_TREE": with_receipt(lambda changed: changed.inclusion_path.append(bytes(32))),
        "INVALID WRONG_SIGNATURE": with_note(lambda signature: signature[:4] + bytes(64)),
        "INVALID PLAIN_FIELDS": with_receipt(lambda changed: setattr(changed, "inquiry_id", "other")),
    }


@pytest.mark.slow
def test_certificate_verifies(shared: Sandbox, officer: httpx.Client, tmp_path: Path) -> None:
    """A PDF certificate is verified like the receipts in it, and its pages must be those made of them."""
    found = re.search(r'name="receipt" value="([^"]+)"', ask(officer).text)
    assert found
    saved, paper = tmp_path / "saved.jsonl", tmp_path / "evidence.pdf"
    saved.write_text(found[1].replace("&#34;", '"'), "ascii")
    made = run_command(shared, "receipt", "certificate", str(saved), "--out", str(paper))
    assert 0 == made.returncode, made.stderr
    other = PdfWriter(clone_from=paper)
    other.add_blank_page(100, 100)
    other.write(tmp_path / "other.pdf")
    contents = (paper.read_bytes(), (tmp_path / "other.pdf").read_bytes(), b"%PDF-1.7 <script>alert(1)</script>")
    pages = [officer.post("/en/receipt", files={"receipt": ("evidence.pdf", content)}) for content in contents]

    assert [(200, "valid status"), (422, "none alert"), (400, "none alert")] == [
        (page.status_code, verdict(page)) for page in pages
    ]
    assert [2, 0, 0] == [page.text.count('id="proof') for page in pages]
    for page, problem in zip(pages[1:], (ReceiptProblem.OTHER_PAGES, ReceiptProblem.NOT_A_CERTIFICATE), strict=True):
        assert str(escape(problem.en[1:])) in page.text


EXIT_CODES = {"MALFORMED": 2, "UNCHECKED": 21, "INVALID": 1}
PAGES = {"MALFORMED": (400, "none alert"), "UNCHECKED": (422, "none alert"), "INVALID": (422, "invalid alert")}
ONLY_ON_PAGE = {"EMPTY", "TOO_LONG", "OTHER_SERVICE"}
"""Problems that a command, which reads files of any length and of all services, has not."""


def test_receipt_verdicts(shared: Sandbox, officer: httpx.Client, tmp_path: Path) -> None:
    """Page and command name the same problem of a receipt, and only a failed verification is INVALID."""
    found = re.search(r'name="receipt" value="([^"]+)"', ask(officer, TYPED | {"amount_rials": "1"}).text)
    assert found
    saved = tmp_path / "receipt.json"

    for expected, text in one_of_each(found[1].replace("&#34;", '"').strip()).items():
        word, _, name = expected.partition(" ")
        problem = ReceiptProblem[name]
        for language, reason in (("fa", problem.fa), ("en", problem.en)):
            page = officer.post(f"/{language}/receipt", data={"receipt": text})
            seen = page.status_code, verdict(page), str(escape(reason[1:])) in page.text
            assert (*PAGES[word], True) == seen, name
        if name not in ONLY_ON_PAGE:
            saved.write_text(f"{text}\n", "ascii")
            command = run_command(shared, "receipt", "verify", str(saved), "--json")
            assert (EXIT_CODES[word], name) == (command.returncode, json.loads(command.stdout)["problem"])


@pytest.mark.parametrize("text", ["", "nonsense", SCRIPT, "{}", "\ud7ff\n" * 30, "[" * 60_000])
def test_invalid_receipt(officer: httpx.Client, text: str) -> None:
    """Text that is no receipt is neither offered as a file nor echoed."""
    for path in ("/en/receipt", "/en/receipt/save"):
        response = officer.post(path, data={"receipt": text})

        assert (400, "none alert") == (response.status_code, verdict(response))
        assert "alert(" not in response.text


def test_officer_header_is_required(shared: Sandbox, promissory: RunningService) -> None:
    """With an officer header configured, no page is shown without it, and a name that is too long has its own text."""
    with (
        running_adapter(shared, promissory.address, page_officer_header="x-forwarded-user") as adapter,
        open_browser(adapter) as browser,
    ):
        unnamed, named = ask(browser), ask(browser, headers={"x-forwarded-user": "a.officer"})
        other = browser.get(named.url, headers={"x-forwarded-user": "b.officer"})
        long = browser.get("/en/", headers={"x-forwarded-user": "o" * 65})
        pages = [browser.get(path) for path in ("/en/", "/fa/receipt")]
        pages += [browser.post(path, data={"receipt": "x"}) for path in ("/en/receipt", "/en/receipt/save")]

    assert (403, "") == (unnamed.status_code, verdict(unnamed))
    assert (200, "yes status") == (named.status_code, verdict(named))
    assert 410 == other.status_code
    assert [403] * 4 == [page.status_code for page in pages]
    assert (403, True) == (long.status_code, "Your login name is too long" in long.text)
    assert "You are not logged in" in pages[0].text


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", "setad.example:8080"])
def test_loopback_only(shared: Sandbox, listen: str) -> None:
    """The settings refuse a web UI on any address but loopback."""
    with pytest.raises((SettingsError, ValidationError), match="loopback"):
        shared.setad(page_listen=listen)


@pytest.mark.parametrize("frontend", ["page_listen", "api_listen"])
def test_port_in_use(shared: Sandbox, adapter: Adapter, frontend: str) -> None:
    """The adapter does not start if the port of a frontend is in use."""
    taken = "127.0.0.1:" + adapter.page.rpartition(":")[2]

    with (
        pytest.raises(ServerError, match="can't be bound"),
        running_adapter(shared, "127.0.0.1:1", **{frontend: taken}),
    ):
        pass


def test_messages_are_translated() -> None:
    """Every message exists in both languages."""
    fa, en = messages_for("sataad_adapter.web", "fa"), messages_for("sataad_adapter.web", "en")

    assert fa.keys() == en.keys()
    assert all(fa.values())
    assert all(en.values())


def test_static_files() -> None:
    """The packages hold exactly the expected static files."""
    packages = ("estelam.web", "sataad_adapter.web")
    static = {name: {path.name for path in files(name).joinpath("static").iterdir()} for name in packages}

    assert {
        "estelam.web": {"base.css", "mark.svg"},
        "sataad_adapter.web": {"notes.csv", "site.css", "site.js"},
    } == static


def test_font(officer: httpx.Client) -> None:
    """The font is served, and browsers may keep it."""
    font = officer.get(f"/static/{FONT}")

    assert (200, b"wOF2") == (font.status_code, font.content[:4])
    assert "immutable" in font.headers["cache-control"]
