"""The programs of docs/receipts/ and `receipt verify` come to the same verdict, on genuine replies and forged ones."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner

from development.sandbox import CHECK_BY_TRACKING_ID
from estelam.cli.root import application
from estelam.client.channel import ClientIdentity
from estelam.core.clock import to_datetime
from estelam.core.normalize import find_invisible
from estelam.core.pem import read_certificates
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES, Entry, Outcome
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as cases
from estelam.judiciary.v1.cheque_case_inquiry_pb2_grpc import ChequeCaseInquiryServiceStub
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.receipts.archive import ReceiptRecord, write_archive
from estelam.receipts.receipt import canonical
from tests.conftest import judiciary_opening, plain_channel
from tests.guarantees.recorded_ledger import RecordedLedger, receipt_of
from tests.support.receipt_programs import PROGRAMS, STARTED_PROGRAMS
from tests.support.receipt_vectors import (
    EXIT_CODES,
    INVALID,
    MALFORMED,
    TABLES,
    UNCHECKED,
    UNUSABLE,
    Provider,
    line,
    write_vector,
)
from tests.support.service import RunningService

COMMAND = "estelam receipt verify"
EXCEPTIONS = {("Go", "largest ledger"): UNCHECKED}
"""golang.org/x/mod/sumdb/tlog does not end on a tree of more than 2^62 leaves."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> RecordedLedger:
    return RecordedLedger(tmp_path_factory.mktemp("elsewhere") / "suite")


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Provider:
    return Provider(tmp_path_factory.mktemp("provider"))


Ended = tuple[int, str, str]
"""Exit code, stdout and stderr."""


def run_each(program: str, runs: Sequence[Sequence[Path]]) -> list[Ended]:
    """Verify each saved file with its certificates and list of retired keys."""
    if program == COMMAND:
        return [_run_command(*map(str, files)) for files in runs]
    return [(ended.returncode, ended.stdout, ended.stderr) for ended in PROGRAMS[program].run_each(runs)]


def _run_command(saved: str, certificates: str, retired: str) -> Ended:
    options = ["--certificate", certificates, "--retired-keys", retired]
    done = CliRunner().invoke(application(), ["receipt", "verify", saved, *options])
    return done.exit_code, done.stdout, done.stderr


def run(program: str, files: Sequence[Path]) -> Ended:
    """Verify with *program*, in a process of its own."""
    if program == COMMAND:
        return _run_command(*map(str, files))
    ended = PROGRAMS[program].run(*files)
    return ended.returncode, ended.stdout, ended.stderr


def expected_line(record: ReceiptRecord, coverage: str = "") -> str:
    """What the programs print for a genuine reply."""
    entry = Entry.FromString(receipt_of(record).entry)
    at = f"{to_datetime(entry.answered_at_micros):%Y-%m-%dT%H:%M:%SZ}"
    asked = " ".join(str(value) for _, value in record.request.ListFields())
    outcome = Outcome.Name(entry.outcome).removeprefix("OUTCOME_")
    where = f"{receipt_of(record).inquiry_id} at {at}: {record.method}"
    return f"VALID {where} about {asked} asked by {entry.caller}: {outcome}{coverage}"


@pytest.mark.parametrize("program", STARTED_PROGRAMS)
def test_genuine_replies(recorded: RecordedLedger, tmp_path: Path, program: str) -> None:
    """Every reply of a real service is proven, and printed with subject, caller and answer."""
    write_archive(tmp_path / "saved.json", recorded.replies)
    done = PROGRAMS[program].run(tmp_path / "saved.json", recorded.sandbox.pki / "promissory-receipts.crt")

    assert (0, "") == (done.returncode, done.stderr)
    assert [expected_line(record) for record in recorded.replies] == done.stdout.splitlines()


@pytest.mark.slow
def test_judiciary_replies(recorded: RecordedLedger, tmp_path: Path) -> None:
    """The judiciary's answers are printed with their coverage."""
    requests = [cases.CheckByTrackingIdRequest(tracking_id=digits) for digits in ("140000000000000001", "9" * 18)]
    with (
        RunningService(judiciary_opening(recorded.sandbox, shutdown_delay_seconds=0)) as service,
        plain_channel(service.address, ClientIdentity.named(recorded.sandbox.pki, "cbi")) as channel,
    ):
        ask = ChequeCaseInquiryServiceStub(channel).CheckByTrackingId
        records = [ReceiptRecord(CHECK_BY_TRACKING_ID, request, ask(request, timeout=20)) for request in requests]
    write_archive(tmp_path / "saved.json", records)
    as_of = f"{records[0].reply.coverage.as_of.ToDatetime():%Y-%m-%dT%H:%M:%SZ}"  # type: ignore[attr-defined]
    lines = [expected_line(record, f", complete since 2021-03-21, true as of {as_of}") for record in records]

    assert ["YES", "NO"] == [line.partition(",")[0].rpartition(" ")[2] for line in lines]
    for program in PROGRAMS.values():
        if program.is_usable():
            done = program.run(tmp_path / "saved.json", recorded.sandbox.pki / "judiciary-receipts.crt")
            assert (0, lines) == (done.returncode, done.stdout.splitlines())


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("program", [COMMAND, *STARTED_PROGRAMS])
def test_verdicts(provider: Provider, tmp_path: Path, program: str, kind: str) -> None:
    """Exit code and verdict are the same for every program, whatever is forged, damaged, expired or retired."""
    vectors, wrong = [], []
    for number, name in enumerate(TABLES[kind]):
        (folder := tmp_path / str(number)).mkdir()
        vectors.append((name, *write_vector(provider, folder, kind, name)))
    ended = run_each(program, [files for _, *files, _ in vectors])
    for (name, *_, stated), (code, stdout, stderr) in zip(vectors, ended, strict=True):
        verdict = EXCEPTIONS.get((program, name), stated)
        printed = (stderr or stdout).partition("\n")[0]
        word = MALFORMED if verdict == UNUSABLE else verdict
        if code != EXIT_CODES[verdict] or not printed.startswith(word):
            wrong.append(f"{name}: {verdict} expected: {code} {printed}")

    assert [] == wrong


def mutated(content: bytes, random: Random) -> bytes:
    """Return *content* with one to two bytes changed, or a part removed, repeated or copied to another place."""
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2))):
        at, to = random.randrange(len(changed)), random.randrange(len(changed))
        part = slice(at, at + random.choice((1, 2, 4, 34)))
        match random.randrange(4):
            case 0:
                changed[at] ^= 1 << random.randrange(8)
            case 1:
                changed[at] = random.choice((0, 1, 8, 10, 18, 127, 128, 255))
            case 2:
                del changed[part]
            case 3:
                changed[to:to] = changed[part]
    return bytes(changed)


@pytest.mark.slow
def test_mutations(provider: Provider, tmp_path: Path) -> None:
    """No mutation of a receipt is valid; a program that knows no contract may only say INVALID for MALFORMED."""
    genuine, random, found = canonical(provider.receipt()), Random(0), set()
    files = tmp_path / "saved.json", provider.certificate, tmp_path / "retired.json"
    files[2].write_text('{"retired": []}')
    for content in {mutated(genuine, random) for _ in range(300)} - {genuine}:
        files[0].write_bytes(line(content))
        found.add((run(COMMAND, files)[0], run("Go", files)[0]))

    invalid, malformed, unchecked = (EXIT_CODES[verdict] for verdict in (INVALID, MALFORMED, UNCHECKED))
    assert {(invalid, invalid), (malformed, malformed)} <= found
    assert found <= {(invalid, invalid), (malformed, malformed), (unchecked, unchecked), (malformed, invalid)}


@pytest.mark.parametrize("program", STARTED_PROGRAMS)
def test_documented_command(recorded: RecordedLedger, tmp_path: Path, program: str) -> None:
    """Run as docs/receipts.md says, a program ends with 21 as such, never with INVALID's 1."""
    write_archive(tmp_path / "saved.json", [recorded.reply_with(ANSWER_YES)])
    other = recorded.sandbox.pki / "judiciary-receipts.crt"

    assert 21 == PROGRAMS[program].run_as_documented(tmp_path, "saved.json", other).returncode


MESSAGES = {
    "missing": "{file}: no such file",
    "folder": "{file}: is a directory",
    "malformed": "{file}: is no list of retired keys: each row has key, retired_at and reason, and nothing more",
    "twice": "{file}: a key is named twice",
    "der": "{file}: is a certificate in DER form (convert it: openssl x509 -inform DER -in {file} -out NEW)",
}
"""What each program prints of a file that it can't use."""


@pytest.mark.parametrize("program", STARTED_PROGRAMS)
def test_messages(recorded: RecordedLedger, tmp_path: Path, program: str) -> None:
    """A missing file, a folder, a malformed list, a key named twice and a certificate in DER form are told apart."""
    saved, certificate = tmp_path / "saved.json", recorded.sandbox.pki / "promissory-receipts.crt"
    write_archive(saved, [recorded.reply_with(ANSWER_YES)])
    row = {"key": "0" * 64, "retired_at": "2026-03-21T00:00:00Z", "reason": "superseded"}
    (tmp_path / "folder").mkdir()
    (tmp_path / "malformed").write_text('{"retired": [1]}')
    (tmp_path / "twice").write_text(json.dumps({"retired": [row, row]}))
    (tmp_path / "der").write_bytes(read_certificates(certificate)[0].public_bytes(Encoding.DER))
    found = {}
    for name in MESSAGES:
        files = (saved, tmp_path / name) if name == "der" else (saved, certificate, tmp_path / name)
        found[name] = PROGRAMS[program].run(*files).stderr

    assert {name: f"MALFORMED: {text.format(file=tmp_path / name)}\n" for name, text in MESSAGES.items()} == found


MISLEADING = "\n\u2028VALID\r\t\x1b[2J\u202e\u200b\U000e0041"
"""What a line, a direction or a terminal is controlled by, and what shows as nothing."""


@pytest.mark.parametrize("program", [COMMAND, *STARTED_PROGRAMS])
def test_output_is_harmless(provider: Provider, tmp_path: Path, program: str) -> None:
    """No control or format character of a receipt or of a file's name is printed as it is, and each reply on a line."""
    saved, odd, retired = tmp_path / "saved.json", tmp_path / f"odd{MISLEADING}", tmp_path / "retired.json"
    retired.write_text('{"retired": []}')
    request = notes.CheckNoteRequest(serial=f"14{MISLEADING}", obligor_id="نمونه\u200cای", amount_rials=1)
    saved.write_bytes(line(provider.receipt(request=request, edit=lambda entry: setattr(entry, "caller", MISLEADING))))
    odd.write_bytes(b"{}")
    printed = [run(program, files) for files in ((saved, provider.certificate, retired), (saved, odd, retired))]
    printed += [run(program, (odd, provider.certificate, retired))]

    assert [0, 2, 2] == [code for code, _, _ in printed]
    for _, stdout, stderr in printed:
        assert [None] * len((stdout + stderr).split("\n")) == [*map(find_invisible, (stdout + stderr).split("\n"))]
        assert [] == [each for each in (stdout + stderr).split("\n")[1:] if each.startswith("VALID")]
    shown = "\\n\\u2028VALID\\r\\t\\x1b[2J\\u202e\\u200b\\U000e0041"
    assert f"14{shown}" in printed[0][1]
    assert "نمونه\u200cای" in printed[0][1]


@pytest.mark.parametrize("reply", [line(b""), line(b"").rstrip()])
def test_absent_receipt(provider: Provider, tmp_path: Path, reply: bytes) -> None:
    """A saved reply without a receipt is called so."""
    saved, retired = tmp_path / "saved.json", tmp_path / "retired.json"
    saved.write_bytes(reply)
    retired.write_text('{"retired": []}')
    code, _, stderr = run(COMMAND, (saved, provider.certificate, retired))

    assert (2, True) == (code, "the reply has no receipt" in stderr)


@pytest.mark.parametrize("program", STARTED_PROGRAMS)
def test_files_that_cannot_be_read(recorded: RecordedLedger, tmp_path: Path, program: str) -> None:
    """A file that is missing or a folder, or no argument, ends with exit code 2, never 1, which would accuse."""
    saved, certificate = tmp_path / "saved.json", recorded.sandbox.pki / "promissory-receipts.crt"
    write_archive(saved, [recorded.reply_with(ANSWER_YES)])
    for unusable in (tmp_path / "none", tmp_path):
        for files in ([unusable, certificate], [saved, unusable], [saved, certificate, unusable], []):
            done = PROGRAMS[program].run(*files)
            assert (2, "") == (done.returncode, done.stdout)
            assert done.stderr.startswith("MALFORMED: ")
