"""Usage errors: whatever is wrong with an argument or option, the command exits 2 and has done nothing."""

from pathlib import Path

import pytest

from development.files import SAMPLES
from development.sandbox import Sandbox
from tests.e2e.conftest import LIVE, CommandLine, options

NOTE = [*options(**LIVE)]
OUTAGE = ["quality", "outage", "announce"]
OUTAGE += options(service="promissory-note-inquiry", reason_fa="نگهداری", reason_en="Maintenance")
LOAD = ["judiciary", "load-cases", str(SAMPLES / "cases.csv")]
CUT = ["--cut-at", "2026-06-01T12:00+03:30"]
LIST = SAMPLES / "cases.csv"
MANIFEST = ["load", "manifest", "{folder}/cases.csv", "--number", "1"]
WRONG: dict[str, list[str]] = {
    "option without value": ["promissory", "check", "--serial"],
    "no address": ["promissory", "check", *NOTE],
    "no such certificate": ["promissory", "check", *NOTE, "--address", "localhost:1", "--as", "setat"],
    "malformed address to listen on": ["promissory", "serve", "--listen", "nowhere"],
    "unknown feed": ["load", "list", "judiciary", "--feed", "casse"],
    "malformed address": ["promissory", "check", *NOTE, "--address", "localhost"],
    "empty operator": ["promissory", "check", *NOTE, "--address", "localhost:1", "--operator", " "],
    "receipt exists": ["promissory", "check", *NOTE, "--address", "localhost:1", "--save-receipt", "{folder}/kept"],
    "no folder": ["promissory", "check", *NOTE, "--address", "localhost:1", "--save-receipt", "{folder}/none/kept"],
    "malformed legal id": ["dev-ca", "issue", "{folder}", "one", "--organization-id", "123"],
    "authority exists": ["dev-ca", "init", "{folder}"],
    "outage in the past": [*OUTAGE, "--from", "1404-01-01 1:00", "--until", "1404-01-01 2:00"],
    "malformed minute": [*OUTAGE, "--from", "now", "--until", "1404-01-01 2:00"],
    "malformed month": ["quality", "report", "--month", "1405-13", "--for", "working-group"],
    "malformed feed": [*LOAD, "--feed", "a b", "--cut-at", "2026-06-01T12:00+03:30"],
    "no cut-off": LOAD,
    "malformed cut-off": [*LOAD, "--cut-at", "yesterday"],
    "manifest exists": [*MANIFEST, "--feed", "cases", "--cut-at", "2026-06-01T12:00+03:30"],
    "malformed feed of a manifest": [*MANIFEST, "--feed", "a b", "--cut-at", "2026-06-01T12:00+03:30"],
    "malformed number": [*LOAD, "--cut-at", "2026-06-01T12:00+03:30", "--allow-removals", "few"],
    "unknown service": ["ledger", "verify", "setad"],
    "unknown section": ["pki", "show", "judicary"],
    "unknown party": ["catalogue", "grants", "--consumer", "setat"],
    "malformed day": ["catalogue", "explain", "setad", "promissory-note-inquiry/CheckNote", "--on", "1405-13-01"],
    "unknown case": ["conformance", "list", "--only", "R9"],
    "folder of fixtures in use": ["conformance", "fixtures", "{folder}"],
    "no such file of a manifest": ["load", "manifest", "{folder}/none", "--feed", "cases", *MANIFEST[3:], *CUT],
    "no folder of rejects": [*LOAD, *CUT, "--rejects", "{folder}/none/rejects.csv"],
    "rejects exist": [*LOAD, *CUT, "--rejects", "{folder}/kept"],
    "output of no bulk check": ["judiciary", "bulk-check-cheques", str(LIST), "--out", "{folder}/kept"],
    "folder of lists in use": ["promissory", "recall", "0", "--out", "{folder}"],
}
BULK = ["judiciary", "bulk-check-cheques", str(LIST), "--out", "{folder}/answers", "--address", "localhost:1"]
READ = {
    "data file": ["judiciary", "load-cases", "{path}", *CUT],
    "list": ["judiciary", "bulk-check-cheques", "{path}", "--out", "{folder}/answers", "--address", "localhost:1"],
    "receipt": ["receipt", "verify", "{path}"],
    "exported receipt": ["receipt", "export", "{path}", "--out", "{folder}/proofs"],
    "heads": ["ledger", "verify", "promissory", "--heads", "{path}"],
    "certificate of a receipt": ["receipt", "verify", "{folder}/kept", "--certificate", "{path}"],
    "retired keys of a receipt": ["receipt", "verify", "{folder}/kept", "--retired-keys", "{path}"],
    "certificate of a bulk check": [*BULK, "--certificate", "{path}"],
    "retired keys of a bulk check": [*BULK, "--retired-keys", "{path}"],
    "report": ["quality", "verify", "{path}"],
    "certificate of a report": ["quality", "verify", "{folder}", "--certificate", "{path}"],
    "retired keys of a report": ["quality", "verify", "{folder}", "--retired-keys", "{path}"],
}
"""Commands by what they read at {path}."""
UNUSABLE = {"missing": "{folder}/none", "folder": "{folder}", "device": "/dev/null", "other": "{folder}/kept"}
CONTENT_IS_NO_USAGE = {"data file", "list"}
"""What is wrong in a file of rows is reported by row, and exits 1."""


@pytest.mark.parametrize(
    ("command", "kind"), [(a, b) for a in READ for b in UNUSABLE if b != "other" or a not in CONTENT_IS_NO_USAGE]
)
def test_unusable_path(sandbox: Sandbox, tmp_path: Path, command: str, kind: str) -> None:
    """A path that was typed and can't be used exits 2, whatever the command and whatever is there."""
    (tmp_path / "kept").write_text("kept", "ascii")
    before = sorted(tmp_path.iterdir())

    done = CommandLine(sandbox)(
        *(word.format(path=UNUSABLE[kind].format(folder=tmp_path), folder=tmp_path) for word in READ[command]), "--json"
    )

    assert (2, before) == (done.code, sorted(tmp_path.iterdir()))
    assert str(UNUSABLE[kind].format(folder=tmp_path)) in done.json["error"]


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG.keys())
def test_usage_error(sandbox: Sandbox, tmp_path: Path, arguments: list[str]) -> None:
    """A wrong argument or option exits 2 with one JSON error, and no file is written."""
    folder = tmp_path / "used"
    folder.mkdir()
    for name in ("kept", "cases.csv", "cases.csv.manifest.json", "ca.crt"):
        (folder / name).write_text("kept", "ascii")
    before = sorted(folder.iterdir())

    done = CommandLine(sandbox)(*(word.format(folder=folder) for word in arguments), "--json")

    assert (2, ["error", "reason", "layer", "address", "fields"]) == (done.code, list(done.json)[:5])
    assert before == sorted(folder.iterdir())
    assert {"kept"} == {path.read_text("ascii") for path in before}


HOSTILE = "\x1b]0;pwned\x07\x1b[31m\u202e\u2028"


@pytest.mark.parametrize(
    "words",
    [
        [HOSTILE],
        ["load", HOSTILE],
        ["load", "list", HOSTILE],
        ["load", "list", f"--{HOSTILE}"],
        ["load", "list", "judiciary", HOSTILE],
        ["pki", "show", "--days", HOSTILE],
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_wrong_words_are_escaped(sandbox: Sandbox, words: list[str], *, as_json: bool) -> None:
    """No word of a wrong command line reaches the terminal as it is, whichever library found it wrong."""
    ended = CommandLine(sandbox)(*words, *(["--json"] if as_json else []))

    assert 2 == ended.code
    shown = ended.out + ended.err
    assert "pwned" in shown
    assert not set(HOSTILE) & set(shown) - set("]0;pwned[31m")
