"""The reports of a run: complete, safe against texts from a server, and verifiable."""

import io
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from pypdf import PdfReader
from rich.console import Console

from conformance import case_loader, known_failures
from conformance.case import Case, Instance, Step, Title
from conformance.profile import Profile
from conformance.reports import html, junit, paper, signed_json, terminal
from conformance.results import CaseResult, CaseStatus, Failure, RunResult
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.core.clock import TEHRAN
from tests.support.browser import accessible, chromium, needs_chromium

HOSTILE = 'UNKNOWN "><script>alert(1)</script> [red]\x1b[2J\x00\u202e\udc80'
"""A text that a hostile server might send."""


def failure(step: int, expected: str, actual: str, clause: str = "R2.1", profile: Profile = Profile.CORE) -> Failure:
    return Failure(step, expected, actual, clause, profile)


def result(status: CaseStatus, *failures: Failure, clause: str = "R2.1", profile: Profile = Profile.CORE) -> CaseResult:
    case = Case(
        id=f"{clause.lower()}.{status.name.lower().replace('_', '-')}",
        clause=clause,
        profile=profile,
        title=Title(en=f"Is {status}", fa="چنین است: estelam.promissory.v1.PromissoryNoteInquiryService"),
        target=Instance.PROMISSORY,
        steps=(Step(call="CheckNote", request={"serial": "1404"}), Step(call="CheckNote", request={}, caller="agency")),
    )
    return CaseResult(case, status, 0.25, list(failures))


def run_result(*results: CaseResult, error: str = "", left_out: int = 0, cut: Sequence[Case] = ()) -> RunResult:
    began = datetime(2026, 11, 24, 8, 30, tzinfo=UTC)
    return RunResult(began, 3.5, {"promissory": "localhost:50051"}, results, left_out, error, cut=cut)


ALL = run_result(
    result(CaseStatus.PASSED),
    result(CaseStatus.FAILED, failure(1, "status OK", HOSTILE)),
    result(CaseStatus.NOT_RUN, failure(1, "an instance promissory-empty", "none was given")),
    result(CaseStatus.KNOWN, failure(2, "answer NO", "answer YES", "R2.2"), clause="R2.2"),
    result(CaseStatus.STALE, clause="R2.2"),
    left_out=7,
)
PASSED = run_result(result(CaseStatus.PASSED))
WITHOUT_RECEIPTS = run_result(
    result(CaseStatus.FAILED, failure(1, "a receipt that proves the reply", "no receipt", "P3", Profile.RECEIPTS)),
    result(CaseStatus.PASSED, clause="P11", profile=Profile.ERRORS),
)
"""Of a target that is right in every answer and issues no receipts."""
PARTIAL = run_result(result(CaseStatus.PASSED), cut=[result(CaseStatus.PASSED, clause="P3").case])
FAILED_RUN = run_result(error="promissory: nobody answers")
either = pytest.mark.parametrize(
    ("run", "word"),
    [
        (PASSED, "CONFORMS"),
        (ALL, "DOES NOT CONFORM"),
        (FAILED_RUN, "COULD NOT RUN"),
        (run_result(), "DOES NOT CONFORM"),
        (PARTIAL, "PARTIAL RUN"),
    ],
)


def printed(run: RunResult, *, terminal_codes: bool = False) -> str:
    console = Console(file=io.StringIO(), width=100, force_terminal=terminal_codes)
    terminal.show(run, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def html_of(run: RunResult, folder: Path) -> str:
    html.write(folder / "report.html", run)
    return (folder / "report.html").read_text("utf-8")


def junit_of(run: RunResult, folder: Path) -> ET.Element:
    junit.write(folder / "report.xml", run)
    return ET.parse(folder / "report.xml").getroot()  # noqa: S314 - our own file


def openssl(*text: str | Path) -> bytes:
    return subprocess.run(["openssl", *text], check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    authority = DevCertificateAuthority.create(folder)
    for name in ("examiner", "another"):
        authority.issue_signing(name, "99001504616", since=datetime(2026, 1, 1, tzinfo=UTC))
    authority.issue("elliptic", ["99001504616"])
    return folder


@either
def test_same_outcome(run: RunResult, word: str, tmp_path: Path, pki: Path) -> None:
    """Every report shows the same outcome."""
    signed_json.write(tmp_path / "report.json", run, pki)
    heading = re.search(r"<h1.*?</h1>", html_of(run, tmp_path))

    assert heading is not None
    assert f">{word}<" in heading[0]
    assert word == json.loads((tmp_path / "report.json").read_text("utf-8"))["verdict"]
    assert re.search(rf"^{word}\b", printed(run), re.MULTILINE)


def test_terminal() -> None:
    """The terminal shows each case that did not pass with its clause and expected and actual results."""
    text = " ".join(printed(ALL).split())

    assert "expected status OK" in text
    assert "step 2 call CheckNote of promissory by agency" in text
    assert "expected answer NO actual answer YES" in text
    assert text.index("status OK") < text.index("answer NO") < text.index("none was given")
    assert "none was given" in text
    assert " ".join(case_loader.clauses()["R2.2"].en.split())[:60] in text
    assert "1 passed, 1 failed, 1 not run, 1 known to fail, 1 known to fail, and passed" in text
    assert "7 cases were excluded" in text
    assert "r2.1.passed" not in text


def test_question_of_a_failure(tmp_path: Path, pki: Path) -> None:
    """Every report has the method, the caller and the request of each failure."""
    signed_json.write(tmp_path / "report.json", ALL, pki)
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    texts = printed(ALL), ParsedPage(html_of(ALL, tmp_path)).text, str(junit_of(ALL, tmp_path).findtext(".//failure"))
    sent = {"target": "promissory", "caller": "setad", "call": "CheckNote", "request": {"serial": "1404"}}

    assert sent == report["cases"][1]["failures"][0]["sent"]
    for text in texts:
        assert "CheckNote of promissory by setad" in text
        assert '{"request": {"serial": "1404"}}' in text


def test_profiles(tmp_path: Path, pki: Path) -> None:
    """A target without receipts conforms to core and errors, and each report says so of each profile."""
    signed_json.write(tmp_path / "report.json", WITHOUT_RECEIPTS, pki)
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    page = " ".join(ParsedPage(html_of(WITHOUT_RECEIPTS, tmp_path)).text.split())
    suites = {suite.get("name"): suite for suite in junit_of(WITHOUT_RECEIPTS, tmp_path)}
    verdicts = {"core": "CONFORMS", "errors": "CONFORMS", "receipts": "DOES NOT CONFORM", "full": "DOES NOT CONFORM"}

    assert verdicts == {profile: verdict["outcome"] for profile, verdict in report["profiles"].items()}
    assert verdicts == {
        each.get("name"): str(each.get("value")).partition(",")[0] for each in suites["profiles"].iter("property")
    }
    for profile, verdict in verdicts.items():
        assert re.search(rf"^ +{profile} +{verdict}, \d of \d cases passed$", printed(WITHOUT_RECEIPTS), re.MULTILINE)
        assert re.search(rf"\b{profile} [^a-zA-Z]*{verdict}\b", page)


def test_house_rule_under_its_own_clause(tmp_path: Path) -> None:
    """A violated rule of ours stands under its own clause, and the resolution's clause is met."""
    text = " ".join(printed(WITHOUT_RECEIPTS).split())
    page = " ".join(ParsedPage(html_of(WITHOUT_RECEIPTS, tmp_path)).text.split())
    suites = {suite.get("name"): suite for suite in junit_of(WITHOUT_RECEIPTS, tmp_path)}

    assert case_loader.clauses()["P3"].en in text
    assert "Method one" not in text
    assert "Method one" not in page.partition("What did not pass")[2].partition("Clauses and cases")[0]
    assert ("0", "1") == (suites["R2.1"].get("failures"), suites["P3"].get("failures"))


def test_partial_run() -> None:
    """A run that was cut says how many cases of how many ran, and never that the target conforms."""
    assert "partial run: 1 of 2 cases" in printed(PARTIAL)
    assert "CONFORM" not in printed(PARTIAL)


def test_terminal_escapes() -> None:
    """Control and direction characters from a server are escaped."""
    text = printed(ALL)

    assert set(text) & {"\x1b", "\x00", "\u202e", "\udc80"} == set()
    assert r"\x1b[2J\x00\u202e\udc80" in text
    assert "[red]" in text


def test_progress_without_terminal() -> None:
    """Progress prints nothing without a terminal."""
    console = Console(file=io.StringIO(), force_terminal=False)
    with terminal.Progress(console) as progress:
        progress.total(2)
        progress.done(result(CaseStatus.PASSED))
        progress.done(result(CaseStatus.FAILED))

    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().strip() == ""


def test_junit(tmp_path: Path) -> None:
    """JUnit has a suite for each clause and counts failures and errors."""
    root = junit_of(ALL, tmp_path)

    assert {"tests": "5", "failures": "3", "errors": "1"} == {
        k: root.attrib[k] for k in ("tests", "failures", "errors")
    }
    assert ["profiles", "R2.1", "R2.2"] == [suite.get("name") for suite in root]
    assert "<script>" in str(root.findtext("testsuite[@name='R2.1']//failure"))


def test_junit_of_failed_run(tmp_path: Path) -> None:
    """A run that could not start is one JUnit error for its profile."""
    root = junit_of(FAILED_RUN, tmp_path)

    assert ("1", "1") == (root.get("tests"), root.get("errors"))
    assert [FAILED_RUN.error] == [error.get("message") for error in root.iter("error")]


def test_signed_report_verifies(tmp_path: Path, pki: Path) -> None:
    """A signed report verifies and holds every case."""
    report = tmp_path / "report.json"
    signed_json.write(report, ALL, pki)
    run = signed_json.verify(report, pki / "examiner.crt")

    assert [one.case.id for one in ALL.results] == [case["id"] for case in run["cases"]]
    assert (5, 7) == (sum(run["counts"].values()), run["left_out"])


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_openssl_verifies(tmp_path: Path, pki: Path) -> None:
    """The openssl command verifies a signed report."""
    report, key = tmp_path / "report.json", tmp_path / "examiner.pem"
    signed_json.write(report, ALL, pki)
    key.write_bytes(openssl("x509", "-in", pki / "examiner.crt", "-noout", "-pubkey"))
    text = ("-inkey", key, "-in", report, "-sigfile", f"{report}.sig")

    assert b"Signature Verified Successfully" in openssl("pkeyutl", "-verify", "-rawin", "-pubin", *text)


def test_report_replaces_earlier_one(tmp_path: Path, pki: Path) -> None:
    """A report replaces an earlier file as a whole: a process that is reading the earlier one reads it to its end."""
    names = ["r.xml", "r.html", "r.json", "r.json.sig"]
    for name in names:
        (tmp_path / name).write_text("earlier", "ascii")
        (tmp_path / f"{name}.open").hardlink_to(tmp_path / name)
    junit.write(tmp_path / "r.xml", PASSED)
    html.write(tmp_path / "r.html", PASSED)
    signed_json.write(tmp_path / "r.json", PASSED, pki)

    assert {"earlier"} == {(tmp_path / f"{name}.open").read_text("ascii") for name in names}
    assert b"earlier" not in {(tmp_path / name).read_bytes() for name in names}


def test_invalid_signature(tmp_path: Path, pki: Path) -> None:
    """A changed report or another examiner's certificate does not verify."""
    report = tmp_path / "report.json"
    signed_json.write(report, ALL, pki)
    with pytest.raises(signed_json.SignatureError, match="not what this examiner signed"):
        signed_json.verify(report, pki / "another.crt")
    with pytest.raises(signed_json.SignatureError, match="not a certificate of an Ed25519 key"):
        signed_json.verify(report, pki / "elliptic.crt")
    report.write_text(report.read_text("utf-8").replace('"failed"', '"passed"'), "utf-8")
    with pytest.raises(signed_json.SignatureError, match="not what this examiner signed"):
        signed_json.verify(report, pki / "examiner.crt")


@pytest.mark.parametrize("key", ["missing", "elliptic"])
def test_no_examiner_key(key: str, tmp_path: Path, pki: Path) -> None:
    """Without an Ed25519 examiner's key no report is written."""
    if key != "missing":
        shutil.copy(pki / f"{key}.key", tmp_path / "examiner.key")
    with pytest.raises(signed_json.SignatureError, match="key"):
        signed_json.write(tmp_path / "report.json", PASSED, tmp_path)

    assert not (tmp_path / "report.json").exists()


def test_cases_hash(tmp_path: Path, pki: Path) -> None:
    """The hash of the cases depends on every case and on no result."""
    case = result(CaseStatus.PASSED).case
    reworded = case.model_copy(update={"steps": (case.steps[0].model_copy(update={"timeout": 9}),)})

    def cases_hash(*results: CaseResult) -> str:
        signed_json.write(tmp_path / "report.json", run_result(*results), pki)
        return str(signed_json.verify(tmp_path / "report.json", pki / "examiner.crt")["cases_sha256"])

    plain = cases_hash(CaseResult(case, CaseStatus.PASSED))

    assert plain == cases_hash(CaseResult(case, CaseStatus.FAILED))
    assert len({plain, cases_hash(CaseResult(reworded, CaseStatus.PASSED)), cases_hash()}) == 3


class ParsedPage(HTMLParser):
    """The tags, references, ids and text of an HTML page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.references: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.references += [str(value) for name, value in attrs if name in {"href", "src", "action", "data", "srcset"}]
        self.ids += [str(value) for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_is_self_contained(tmp_path: Path) -> None:
    """The page has no scripts and no external references."""
    text = html_of(ALL, tmp_path)
    seen = ParsedPage(text)

    assert seen.tags & {"script", "link", "img", "iframe", "object", "form", "base"} == set()
    assert all(reference.startswith("#") for reference in seen.references)
    assert re.findall(r"url\((?!data:)|@import|https?:", text) == []


def test_page_links(tmp_path: Path) -> None:
    """Every case that did not pass links to its details and these to its clause; a passed one is named."""
    seen = ParsedPage(html_of(ALL, tmp_path))
    ids = {one.case.id for one in ALL.results if one.status is not CaseStatus.PASSED} | {"R2.1", "R2.2"}

    assert ids == {reference.removeprefix("#") for reference in seen.references}
    assert sorted(ids) == sorted(seen.ids)
    assert "r2.1passed" == seen.text.rpartition("estelam conformance list")[2].split()[0]


def test_page_content(tmp_path: Path) -> None:
    """The page has the clauses in both languages and the actual results, escaped."""
    text = " ".join(ParsedPage(html_of(ALL, tmp_path)).text.split())

    for clause in (case_loader.clauses()["R2.1"], case_loader.clauses()["R2.2"]):
        assert " ".join(clause.en.split()) in text
        assert " ".join(clause.fa.split()) in text
    assert r'UNKNOWN "><script>alert(1)</script> [red]\x1b[2J\x00\u202e\udc80' in text
    assert "۱۴۰۵/۰۹/۰۳" in text
    assert "1405-09-03 12:00:00 (2026-11-24)" in text


@needs_chromium
@pytest.mark.slow
def test_page_on_a_phone(tmp_path: Path) -> None:
    """The page fits 320 px; it shows one language and, if chosen, the cases of one status, without a script."""
    html_of(ALL, tmp_path)
    with (
        chromium() as browser,
        browser.new_context(viewport={"width": 320, "height": 740}, java_script_enabled=False) as without_script,
        browser.new_page(viewport={"width": 320, "height": 740}) as page,
    ):
        page.goto((tmp_path / "report.html").as_uri())
        accessible(page)
        plain = without_script.new_page()
        plain.goto((tmp_path / "report.html").as_uri())
        persian = plain.inner_text("h1")
        plain.check("[value=en]")
        plain.check("[value=not-run]")
        english, shown = plain.inner_text("h1"), plain.locator(".failure:visible")

        assert ("مطابق نیست" in persian, "CONFORM" in persian) == (True, False)
        assert ("مطابق" in english, "DOES NOT CONFORM" in english) == (False, True)
        assert ["r2.1.not-run"] == [each.get_attribute("id") for each in shown.all()]


def test_paper(tmp_path: Path, pki: Path) -> None:
    """The PDF states the outcome in its language, and has the signed report attached; it is made again alike."""
    for name, language in (("fa", "fa"), ("en", "en"), ("again", "en")):
        paper.write(tmp_path / f"{name}.pdf", ALL, pki, language)
    english = PdfReader(tmp_path / "en.pdf")
    for name, [content] in english.attachments.items():
        (tmp_path / name).write_bytes(content)

    assert "نیست" in PdfReader(tmp_path / "fa.pdf").pages[0].extract_text()
    assert (1, True) == (len(english.pages), "DOES NOT CONFORM" in english.pages[0].extract_text())
    assert "DOES NOT CONFORM" == signed_json.verify(tmp_path / "report.json", pki / "examiner.crt")["verdict"]
    assert (tmp_path / "en.pdf").read_bytes() == (tmp_path / "again.pdf").read_bytes()


def test_page_of_failed_run(tmp_path: Path) -> None:
    """The page of a run that could not start has the reason."""
    assert FAILED_RUN.error in ParsedPage(html_of(FAILED_RUN, tmp_path)).text


def written(folder: Path, text: str) -> Path:
    path = folder / "known.yaml"
    path.write_text(text, "utf-8")
    return path


def test_known_failures(tmp_path: Path) -> None:
    """A known failure applies through its last day in Iran."""
    today = datetime.now(TEHRAN).date()
    days = {"holds": today + timedelta(days=9), "last-day": today, "over": today - timedelta(days=1)}
    entries = [f"- case: {case}\n  reason: fixed soon\n  expires: {day}\n" for case, day in days.items()]
    found = known_failures.read(written(tmp_path, "".join(entries)))

    assert {"holds": ("fixed soon", days["holds"]), "last-day": ("fixed soon", today)} == {
        case: (failure.reason, failure.expires) for case, failure in found.items()
    }


def test_jalali_expiry(tmp_path: Path) -> None:
    """The last day may be Jalali, also one that the Gregorian calendar lacks."""
    found = known_failures.read(written(tmp_path, "- case: a\n  reason: b\n  expires: 1470-02-31\n"))

    assert date(2091, 5, 21) == found["a"].expires


def test_no_known_failures(tmp_path: Path) -> None:
    """An empty list is valid."""
    assert {} == known_failures.read(written(tmp_path, "# nothing known\n"))


ENTRY = f"- case: a\n  reason: b\n  expires: {date(2099, 1, 1)}\n"


@pytest.mark.parametrize(
    ("text", "run"),
    [
        ("- case: a\n  expires: 2099-01-01\n", "entry 1: reason: is missing"),
        ("- case: a\n  reason: b\n", "entry 1: expires: is missing"),
        ("- case: a\n  reason: ''\n  expires: 2099-01-01\n", "entry 1: reason: "),
        ("- case: a\n  reason: b\n  expires: soon\n", "entry 1: expires: is not a date"),
        ("- case: a\n  reason: b\n  expires: 99-01-01\n", "entry 1: expires: has a year that is not of four digits"),
        ("- case: a\n  reason: b\n  expires: 0620-01-01\n", "entry 1: expires: has a year that is neither"),
        ("- case: a\n  reason: b\n  expires: 1405-07-31\n", "entry 1: expires: is a day that its calendar"),
        ("- case: a\n  reason: b\n  expires: 2999-01-01\n", "entry 1: expires: has a year that is neither"),
        (ENTRY + "  because: c\n", "entry 1: because: "),
        (ENTRY + ENTRY, "entry 2: case: a is a duplicate"),
        ("- a\n", "entry 1: entry: "),
        ("case: a\n", "must be a list"),
        ("- case: [\n", "line 2: not YAML"),
        ("- case: \0\n", "not YAML"),
    ],
)
def test_invalid_known_failures(text: str, run: str, tmp_path: Path) -> None:
    """An error in the list is reported with its place."""
    with pytest.raises(known_failures.KnownFailuresError, match=f"known.yaml: .*{re.escape(run)}"):
        known_failures.read(written(tmp_path, text))


def test_missing_known_failures(tmp_path: Path) -> None:
    """A missing list is an error."""
    with pytest.raises(known_failures.KnownFailuresError, match="can't be read"):
        known_failures.read(tmp_path / "missing.yaml")
