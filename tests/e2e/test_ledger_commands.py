"""`estelam ledger`: what it verifies and finds, and that a malformed question never gets an empty or damning answer."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from development.sandbox import Sandbox
from estelam.core.keys import key_fingerprint
from estelam.core.pem import read_certificates
from estelam.receipts.archive import read_archive
from estelam.receipts.checkpoint import parse
from estelam.receipts.tree import is_consistent, leaf_hash, root_from_path
from tests.e2e.conftest import BY_INDEX, ENDORSED, LIVE, CommandLine, options
from tests.support import go_log
from tests.support.receipt_programs import has_go

CHECK = ("promissory", "check")
VERIFY = ("ledger", "verify", "promissory")
REPORT = ("ledger", "subject-report")


def test_ledger_verify_head(estelam: CommandLine) -> None:
    """The ledger of a running service is valid and contains an earlier head, but no forged one."""
    estelam(*CHECK, *options(**LIVE))
    head = estelam(*VERIFY, "--json").json["head"]
    estelam(*CHECK, *options(**LIVE))

    later = estelam(*VERIFY, "--head", head, "--json")
    number, _, digest = head.partition(":")
    forged = estelam(*VERIFY, "--head", f"{number}:{digest[::-1]}", "--json")

    assert (0, True) == (later.code, later.json["valid"])
    assert (1, True) == (forged.code, forged.json["error"].startswith("INVALID: promissory: head "))


def test_unknown_signing_key(estelam: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that is signed with a key of none of the given certificates is not checked, which accuses nobody."""
    estelam(*CHECK, *options(**LIVE))
    other = estelam.sandbox.pki / "judiciary-receipts.crt"
    monkeypatch.setenv("ESTELAM_PROMISSORY_SIGNING_CERTIFICATES", str(other))

    for command in (
        VERIFY,
        ("ledger", "checkpoint", "promissory"),
        ("ledger", "prove", "inclusion", "promissory", "0"),
    ):
        done = estelam(*command)
        assert (21, "") == (done.code, done.out)
        assert done.err.startswith("NOT CHECKED: promissory: ")
        assert "signed with a key of none of the given certificates" in done.err


def test_empty_ledger_head(estelam: CommandLine, sandbox: Sandbox) -> None:
    """Every ledger contains the head of an empty ledger."""
    nothing = CommandLine(sandbox)(*VERIFY, "--json").json["head"]
    estelam(*CHECK, *options(**LIVE))

    assert estelam(*VERIFY, "--head", nothing).code == 0


def test_head_in_one_piece(estelam: CommandLine) -> None:
    """Without --json a head is printed on one line."""
    for _ in range(10):
        estelam(*CHECK, *options(**LIVE))

    head = estelam(*VERIFY, "--json").json["head"]
    shown = estelam(*VERIFY).out

    assert ["head", head] in [line.split() for line in shown.splitlines()]


@pytest.mark.parametrize("typed", [str.upper, " {} ".format, "\u200f{}\u200f".format, "\n".join])
def test_typed_head(estelam: CommandLine, typed: Callable[[str], str]) -> None:
    """A head may be typed in upper case, with blanks or with invisible characters."""
    estelam(*CHECK, *options(**LIVE))
    head = estelam(*VERIFY, "--json").json["head"]

    assert estelam(*VERIFY, "--head", typed(head)).code == 0


def test_malformed_head(estelam: CommandLine) -> None:
    """A head with a wrong number, or with one digit too few or too many, is a usage error and accuses nobody."""
    estelam(*CHECK, *options(**LIVE))
    number, _, digest = estelam(*VERIFY, "--json").json["head"].partition(":")

    for head in (f"{int(number) + 1}:{digest}", f"{number}:{digest[:-1]}", f"{number}:{digest}0", digest, "9" * 5000):
        result = estelam(*VERIFY, "--head", head)
        assert (2, "") == (result.code, result.out)
        assert "INVALID" not in result.err


def test_proofs(estelam: CommandLine, tmp_path: Path) -> None:
    """The printed checkpoint and proofs are in the forms of C2SP: a library that we did not write accepts them."""
    estelam(*CHECK, *options(**LIVE), "--save-receipt", str(tmp_path / "receipt"))
    receipt = next(read_archive(tmp_path / "receipt")).reply.receipt  # type: ignore[attr-defined]
    old = parse(receipt.checkpoint).checkpoint
    for _ in range(3):
        estelam(*CHECK, *options(**LIVE))
    stated = estelam("ledger", "checkpoint", "promissory", "--json").json
    inclusion = estelam("ledger", "prove", "inclusion", "promissory", str(receipt.index))
    consistency = estelam("ledger", "prove", "consistency", "promissory", str(old.size))
    (tmp_path / "kept").write_text(f"{receipt.checkpoint}\n{stated['note']}", "utf-8")

    new = parse(stated["note"]).checkpoint
    form, index, *path = inclusion.out.partition("\n\n")[0].splitlines()
    start, *proof = consistency.out.partition("\n\n")[0].splitlines()
    assert (0, stated["note"]) == (inclusion.code, inclusion.out.partition("\n\n")[2])
    assert ("c2sp.org/tlog-proof@v1", f"index {receipt.index}", f"old {old.size}") == (form, index, start)
    hashes, consistent = ([base64.b64decode(line) for line in lines] for lines in (path, proof))
    assert new.root == root_from_path(leaf_hash(receipt.entry), receipt.index, new.size, hashes)
    assert is_consistent(old.size, old.root, new.size, new.root, consistent)
    assert 0 == estelam(*VERIFY, "--heads", str(tmp_path / "kept")).code
    later = estelam(*VERIFY, "--from", str(tmp_path / "kept"), "--json").json
    assert (0, stated["size"]) == (later["commits"], later["entries"])

    if has_go():
        claims = [
            go_log.signed_note(stated["verifier_key"], stated["note"]),
            go_log.contains(receipt.entry, receipt.index, new.size, new.root, hashes),
            go_log.continues(old.size, old.root, new.size, new.root, consistent),
        ]
        assert [True] * 3 == go_log.verdicts(claims)
    foreign = pytest.importorskip("aics_tlog")
    key, note = foreign.parse_vkey(stated["verifier_key"]), foreign.parse_note(stated["note"])
    assert foreign.verify_checkpoint(note, key, expected_origin=stated["origin"]).ok
    assert foreign.verify_leaf_inclusion(receipt.entry, receipt.index, new.size, hashes, new.root)
    assert foreign.verify_consistency(old.size, new.size, old.root, new.root, consistent)


def test_proofs_are_verified_offline(estelam: CommandLine, tmp_path: Path) -> None:
    """Proofs of an entry and of an earlier head are verified without a store; one of another head or entry is not."""
    estelam(*CHECK, *options(**LIVE), "--save-receipt", str(tmp_path / "receipt"))
    receipt = next(read_archive(tmp_path / "receipt")).reply.receipt  # type: ignore[attr-defined]
    old = parse(receipt.checkpoint).checkpoint
    (tmp_path / "old").write_text(receipt.checkpoint, "utf-8")
    for _ in range(3):
        estelam(*CHECK, *options(**LIVE))
    new = parse(estelam("ledger", "checkpoint", "promissory").out).checkpoint
    by_id = estelam("ledger", "prove", "inclusion", "promissory", receipt.inquiry_id)
    (tmp_path / "inclusion").write_text(by_id.out, "utf-8")
    (tmp_path / "consistency").write_text(
        estelam("ledger", "prove", "consistency", "promissory", str(old.size)).out, "utf-8"
    )
    certificate = ("--certificate", str(estelam.sandbox.pki / "promissory-receipts.crt"))

    def verify(proof: str, *words: str, keys: tuple[str, ...] = certificate) -> tuple[int, str]:
        done = estelam("receipt", "verify-proof", str(tmp_path / proof), *words, *keys)
        return done.code, (done.out + done.err).split(None, 1)[0].rstrip(":")

    saved, root = ("--receipt", str(tmp_path / "receipt")), "0" * 64
    assert estelam("ledger", "prove", "inclusion", "promissory", str(receipt.index)).out == by_id.out
    assert (0, "VALID") == verify("consistency", "--head", str(old))
    assert (0, "VALID") == verify("consistency", "--head", str(tmp_path / "old"))
    assert (0, "VALID") == verify("inclusion", *saved)
    assert (0, "VALID") == verify("inclusion", *saved, "--head", str(new))
    assert (1, "INVALID") == verify("consistency", "--head", f"{old.size}:{root}")
    assert (1, "INVALID") == verify("inclusion", *saved, "--head", f"{new.size}:{root}")
    other = ("--certificate", str(estelam.sandbox.pki / "judiciary-receipts.crt"))
    assert (21, "NOT") == verify("consistency", "--head", str(old), keys=other)
    public = read_certificates(Path(certificate[1]))[0].public_key()
    stolen = {"key": key_fingerprint(public), "retired_at": "2026-03-21T00:00:00Z", "reason": "compromised"}
    (tmp_path / "retired").write_text(json.dumps({"retired": [stolen]}), "utf-8")
    retired = ("--retired-keys", str(tmp_path / "retired"))
    assert (21, "NOT") == verify("consistency", "--head", str(old), *retired)
    for words in (("consistency",), ("consistency", "--head", str(new)), ("inclusion",), ("old",)):
        assert 2 == verify(*words)[0]
    proof = (tmp_path / "inclusion").read_text("utf-8")
    (tmp_path / "inclusion").write_text(proof.replace(f"index {receipt.index}", f"index {receipt.index + 1}"), "utf-8")
    assert 2 == verify("inclusion", *saved)[0]
    (tmp_path / "inclusion").write_text(
        proof.replace("\n\n", f"\n{base64.b64encode(bytes(32)).decode()}\n\n", 1), "utf-8"
    )
    assert (1, "INVALID") == verify("inclusion", *saved)


def test_exported_receipt(estelam: CommandLine, tmp_path: Path) -> None:
    """A saved receipt is exported as the proof of its entry; into a folder in use, or of another file, nothing is."""
    estelam(*CHECK, *options(**LIVE), "--save-receipt", str(tmp_path / "receipt"))
    receipt = next(read_archive(tmp_path / "receipt")).reply.receipt  # type: ignore[attr-defined]
    done = estelam("receipt", "export", str(tmp_path / "receipt"), "--out", str(tmp_path / "out"), "--json")
    again = estelam("receipt", "export", str(tmp_path / "receipt"), "--out", str(tmp_path / "out"))
    (tmp_path / "other").write_text("{}\n")
    other = estelam("receipt", "export", str(tmp_path / "other"), "--out", str(tmp_path / "new"))

    proof, _, note = (tmp_path / "out" / f"{receipt.inquiry_id}.tlog-proof").read_text("utf-8").partition("\n\n")
    form, extra, index, *path = proof.splitlines()
    assert (0, 1, receipt.checkpoint) == (done.code, done.json["proofs"], note)
    assert ("c2sp.org/tlog-proof@v1", f"index {receipt.index}") == (form, index)
    assert [receipt.entry, *receipt.inclusion_path] == [
        base64.b64decode(each) for each in (extra.removeprefix("extra "), *path)
    ]
    assert [2, 2] == [again.code, other.code]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("inclusion", "999999"), "there is no entry 999999 in it"),
        (("inclusion", "01980000-0000-7000-8000-000000000000"), "it has no entry of this inquiry"),
        (("inclusion", "0198-1"), "give an index, as a receipt states it, or the id of an inquiry"),
        (("inclusion", "0", "--size", "999999"), "no commit ended with 999999 entries"),
        (("consistency", "999999"), "there were never 999999 entries before it"),
        (("inclusion", f"{2**63 - 1}"), f"there is no entry {2**63 - 1} in it"),
        (("inclusion", "0", "--size", f"{2**63 - 1}"), f"no commit ended with {2**63 - 1} entries"),
        (("consistency", f"{2**63}"), "give a whole number from 0 to 9,223,372,036,854,775,807"),
    ],
)
def test_nothing_to_prove(estelam: CommandLine, arguments: tuple[str, ...], words: str) -> None:
    """An entry or a checkpoint that the ledger has not is a usage error."""
    estelam(*CHECK, *options(**LIVE))
    done = estelam("ledger", "prove", arguments[0], "promissory", *arguments[1:])

    assert (2, "") == (done.code, done.out)
    assert words in " ".join(done.err.split())


def test_subject_report(estelam: CommandLine) -> None:
    """The report about a data subject lists caller and outcome, and says what was searched."""
    estelam(*CHECK, *options(**ENDORSED), "--as", "agency")
    entries = estelam(*VERIFY, "--json").json["entries"]

    report = estelam(*REPORT, "promissory", "۹۹۹۰۰۰۰۰۴۲", "--json").json
    last = report["inquiries"][-1]
    nobody = estelam(*REPORT, "promissory", "9990000107")
    text, count = estelam(*REPORT, "promissory", "9990000042").out, len(report["inquiries"])

    assert text.endswith(f" under keys k1 {BY_INDEX}: {count} {'inquiry' if count == 1 else 'inquiries'} found\n")
    assert ("99000316764", "YES", entries) == (last["caller"], last["outcome"], report["searched_entries"])
    assert (0, f"searched {entries:,} entries under keys k1 {BY_INDEX}: none\n") == (nobody.code, nobody.out)


def test_report_lists_disclosures(estelam: CommandLine) -> None:
    """The report about a person lists each disclosure of this person's details, whose request names the note alone."""
    estelam(*CHECK, *options(**LIVE))
    for agency in ("SETAD-0001", "NOBODY"):
        estelam("promissory", "parties", *options(serial=LIVE["serial"], agency=agency))
    listed = {}
    for kind, identifier in (("serial", "serial"), ("person", "obligor"), ("person", "beneficiary")):
        found = estelam(*REPORT, "promissory", LIVE[identifier], "--kind", kind, "--json").json["inquiries"]
        listed[identifier] = [each["outcome"] for each in found if each["method"].endswith("/GetNoteParties")]
    disclosed = [outcome for outcome in listed["serial"] if outcome == "DISCLOSED"]

    assert ["DISCLOSED", "AGENCY_NOT_MEMBER"] == listed["serial"][-2:]
    assert [disclosed] * 2 == [listed["obligor"], listed["beneficiary"]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("promissory", "1404000000000017"), "must be 10, 11 or 12 ASCII digits; it has the form of --kind serial"),
        (("promissory", "999000001"), "must be 10, 11 or 12 ASCII digits"),
        (("promissory", "9990000019"), "must be a national number with a right check digit"),
        (("judiciary", "99000554331"), "must be a legal person's national id with a right check digit"),
        (("promissory", "9990000018", "--kind", "serial"), "it has the form of --kind person"),
        (("promissory", "140400000000001", "--kind", "serial"), "must be 16 ASCII digits"),
        (("judiciary", "1" * 33, "--kind", "tracking"), "must be 1 to 32 ASCII digits"),
        (("judiciary", "", "--kind", "tracking"), "must be 1 to 32 ASCII digits"),
        (("judiciary", "1404000000000017", "--kind", "serial"), "the ledger of judiciary indexes person and tracking"),
        (("promissory", "7", "--kind", "tracking"), "the ledger of promissory indexes person and serial"),
        (("promissory", "9990000018", "--kind", "serail"), "'serail' is not one of"),
        (("promisory", "9990000018"), "did you mean promissory?"),
    ],
)
def test_malformed_subject(sandbox: Sandbox, arguments: tuple[str, ...], words: str) -> None:
    """An identifier that no inquiry can name is refused with what is expected, never answered with an empty report."""
    result = CommandLine(sandbox)(*REPORT, *arguments)
    as_json = CommandLine(sandbox)(*REPORT, *arguments, "--json")

    assert (2, "") == (result.code, result.out)
    assert words in " ".join(result.err.split())
    assert (2, True) == (as_json.code, words in as_json.json["error"])


def _lose_store(sandbox: Sandbox) -> None:
    (Path(sandbox.promissory().store.removeprefix("sqlite:///")) / "ledger.db").unlink()


@pytest.mark.parametrize(
    "lose",
    [
        _lose_store,
        lambda sandbox: sandbox.promissory().hmac_keyring.unlink(),
        lambda sandbox: sandbox.promissory().hmac_keyring.write_text("k1\n"),
    ],
    ids=["no store", "no keyring", "damaged keyring"],
)
def test_report_without_access(sandbox: Sandbox, lose: Callable[[Sandbox], object]) -> None:
    """Where the ledger can't be searched, a report exits 21 and states no result."""
    lose(sandbox)
    result = CommandLine(sandbox)(*REPORT, "promissory", "9990000018")

    assert (21, "") == (result.code, result.out)
    assert 1 == result.err.count("\n")


@pytest.mark.parametrize(
    "lose",
    [_lose_store, lambda sandbox: sandbox.promissory().signing_certificates[0].unlink()],
    ids=["no store", "no certificate"],
)
def test_verify_without_access(sandbox: Sandbox, lose: Callable[[Sandbox], object]) -> None:
    """A ledger that can't be read is not reported as invalid: exit 21."""
    lose(sandbox)
    result = CommandLine(sandbox)(*VERIFY)

    assert (21, "") == (result.code, result.out)
    assert "INVALID" not in result.err


def test_progress(estelam: CommandLine, tmp_path: Path) -> None:
    """With --progress each run verifies what the last one has not; a file that holds something else is left alone."""
    progress = tmp_path / "verified"
    runs = []
    for _ in range(3):
        estelam(*CHECK, *options(**LIVE))
        runs.append(estelam(*VERIFY, "--progress", str(progress), "--json").json)
    newest = estelam("ledger", "checkpoint", "promissory").out
    both = estelam(*VERIFY, "--progress", str(progress), "--from", "0:" + "0" * 64)

    assert [None, runs[0]["head"], runs[1]["head"]] == [run.get("from") for run in runs]
    assert [1, 1] == [run["commits"] for run in runs[1:]]
    assert newest == progress.read_text("utf-8")
    assert 2 == both.code
    progress.write_text(newest.replace("estelam", "another"))
    other = estelam(*VERIFY, "--progress", str(progress))
    assert 2 == other.code
    assert "holds a checkpoint of the ledger another/promissory/" in other.err
    assert "another" in progress.read_text("utf-8")
