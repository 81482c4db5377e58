"""What is told of a run: nothing is left out, nothing that a server said does harm, and what was signed stays so."""

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
from rich.console import Console

from conformance import case_loader, known_failures
from conformance.case import Case, Instance, Step, Title
from conformance.reports import html, junit, signed_json, terminal
from conformance.results import Complaint, Result, Standing, Verdict
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.core.clock import TEHRAN

HOSTILE = 'UNKNOWN "><script>alert(1)</script> [red]\x1b[2J\x00\u202e\udc80'
"""What a hostile server might say."""


def result(standing: Standing, *complaints: Complaint, clause: str = "R2.1") -> Result:
    case = Case(
        id=f"{clause.lower()}.{standing.name.lower().replace('_', '-')}",
        clause=clause,
        title=Title(en=f"Is {standing}", fa="چنین است"),
        target=Instance.PROMISSORY,
        steps=(Step(call="CheckNote", request={}),),
    )
    return Result(case, standing, 0.25, list(complaints))


def verdict(*results: Result, trouble: str = "", left_out: int = 0) -> Verdict:
    began = datetime(2026, 11, 24, 8, 30, tzinfo=UTC)
    return Verdict(began, 3.5, {"promissory": "localhost:50051"}, results, left_out, trouble)


ALL = verdict(
    result(Standing.PASSED),
    result(Standing.FAILED, Complaint(1, "status OK", HOSTILE)),
    result(Standing.NOT_RUN, Complaint(1, "an instance promissory-empty", "none was given")),
    result(Standing.KNOWN, Complaint(2, "answer NO", "answer YES"), clause="R2.2"),
    result(Standing.STALE, clause="R2.2"),
    left_out=7,
)
PASSED = verdict(result(Standing.PASSED))
TROUBLE = verdict(trouble="promissory: nobody answers")
either = pytest.mark.parametrize(
    ("told", "word"),
    [(PASSED, "CONFORMS"), (ALL, "DOES NOT CONFORM"), (TROUBLE, "COULD NOT RUN"), (verdict(), "DOES NOT CONFORM")],
)


def printed(told: Verdict, *, terminal_codes: bool = False) -> str:
    console = Console(file=io.StringIO(), width=100, force_terminal=terminal_codes)
    terminal.show(told, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def laid_out(told: Verdict, folder: Path) -> str:
    html.write(folder / "report.html", told)
    return (folder / "report.html").read_text("utf-8")


def junit_of(told: Verdict, folder: Path) -> ET.Element:
    junit.write(folder / "report.xml", told)
    return ET.parse(folder / "report.xml").getroot()  # noqa: S314 - our own file


def openssl(*words: str | Path) -> bytes:
    return subprocess.run(["openssl", *words], check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    authority = DevCertificateAuthority.create(folder)
    for name in ("examiner", "another"):
        authority.issue_signing(name, "99001504616")
    authority.issue("elliptic", ["99001504616"])
    return folder


@either
def test_every_report_comes_to_the_same_verdict(told: Verdict, word: str, tmp_path: Path, pki: Path) -> None:
    signed_json.write(tmp_path / "report.json", told, pki)
    heading = re.search(r"<h1.*?</h1>", laid_out(told, tmp_path))

    assert heading is not None
    assert f">{word}<" in heading[0]
    assert word == json.loads((tmp_path / "report.json").read_text("utf-8"))["verdict"]
    assert re.search(rf"^{word}\b", printed(told), re.MULTILINE)


def test_the_terminal_shows_what_did_not_pass_with_its_clause_expected_and_seen() -> None:
    words = " ".join(printed(ALL).split())

    assert "expected status OK" in words
    assert "step 2 expected answer NO seen answer YES" in words
    assert "none was given" in words
    assert " ".join(case_loader.clauses()["R2.2"].en.split())[:60] in words
    assert "1 passed, 1 failed, 1 not run, 1 known to fail, 1 known to fail, and passed" in words
    assert "7 cases were left out" in words
    assert "r2.1.passed" not in words


def test_what_a_server_said_neither_steers_the_terminal_nor_the_reader() -> None:
    words = printed(ALL)

    assert set(words) & {"\x1b", "\x00", "\u202e", "\udc80"} == set()
    assert r"\x1b[2J\x00\u202e\udc80" in words
    assert "[red]" in words


def test_progress_counts_cases_and_leaves_nothing_behind_where_nobody_watches() -> None:
    console = Console(file=io.StringIO(), force_terminal=False)
    with terminal.Progress(console) as progress:
        progress.total(2)
        progress.done(result(Standing.PASSED))
        progress.done(result(Standing.FAILED))

    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().strip() == ""


def test_junit_has_a_suite_for_each_clause_and_counts_what_does_not_conform(tmp_path: Path) -> None:
    root = junit_of(ALL, tmp_path)

    assert {"tests": "5", "failures": "3", "errors": "1"} == {
        k: root.attrib[k] for k in ("tests", "failures", "errors")
    }
    assert ["R2.1", "R2.2"] == [suite.get("name") for suite in root]
    assert "<script>" in str(root.findtext(".//failure"))


def test_junit_of_a_run_that_could_not_be_is_an_error(tmp_path: Path) -> None:
    root = junit_of(TROUBLE, tmp_path)

    assert ("1", "1") == (root.get("tests"), root.get("errors"))
    assert [TROUBLE.trouble] == [error.get("message") for error in root.iter("error")]


def test_a_signed_report_is_proven_whole(tmp_path: Path, pki: Path) -> None:
    report = tmp_path / "report.json"
    signed_json.write(report, ALL, pki)
    told = signed_json.verify(report, pki / "examiner.crt")

    assert [one.case.id for one in ALL.results] == [case["id"] for case in told["cases"]]
    assert (5, 7) == (sum(told["counts"].values()), told["left_out"])


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_openssl_proves_a_signed_report_too(tmp_path: Path, pki: Path) -> None:
    report, key = tmp_path / "report.json", tmp_path / "examiner.pem"
    signed_json.write(report, ALL, pki)
    key.write_bytes(openssl("x509", "-in", pki / "examiner.crt", "-noout", "-pubkey"))
    words = ("-inkey", key, "-in", report, "-sigfile", f"{report}.sig")

    assert b"Signature Verified Successfully" in openssl("pkeyutl", "-verify", "-rawin", "-pubin", *words)


def test_a_changed_report_or_another_examiners_proves_nothing(tmp_path: Path, pki: Path) -> None:
    report = tmp_path / "report.json"
    signed_json.write(report, ALL, pki)
    with pytest.raises(signed_json.SignatureError, match="not what this examiner signed"):
        signed_json.verify(report, pki / "another.crt")
    with pytest.raises(signed_json.SignatureError, match="not an Ed25519 certificate"):
        signed_json.verify(report, pki / "elliptic.crt")
    report.write_text(report.read_text("utf-8").replace('"failed"', '"passed"'), "utf-8")
    with pytest.raises(signed_json.SignatureError, match="not what this examiner signed"):
        signed_json.verify(report, pki / "examiner.crt")


@pytest.mark.parametrize("key", ["missing", "elliptic"])
def test_without_an_examiners_key_nothing_is_signed(key: str, tmp_path: Path, pki: Path) -> None:
    if key != "missing":
        shutil.copy(pki / f"{key}.key", tmp_path / "examiner.key")
    with pytest.raises(signed_json.SignatureError, match="key"):
        signed_json.write(tmp_path / "report.json", PASSED, tmp_path)

    assert not (tmp_path / "report.json").exists()


def test_the_hash_of_the_book_depends_on_every_word_of_every_case_and_on_no_result(tmp_path: Path, pki: Path) -> None:
    case = result(Standing.PASSED).case
    reworded = case.model_copy(update={"steps": (case.steps[0].model_copy(update={"timeout": 9}),)})

    def book_of(*results: Result) -> str:
        signed_json.write(tmp_path / "report.json", verdict(*results), pki)
        return str(signed_json.verify(tmp_path / "report.json", pki / "examiner.crt")["book_sha256"])

    plain = book_of(Result(case, Standing.PASSED))

    assert plain == book_of(Result(case, Standing.FAILED))
    assert len({plain, book_of(Result(reworded, Standing.PASSED)), book_of()}) == 3


class Reading(HTMLParser):
    """A page as a browser would take it apart: tags, what they refer to, ids, and text."""

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


def test_the_page_needs_nothing_else_and_runs_nothing(tmp_path: Path) -> None:
    text = laid_out(ALL, tmp_path)
    seen = Reading(text)

    assert seen.tags & {"script", "link", "img", "iframe", "object", "form", "base"} == set()
    assert all(reference.startswith("#") for reference in seen.references)
    assert re.findall(r"url\(|@import|https?:", text) == []


def test_the_page_has_every_case_in_its_matrix_and_each_cell_leads_to_what_is_told_of_it(tmp_path: Path) -> None:
    seen = Reading(laid_out(ALL, tmp_path))
    ids = {one.case.id for one in ALL.results}

    assert ids == {reference.removeprefix("#") for reference in seen.references}
    assert sorted(ids) == sorted(seen.ids)


def test_the_page_speaks_both_languages_and_quotes_the_clause_and_what_was_seen(tmp_path: Path) -> None:
    text = " ".join(Reading(laid_out(ALL, tmp_path)).text.split())

    for clause in (case_loader.clauses()["R2.1"], case_loader.clauses()["R2.2"]):
        assert " ".join(clause.en.split()) in text
        assert " ".join(clause.fa.split()) in text
    assert r'UNKNOWN "><script>alert(1)</script> [red]\x1b[2J\x00\u202e\udc80' in text
    assert "1405/09/03" in text


def test_the_page_of_a_run_that_could_not_be_says_why(tmp_path: Path) -> None:
    assert TROUBLE.trouble in Reading(laid_out(TROUBLE, tmp_path)).text


def written(folder: Path, text: str) -> Path:
    path = folder / "known.yaml"
    path.write_text(text, "utf-8")
    return path


def test_a_known_failure_has_a_reason_and_holds_through_its_last_day_in_iran(tmp_path: Path) -> None:
    today = datetime.now(TEHRAN).date()
    days = {"holds": today + timedelta(days=9), "last-day": today, "over": today - timedelta(days=1)}
    entries = [f"- case: {case}\n  reason: mended soon\n  expires: {day}\n" for case, day in days.items()]
    found = known_failures.read(written(tmp_path, "".join(entries)))

    assert {"holds": ("mended soon", days["holds"]), "last-day": ("mended soon", today)} == {
        case: (failure.reason, failure.expires) for case, failure in found.items()
    }


def test_an_empty_list_knows_no_failure(tmp_path: Path) -> None:
    assert {} == known_failures.read(written(tmp_path, "# nothing known\n"))


ENTRY = f"- case: a\n  reason: b\n  expires: {date(2099, 1, 1)}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- case: a\n  expires: 2099-01-01\n", "entry 1: reason: Field required"),
        ("- case: a\n  reason: b\n", "entry 1: expires: Field required"),
        ("- case: a\n  reason: ''\n  expires: 2099-01-01\n", "entry 1: reason: "),
        ("- case: a\n  reason: b\n  expires: soon\n", "entry 1: expires: "),
        (ENTRY + "  because: c\n", "entry 1: because: "),
        (ENTRY + ENTRY, "entry 2: case: a stands there twice"),
        ("- a\n", "entry 1: entry: "),
        ("case: a\n", "must be a list"),
        ("- case: [\n", "line 2: not YAML"),
        ("- case: \0\n", "not YAML"),
    ],
)
def test_a_list_of_known_failures_with_an_error_says_where_and_what(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(known_failures.KnownError, match=f"known.yaml: .*{re.escape(told)}"):
        known_failures.read(written(tmp_path, text))


def test_a_list_of_known_failures_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(known_failures.KnownError, match="can't be read"):
        known_failures.read(tmp_path / "missing.yaml")
