"""Receipts and checkpoints are valid only while their signing certificate is, and until its key is retired."""

import json
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from conformance.target import Target
from estelam.cli.root import application
from estelam.core.clock import to_datetime
from estelam.core.keys import key_fingerprint, verifying_keys
from estelam.core.pem import KeyFileError, read_certificates
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from estelam.ledger.errors import LedgerCorruptError, LedgerUncheckedError
from estelam.ledger.verify import verify_ledger
from estelam.receipts import archive
from estelam.receipts.archive import ReceiptRecord, write_archive
from estelam.receipts.problems import END_OF_TIME, InvalidReceipt, ReceiptProblem, check_key
from estelam.storage.store import Store
from sataad_adapter.web.receipts import verify_archive
from tests.guarantees.recorded_ledger import RecordedLedger, receipt_of
from tests.support.certificates import DAY, NOW, certificate_pem, concatenate, write_retirement


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> RecordedLedger:
    return RecordedLedger(tmp_path_factory.mktemp("elsewhere") / "suite")


@pytest.fixture(scope="module")
def record(recorded: RecordedLedger) -> ReceiptRecord:
    return recorded.reply_with(ANSWER_YES)


def by_command(folder: Path, record: ReceiptRecord) -> str:
    """Run `estelam receipt verify`."""
    write_archive(folder / "saved.json", [record])
    files = "--certificate", folder / "promissory-receipts.crt", "--retired-keys", folder / "retired-keys.json"
    done = CliRunner().invoke(application(), ["receipt", "verify", *map(str, [folder / "saved.json", *files])])
    assert (0, "") == (done.exit_code, done.stderr) or (done.exit_code in {1, 21}, "") == (True, done.stdout)
    return done.stderr


def by_page(folder: Path, record: ReceiptRecord) -> str:
    """Verify as the officer's page does."""
    keys = verifying_keys([folder / "promissory-receipts.crt"], folder / "retired-keys.json")
    try:
        verify_archive(archive.encode(record).decode("ascii"), keys)
    except InvalidReceipt as error:
        return str(error)
    return ""


def by_kit(folder: Path, record: ReceiptRecord) -> str:
    """Verify as the conformance kit does."""
    try:
        Target({}, folder).verifiers["promissory"].verify(record.method, record.request, record.reply)
    except InvalidReceipt as error:
        return str(error)
    return ""


VERIFIERS = (by_command, by_page, by_kit)
PERIODS = {
    "now": (NOW - DAY, NOW + DAY, ""),
    "expired": (NOW - 9 * DAY, NOW - 6 * DAY, "no longer valid at|not valid at"),
    "not yet valid": (NOW + 6 * DAY, NOW + 9 * DAY, "not yet valid at|not valid at"),
}
SECOND = timedelta(seconds=1)


def edges(answered: datetime) -> dict[str, tuple[datetime, datetime, str]]:
    """Periods that begin or end with the second *answered*, which belongs to them, or beside it."""
    return {
        "to this second": (NOW - DAY, answered, ""),
        "to the second before": (NOW - DAY, answered - SECOND, "no longer valid at|not valid at"),
        "from this second on": (answered, NOW + DAY, ""),
        "from the next second on": (answered + SECOND, NOW + DAY, "not yet valid at|not valid at"),
    }


RETIREMENTS = {
    "superseded later": ("superseded", NOW + DAY, ""),
    "superseded earlier": ("superseded", NOW - DAY, "was retired at"),
    "compromised later": ("compromised", NOW + DAY, "was compromised"),
    "compromised earlier": ("compromised", NOW - DAY, "was retired at"),
}


def signed_by(recorded: RecordedLedger, folder: Path, *certificates: bytes) -> Path:
    """Write the files that the verifiers read to *folder*; its ledger was signed under *certificates*."""
    for name in ("promissory", "judiciary"):
        (folder / f"{name}-receipts.crt").write_bytes((recorded.sandbox.pki / f"{name}-receipts.crt").read_bytes())
    if certificates:
        concatenate(folder / "promissory-receipts.crt", certificates)
    (folder / "retired-keys.json").write_text('{"retired": []}', "ascii")
    return folder


def holds(problem: str, words: str) -> bool:
    """Whether *problem* contains one of the alternatives *words*; if there are none, whether there is no problem."""
    return any(word in problem for word in words.split("|")) if words else not problem


@pytest.mark.parametrize("verifier", VERIFIERS)
def test_validity_period(
    recorded: RecordedLedger, record: ReceiptRecord, tmp_path: Path, verifier: Callable[[Path, ReceiptRecord], str]
) -> None:
    """An answer from outside the certificate's validity is not valid, and the reason is exact."""
    public = read_certificates(recorded.sandbox.pki / "promissory-receipts.crt")[0].public_key()
    tried = PERIODS | edges(to_datetime(receipt_of(record).answered_at.seconds * 1_000_000))
    pems = {name: certificate_pem(recorded.sandbox.pki, public, since=a, until=b) for name, (a, b, _) in tried.items()}
    found = {name: verifier(signed_by(recorded, tmp_path, pem), record) for name, pem in pems.items()}
    renewed = verifier(signed_by(recorded, tmp_path, pems["expired"], pems["now"]), record)
    lapsed = verifier(signed_by(recorded, tmp_path, pems["expired"], pems["not yet valid"]), record)

    assert [] == [problem for name, problem in found.items() if not holds(problem, tried[name][2])]
    assert "" == renewed
    assert "not valid at" in lapsed


@pytest.mark.parametrize("verifier", VERIFIERS)
def test_retired_key(
    recorded: RecordedLedger, record: ReceiptRecord, tmp_path: Path, verifier: Callable[[Path, ReceiptRecord], str]
) -> None:
    """A replaced key's earlier answers stay valid; a compromised key's receipts of any date are not valid alone."""
    folder = signed_by(recorded, tmp_path)
    found = {}
    for name, (reason, at, _) in RETIREMENTS.items():
        write_retirement(folder / "retired-keys.json", folder / "promissory-receipts.crt", at, reason)
        found[name] = verifier(folder, record)
    write_retirement(folder / "retired-keys.json", folder / "judiciary-receipts.crt", NOW - DAY, "compromised")

    assert [] == [problem for name, problem in found.items() if not holds(problem, RETIREMENTS[name][2])]
    assert "" == verifier(folder, record)


@pytest.mark.parametrize("verifier", VERIFIERS)
def test_all_certificates_of_a_file(
    recorded: RecordedLedger, record: ReceiptRecord, tmp_path: Path, verifier: Callable[[Path, ReceiptRecord], str]
) -> None:
    """During a rotation one file holds the old and the new certificate, and that of their authority."""
    pki = recorded.sandbox.pki
    files = [(pki / f"{name}.crt").read_bytes() for name in ("ca", "judiciary-receipts", "promissory-receipts")]

    assert "" == verifier(signed_by(recorded, tmp_path, *files), record)
    assert verifier(signed_by(recorded, tmp_path, *files[:2]), record)


def test_verdicts(recorded: RecordedLedger, record: ReceiptRecord, tmp_path: Path) -> None:
    """Only an answer from the retirement on is INVALID; what another file may yet prove is not checked."""
    public = read_certificates(recorded.sandbox.pki / "promissory-receipts.crt")[0].public_key()

    def verdict() -> tuple[int, str, str]:
        archive_file = tmp_path / "saved.json"
        write_archive(archive_file, [record])
        files = "--certificate", tmp_path / "promissory-receipts.crt", "--retired-keys", tmp_path / "retired-keys.json"
        done = CliRunner().invoke(application(), ["receipt", "verify", *map(str, [archive_file, *files]), "--json"])
        found = json.loads(done.stdout)
        return done.exit_code, found["verdict"], found["problem"]

    periods, retirements = {}, {}
    for name in ("expired", "not yet valid"):
        since, until, _ = PERIODS[name]
        signed_by(recorded, tmp_path, certificate_pem(recorded.sandbox.pki, public, since=since, until=until))
        periods[name] = verdict()
        assert "give the certificate that was" in by_page(tmp_path, record)
    signed_by(recorded, tmp_path)
    for name in ("superseded earlier", "compromised earlier", "compromised later"):
        reason, at, _ = RETIREMENTS[name]
        write_retirement(tmp_path / "retired-keys.json", tmp_path / "promissory-receipts.crt", at, reason)
        retirements[name] = verdict()

    assert {(21, "NOT CHECKED", "OUTSIDE_CERTIFICATES")} == {*periods.values()}
    assert [(1, "INVALID", "KEY_RETIRED")] * 2 + [(21, "NOT CHECKED", "KEY_COMPROMISED")] == [*retirements.values()]


def test_ledger(recorded: RecordedLedger, tmp_path: Path) -> None:
    """A ledger's checkpoints follow the same rules, except that its order proves the time under a compromised key."""
    public = read_certificates(recorded.sandbox.pki / "promissory-receipts.crt")[0].public_key()

    def problem(retired: Path | None = None) -> str:
        keys = verifying_keys([folder / "promissory-receipts.crt"], retired)
        with closing(Store(recorded.sandbox.promissory().store)) as store, store.transaction() as connection:
            try:
                return "" if list(verify_ledger(connection, keys)) else "empty"
            except (LedgerCorruptError, LedgerUncheckedError) as error:
                return f"{type(error).__name__}: {error}"

    for since, until, words in PERIODS.values():
        folder = signed_by(recorded, tmp_path, certificate_pem(recorded.sandbox.pki, public, since=since, until=until))
        assert holds(problem(), words)
        assert not words or problem().startswith("LedgerUncheckedError: the commit after entry 0: ")
    folder = signed_by(recorded, tmp_path)
    for name, (reason, at, _) in RETIREMENTS.items():
        list_file = write_retirement(tmp_path / "list.json", folder / "promissory-receipts.crt", at, reason)
        assert holds(
            problem(list_file),
            "" if "later" in name else "LedgerCorruptError: the commit after entry 0: the signing key was retired at",
        )


@pytest.mark.parametrize("micros", [-1, END_OF_TIME, 2**63 - 1])
def test_no_such_time(recorded: RecordedLedger, micros: int) -> None:
    """A time that no calendar here has is damage, and no question of certificates."""
    (key,) = recorded.keys.values()
    with pytest.raises(InvalidReceipt, match="not between the years 1970 and 9999") as caught:
        check_key(key, micros)

    assert caught.value.problem is ReceiptProblem.DAMAGED


def test_certificate_that_may_not_sign(recorded: RecordedLedger, record: ReceiptRecord, tmp_path: Path) -> None:
    """A certificate whose key usage lacks digitalSignature verifies nothing; one without key usage does."""
    public = read_certificates(recorded.sandbox.pki / "promissory-receipts.crt")[0].public_key()
    pems = [certificate_pem(recorded.sandbox.pki, public, digital_signature=usage) for usage in (None, False)]

    assert "" == by_page(signed_by(recorded, tmp_path, pems[0]), record)
    folder = signed_by(recorded, tmp_path, pems[1])
    with pytest.raises(KeyFileError, match="has no digitalSignature: organizationIdentifier=99001504616"):
        verifying_keys([folder / "promissory-receipts.crt"])


def test_repeated_key_in_list(recorded: RecordedLedger, tmp_path: Path) -> None:
    """A list of retired keys with a repeated JSON key is refused: of two times, readers would take one or the other."""
    certificate = recorded.sandbox.pki / "promissory-receipts.crt"
    file = write_retirement(tmp_path / "list.json", certificate, NOW, "superseded")
    content = file.read_text("ascii")
    file.write_text(content.replace('"reason"', '"retired_at": "2199-01-01T00:00:00Z", "reason"'), "ascii")
    with pytest.raises(KeyFileError, match="retired_at: is given twice"):
        verifying_keys([certificate], file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"retired_at": "2026-03-21"}, "retired.0.retired_at: give a Gregorian instant in UTC"),
        ({"retired_at": "2026-3-21T0:0:0Z"}, "retired.0.retired_at: give a Gregorian instant in UTC"),
        ({"retired_at": "2026-03-21T00:00:00+03:30"}, "retired.0.retired_at: give a Gregorian instant"),
        ({"retired_at": "2026-02-30T00:00:00Z"}, "give a Gregorian instant in UTC, as 2026-03-21T00:00:00Z"),
        ({"retired_at": "1405-01-01T00:00:00Z"}, "give a Gregorian instant in UTC, as 2026-03-21T00:00:00Z"),
        ({"reason": "lost"}, "retired.0.reason: "),
        ({"key": "0123"}, "retired.0.key: give the key's fingerprint, 64 digits of 0-9 and a-f"),
        ({"note": ""}, "retired.0.note: unknown key"),
    ],
)
def test_malformed_list(recorded: RecordedLedger, tmp_path: Path, change: dict[str, str], words: str) -> None:
    """A malformed list of retired keys is refused with its file and key: a typing error must not keep a key in use."""
    certificate = recorded.sandbox.pki / "promissory-receipts.crt"
    file = write_retirement(tmp_path / "list.json", certificate, NOW, "superseded")
    row = json.loads(file.read_text("ascii"))["retired"][0]
    file.write_text(json.dumps({"retired": [row | change]}), "ascii")
    with pytest.raises(KeyFileError) as refused:
        verifying_keys([certificate], file)
    file.write_text(json.dumps({"retired": [row, row]}), "ascii")
    with pytest.raises(KeyFileError, match="a key is named twice"):
        verifying_keys([certificate], file)

    assert str(refused.value).startswith(f"{file}: ")
    assert words in str(refused.value)
    assert row["key"] == key_fingerprint(read_certificates(certificate)[0].public_key())
