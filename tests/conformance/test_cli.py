"""The command line: usage errors, exit codes and reports."""

import errno
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from conformance import case_loader, commands, preflight, runner
from conformance.case import Case, Instance
from conformance.cli import app
from conformance.profile import Profile
from conformance.results import CaseResult, CaseStatus, Failure, RunResult
from conformance.target import Target
from tests.conformance.fake_ministry import case, check

UNREACHABLE = "127.0.0.1:1"


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def run(pki: Path, *words: str) -> Result:
    return invoke("run", "--pki", str(pki), *words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give at least one"),
        (["--promissory", "localhost"], "localhost: the port is missing"),
        (["--promissory", "localhost:65536"], "localhost:65536: the port must be a number from 1 to 65535"),
        (["--instance", "ministry=127.0.0.1:1"], "give ROLE=HOST:PORT with a role of promissory,"),
        (["--instance", "setad-down=127.0.0.1:1"], "add --setad HOST:PORT"),
        (["--promissory", UNREACHABLE, "--only", "R9"], "no case and no clause has the id R9"),
        (["--promissory", UNREACHABLE, "--only", "R3"], "no case of the profile tests the services given"),
        (["--promissory", UNREACHABLE, "--known-failing", "none.yaml"], "none.yaml: can't be read"),
        (["--promissory", UNREACHABLE, "--steering", "nowhere"], "--steering is the folder"),
    ],
)
def test_usage_errors(pki: Path, words: list[str], message: str) -> None:
    """A wrong option or argument is reported and exits with 2."""
    done = run(pki, *words)

    assert (2, True) == (done.exit_code, message in done.output), done.output


def test_wrong_pki_folder(tmp_path: Path) -> None:
    """A folder that is not the fixtures' PKI folder is reported."""
    done = run(tmp_path, "--promissory", UNREACHABLE)

    assert (2, True) == (done.exit_code, "has no ca.crt" in done.output), done.output


def test_invalid_case_file(pki: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in a case file ends the command with its place."""

    def broken() -> list[Case]:
        raise case_loader.CaseError(Path("a.yaml"), "some.case", "steps.0", "is wrong")

    monkeypatch.setattr(case_loader, "read", broken)

    for done in (run(pki, "--promissory", UNREACHABLE), invoke("list")):
        assert (2, "a.yaml: some.case: steps.0: is wrong\n") == (done.exit_code, done.output)


@pytest.mark.parametrize("kind", ["--junit", "--report-json", "--html", "--pdf"])
def test_report_path_checked_first(pki: Path, tmp_path: Path, kind: str) -> None:
    """A report that can't be written, or would overwrite one, is found before any case runs."""
    kept = tmp_path / "report"
    kept.touch()
    refused = [
        run(pki, "--promissory", UNREACHABLE, kind, str(path)) for path in (kept, tmp_path / "nowhere" / "report")
    ]

    assert [2, 2] == [done.exit_code for done in refused]
    assert all(f"{kind} {tmp_path}" in done.output and "COULD NOT RUN" not in done.output for done in refused)


@pytest.mark.parametrize(
    ("kind", "option"), [("junit", "--junit"), ("signed_json", "--report-json"), ("html", "--html")]
)
def test_result_without_report(
    pki: Path, tmp_path: Path, kind: str, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is printed even where a report can't be written in the end."""
    monkeypatch.setattr(getattr(commands, kind), "write", _fail)
    words = ("--promissory", UNREACHABLE, option, str(tmp_path / "report"))
    done, as_json = run(pki, *words), run(pki, *words, "--json")

    assert "COULD NOT RUN" in done.output
    assert (2, True) == (done.exit_code, "a report could not be written" in done.output), done.output
    assert "COULD NOT RUN" == json.loads(as_json.output)["report"]["verdict"]
    assert (2, True) == (as_json.exit_code, "a report could not be written" in json.loads(as_json.output)["error"])


def _fail(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "report")


def test_known_failure_of_unknown_case(pki: Path, tmp_path: Path) -> None:
    """A known failure of a case that does not exist is reported."""
    listed = tmp_path / "known.yaml"
    listed.write_text("- {case: no.such, reason: none, expires: 2099-01-01}\n")

    done = run(pki, "--promissory", UNREACHABLE, "--known-failing", str(listed))

    assert (2, True) == (done.exit_code, "there is no case no.such" in done.output), done.output


def test_unreachable_target(pki: Path, tmp_path: Path) -> None:
    """An unreachable target exits with 21 and still writes the reports."""
    files = [f"--{kind}={tmp_path / kind}" for kind in ("junit", "json", "html")]
    done = run(pki.parent / "pki", "--promissory", UNREACHABLE, *files[:1], *files[2:])

    assert (21, True) == (done.exit_code, "unreachable: the connection was refused" in done.output), done.output
    assert all((tmp_path / kind).exists() for kind in ("junit", "html"))


@pytest.mark.parametrize(
    ("statuses", "error", "code"),
    [
        ([CaseStatus.PASSED], "", 0),
        ([CaseStatus.PASSED, CaseStatus.FAILED], "", 10),
        ([CaseStatus.PASSED, CaseStatus.NOT_RUN], "", 10),
        ([CaseStatus.PASSED, CaseStatus.KNOWN], "", 10),
        ([CaseStatus.PASSED, CaseStatus.STALE], "", 10),
        ([CaseStatus.NOT_RUN], "unreachable", 21),
    ],
)
def test_exit_codes(statuses: list[CaseStatus], error: str, code: int) -> None:
    """Each outcome has its exit code."""
    failure = Failure(1, "answer NO", "YES", "R2.1", Profile.CORE)
    failures = {CaseStatus.FAILED: [failure], CaseStatus.KNOWN: [failure], CaseStatus.NOT_RUN: [failure]}
    results = [CaseResult(case(check()), status, failures=failures.get(status, [])) for status in statuses]

    assert code == commands.EXIT_CODES[RunResult(datetime.now(UTC), 0.0, {}, results, error=error).outcome]


def test_exit_code_of_a_partial_run() -> None:
    """A run that was cut has an exit code of its own, whatever passed."""
    run = RunResult(datetime.now(UTC), 0.0, {}, [CaseResult(case(check()), CaseStatus.PASSED)], cut=[case(check())])

    assert 11 == commands.EXIT_CODES[run.outcome]


def test_scope(pki: Path) -> None:
    """Only cases of the given services and profile are in scope."""
    included, elsewhere = case(check()), case(check(), target="judiciary")
    receipts = case(check(), clause="P3", profile="receipts")
    target = Target({Instance.PROMISSORY_EMPTY: UNREACHABLE}, pki)

    assert [included] == commands.in_scope([included, elsewhere, receipts], target, Profile.ERRORS)
    assert [included, receipts] == commands.in_scope([included, elsewhere, receipts], target, Profile.FULL)


def test_target_without_changes(pki: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a target that can't change its data those cases are left out, and the verdict says that the run is partial."""
    change = {"change": {"data": "notes", "key": "1404000000000101"}}
    monkeypatch.setattr(case_loader, "read", lambda: [case(check(), id="plain"), case(change, check(), id="changing")])
    words = ("--promissory", UNREACHABLE, "--without-changes", "--json")
    monkeypatch.setattr(preflight, "find_problems", lambda _target: "")
    monkeypatch.setattr(
        runner,
        "run",
        lambda cases, _target, **_: RunResult(
            datetime.now(UTC), 0.0, {}, [CaseResult(each, CaseStatus.PASSED) for each in cases]
        ),
    )
    done = run(pki, *words)

    assert (11, "PARTIAL RUN", ["changing"]) == (
        done.exit_code,
        json.loads(done.output)["verdict"],
        json.loads(done.output)["cut"],
    )


def test_json_result_and_errors(pki: Path) -> None:
    """With --json the result is one JSON object, and so is every error."""
    result = json.loads(run(pki, "--promissory", UNREACHABLE, "--only", "R2.1", "--json").output)
    errors = [
        run(pki, "--json"),
        run(pki, "--promissory", "localhost", "--json"),
        invoke("list", "--only", "R9", "--json"),
        invoke("fixtures", str(pki / "ca.crt"), "--json"),
    ]

    assert ("COULD NOT RUN", True) == (result["verdict"], "unreachable" in result["error"])
    assert [2, 2, 2, 2] == [done.exit_code for done in errors]
    for done in errors:
        assert ["error", "reason", "layer", "address", "fields"] == list(json.loads(done.output))


def test_run_without_steering(pki: Path) -> None:
    """A run without the steering files says once how many cases can't run."""
    lacking = sum(each.needs_steering for each in case_loader.read() if each.target.service == "promissory")
    done = run(pki, "--promissory", UNREACHABLE)

    assert 1 == done.output.count("--steering DIR is missing")
    assert f"missing: {lacking} of " in done.output


def test_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """`list` prints the cases without network access."""
    monkeypatch.setattr(preflight, "find_problems", None)
    listed = json.loads(invoke("list", "--json", "--only", "R2.1").output)

    assert {"case", "profile", "clause", "target", "title_en", "title_fa"} == set(listed[0])
    assert {"R2.1"} == {entry["clause"] for entry in listed}


def test_fixtures(tmp_path: Path) -> None:
    """`fixtures` writes the fixtures."""
    done = invoke("fixtures", str(tmp_path / "new"), "--host", "services.example")

    assert (0, True) == (done.exit_code, (tmp_path / "new" / "manifest.json").exists()), done.output


def test_fixtures_into_used_folder(tmp_path: Path) -> None:
    """`fixtures` writes into a folder that is not empty with --force only."""
    folder = tmp_path / "used"
    first = invoke("fixtures", str(folder))
    manifest, key = folder / "manifest.json", folder / "pki" / "setad.key"
    manifest.write_text("mine", "utf-8")
    before = key.read_bytes()
    refused = invoke("fixtures", str(folder))
    after = manifest.read_text("utf-8"), key.read_bytes()
    forced = invoke("fixtures", str(folder), "--force")

    assert [0, 2, 0] == [done.exit_code for done in (first, refused, forced)]
    assert ("mine", before) == after
    assert ("mine", before) != (manifest.read_text("utf-8"), key.read_bytes())
