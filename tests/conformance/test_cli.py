"""The command line: what is wrong with a command is said at once, and each end has its own exit code."""

import json
import sys
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from conformance import case_loader, cli, preflight
from conformance.case import Case, Instance
from conformance.cli import app
from conformance.results import Result as CaseResult
from conformance.results import Standing, Verdict
from conformance.target import Target
from estelam import cli as estelam_cli
from tests.conformance.fake_ministry import case, check

NOBODY = "127.0.0.1:1"


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def run(pki: Path, *words: str) -> Result:
    return invoke("run", "--pki", str(pki), *words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give at least one"),
        (["--promissory", "localhost"], "'localhost' is no HOST:PORT"),
        (["--promissory", "localhost:65536"], "is no HOST:PORT"),
        (["--instance", "ministry=127.0.0.1:1"], "the role is one of promissory,"),
        (["--promissory", NOBODY, "--only", "R9"], "no case and no clause is called R9"),
        (["--promissory", NOBODY, "--only", "R3"], "no case is about the services given"),
        (["--promissory", NOBODY, "--known-failing", "none.yaml"], "none.yaml: can't be read"),
        (["--promissory", NOBODY, "--steering", "nowhere"], "--steering is the folder"),
    ],
)
def test_a_command_that_is_wrong_says_so_and_exits_2(pki: Path, words: list[str], said: str) -> None:
    done = run(pki, *words)

    assert (2, True) == (done.exit_code, said in done.output), done.output


def test_a_folder_that_is_no_pki_of_fixtures_is_told(tmp_path: Path) -> None:
    done = run(tmp_path, "--promissory", NOBODY)

    assert (2, True) == (done.exit_code, "holds no ca.crt" in done.output), done.output


def test_a_book_with_an_error_ends_the_command(pki: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[Case]:
        raise case_loader.BookError(Path("a.yaml"), "some.case", "steps.0", "is wrong")

    monkeypatch.setattr(case_loader, "read", broken)

    for done in (run(pki, "--promissory", NOBODY), invoke("list")):
        assert (2, "a.yaml: some.case: steps.0: is wrong\n") == (done.exit_code, done.output)


@pytest.mark.parametrize("kind", ["--junit", "--json", "--html"])
def test_a_report_that_cannot_be_written_takes_no_verdict_away(pki: Path, tmp_path: Path, kind: str) -> None:
    done = run(pki, "--promissory", NOBODY, kind, str(tmp_path / "nowhere" / "report"))

    assert "COULD NOT RUN" in done.output
    assert (2, True) == (done.exit_code, "a report could not be written" in done.output), done.output


def test_a_known_failure_of_no_case_is_told(pki: Path, tmp_path: Path) -> None:
    listed = tmp_path / "known.yaml"
    listed.write_text("- {case: no.such, reason: none, expires: 2999-01-01}\n")

    done = run(pki, "--promissory", NOBODY, "--known-failing", str(listed))

    assert (2, True) == (done.exit_code, "no case is called no.such" in done.output), done.output


def test_a_target_that_can_not_be_reached_is_told_apart_in_every_report(pki: Path, tmp_path: Path) -> None:
    files = [f"--{kind}={tmp_path / kind}" for kind in ("junit", "json", "html")]
    done = run(pki.parent / "pki", "--promissory", NOBODY, *files[:1], *files[2:])

    assert (21, True) == (done.exit_code, "unreachable: nobody listens there" in done.output), done.output
    assert all((tmp_path / kind).exists() for kind in ("junit", "html"))


@pytest.mark.parametrize(
    ("standings", "trouble", "code"),
    [
        ([Standing.PASSED], "", 0),
        ([Standing.PASSED, Standing.FAILED], "", 10),
        ([Standing.PASSED, Standing.NOT_RUN], "", 10),
        ([Standing.PASSED, Standing.KNOWN], "", 10),
        ([Standing.PASSED, Standing.STALE], "", 10),
        ([Standing.NOT_RUN], "unreachable", 21),
    ],
)
def test_each_verdict_has_its_exit_code(standings: list[Standing], trouble: str, code: int) -> None:
    results = [CaseResult(case(check()), standing) for standing in standings]

    assert code == cli.exit_code(Verdict(datetime.now(UTC), 0.0, {}, results, trouble=trouble))


def test_cases_of_services_not_given_are_out_of_scope(pki: Path) -> None:
    ours, theirs = case(check()), case({**check(), "target": "judiciary"})
    target = Target({Instance.PROMISSORY_EMPTY: NOBODY}, pki)

    assert [ours] == cli.in_scope([ours, theirs], target)


def test_the_cases_are_listed_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "trouble", None)
    listed = json.loads(invoke("list", "--json", "--only", "R2.1").output)

    assert {"case", "clause", "target", "title_en", "title_fa"} == set(listed[0])
    assert {"R2.1"} == {entry["clause"] for entry in listed}


def test_fixtures_are_written(tmp_path: Path) -> None:
    done = invoke("fixtures", str(tmp_path / "new"), "--host", "services.example")

    assert (0, True) == (done.exit_code, (tmp_path / "new" / "manifest.json").exists()), done.output


def test_without_the_extra_the_rest_goes_on_and_the_group_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "conformance.cli", None)
    entry = EntryPoint("conformance", "conformance.cli:app [conformance]", "estelam.services")
    monkeypatch.setattr(estelam_cli, "entry_points", lambda **_: [entry])
    application = estelam_cli.application()

    helped = CliRunner().invoke(application, ["--help"])
    asked = CliRunner().invoke(application, ["conformance", "run", "--pki=x"])

    assert (0, True) == (helped.exit_code, "it needs the extra conformance" in helped.output)
    assert (1, True) == (asked.exit_code, "pip install 'estelam[conformance]'" in asked.output), asked.output
