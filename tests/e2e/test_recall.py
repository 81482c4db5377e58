"""`estelam judiciary recall`: lists of answers that late data made wrong, and clear errors."""

import csv
import json
import re
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from development.files import SAMPLES
from development.sandbox import ORGANIZATIONS, Sandbox, load_file
from estelam.client.channel import ClientIdentity
from estelam.core.dates import DateProblem
from estelam.core.keys import new_keyring_line
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from estelam.judiciary.v1.cheque_case_inquiry_pb2_grpc import ChequeCaseInquiryServiceStub
from estelam.promissory.v1.note_inquiry_pb2 import GetNotePartiesRequest
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.storage.store import AccessMode, Store
from judiciary.feeds import CASES
from promissory.feeds import NOTES
from tests.conftest import copy, judiciary_opening, plain_channel, promissory_opening
from tests.e2e.conftest import BY_INDEX, NOTE, CommandLine, CommandResult
from tests.support.service import RunningService

HEADER = "case_number,kind,filed_on,registered_at,tracking_id,sayad_id,national_id,role\n"
LATE = f"{HEADER}9,CIVIL,2026-03-01,2026-05-20T10:00:00+03:30,777,,99000791909,DRAWER\n"
COLUMNS = ["caller", "inquiry_id", "answered_at", "method", "then", "now", "index", "annulled_by"]


@pytest.fixture(scope="module")
def recalled(template: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> tuple[Sandbox, str]:
    """A sandbox with a NO about a drawer whose case was loaded later, and the inquiry's id."""
    sandbox = copy(template, tmp_path_factory.mktemp("recalled") / "suite")
    with (
        RunningService(judiciary_opening(sandbox, shutdown_delay_seconds=0)) as service,
        plain_channel(service.address, ClientIdentity.named(sandbox.pki, "cbi")) as channel,
    ):
        stub = ChequeCaseInquiryServiceStub(channel)
        stub.CheckByNationalId(pb.CheckByNationalIdRequest(national_id="9990000050"), timeout=5)
        reply = stub.CheckByNationalId(pb.CheckByNationalIdRequest(national_id="99000791909"), timeout=5)
    assert reply.answer == ANSWER_NO
    late = sandbox.folder / "late.csv"
    late.write_text(LATE, "utf-8")
    load_file(sandbox.judiciary(), CASES, late)
    return sandbox, reply.receipt.inquiry_id


@pytest.fixture
def cleared(recalled: tuple[Sandbox, str], tmp_path: Path) -> tuple[CommandLine, str]:
    """A copy of it."""
    return CommandLine(copy(recalled[0], tmp_path / "suite")), recalled[1]


def recall(command: CommandLine, *more: str | Path, since: str = "1") -> CommandResult:
    return command("judiciary", "recall", "--since", since, "--settle", "0", *more)


def test_wrong_no_is_listed(cleared: tuple[CommandLine, str]) -> None:
    """A NO given before a late case was loaded is listed."""
    command, inquiry = cleared
    (found,) = recall(command, "--json").json
    answered_at = found.pop("answered_at")

    assert found == {
        "caller": ORGANIZATIONS["cbi"],
        "inquiry_id": inquiry,
        "method": "CheckByNationalId",
        "then": "NO",
        "now": "YES",
        "index": 2,
        "annulled_by": None,
    }
    assert timedelta(0) < datetime.now(UTC) - datetime.fromisoformat(answered_at) < timedelta(minutes=5)


def test_wrong_yes_and_disclosure_are_listed(template: Sandbox, tmp_path: Path) -> None:
    """A YES and a disclosure about a note that was already settled are listed."""
    sandbox = copy(template, tmp_path / "suite")
    with RunningService(promissory_opening(sandbox, shutdown_delay_seconds=0)) as service:
        for caller in ("agency", "setad"):
            with plain_channel(service.address, ClientIdentity.named(sandbox.pki, caller)) as channel:
                PromissoryNoteInquiryServiceStub(channel).CheckNote(NOTE, timeout=5)
        with plain_channel(service.address, ClientIdentity.named(sandbox.pki, "setad")) as channel:
            parties = GetNotePartiesRequest(serial=NOTE.serial, executive_agency_id="SETAD-0001")
            PromissoryNoteInquiryServiceStub(channel).GetNoteParties(parties, timeout=5)
    header, note, *_ = (SAMPLES / "notes.csv").read_text("utf-8").splitlines()
    settled = tmp_path / "settled.csv"
    settled.write_text(f"{header}\n{note.replace('ISSUED', 'SETTLED')}\n", "utf-8")
    load_file(sandbox.promissory(), NOTES, settled)
    result = CommandLine(sandbox)("promissory", "recall", "--since", "2", "--settle", "0", "--json")

    assert [(row["caller"], row["method"], row["then"], row["now"]) for row in result.json] == [
        (ORGANIZATIONS["agency"], "CheckNote", "YES", "NO"),
        (ORGANIZATIONS["setad"], "CheckNote", "YES", "NO"),
        (ORGANIZATIONS["setad"], "GetNoteParties", "DISCLOSED", "REFUSED"),
    ]


def test_formats_agree(cleared: tuple[CommandLine, str]) -> None:
    """Table, CSV and JSON contain the same answers."""
    command, inquiry = cleared
    as_csv = recall(command, "--format", "csv").out
    as_json = recall(command, "--format", "json").json
    table = recall(command)

    header, row = csv.reader(as_csv.splitlines())
    assert header == COLUMNS
    assert row == ["" if value is None else str(value) for value in as_json[0].values()]
    assert inquiry.replace("-", "")[:8] in table.out
    assert re.search(
        f"searched [0-9]+ entries under keys k1 {BY_INDEX}: 1 answer to 1 caller would be different now", table.err
    )


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_one_list_per_caller(cleared: tuple[CommandLine, str], tmp_path: Path, form: str) -> None:
    """Each caller gets a file of its own."""
    command, inquiry = cleared
    folder = tmp_path / "new" / "lists"
    result = recall(command, "--format", form, "--out", folder)

    kind = "json" if form == "json" else "csv"
    (path,) = folder.iterdir()
    content = path.read_text("utf-8")
    rows: list[dict[str, Any]] = json.loads(content) if kind == "json" else [*csv.DictReader(content.splitlines())]
    assert result.code == 0
    assert path.name == f"{ORGANIZATIONS['cbi']}.{kind}"
    assert [row["inquiry_id"] for row in rows] == [inquiry]
    assert [folder] == [*folder.parent.iterdir()]


@pytest.mark.parametrize("since", ["0", "۱", "1", "1400-01-01", "1400/1/1", "2021-03-21", "2021-03-21T00:00:00+03:30"])
def test_since_forms(cleared: tuple[CommandLine, str], since: str) -> None:
    """--since is a load number, a date or an instant."""
    assert len(recall(cleared[0], "--json", since=since).json) == 1


@pytest.mark.parametrize("since", ["2"])
def test_earlier_loads_are_ignored(cleared: tuple[CommandLine, str], since: str) -> None:
    """Loads before --since are ignored."""
    result = recall(cleared[0], "--json", since=since)

    assert result.json == []
    assert recall(cleared[0], "--format", "csv", since=since).out == ",".join(COLUMNS) + "\n"


@pytest.mark.parametrize(
    ("since", "words"),
    [
        ("3", "there is no such load; the last one is 2"),
        ("9" * 9, "there is no such load; the last one is 2"),
        ("2199-01-01", "is in the future"),
        ("1500-01-01", "is in the future"),
        *((word, DateProblem.NO_LOAD_DATE_OR_INSTANT.en) for word in ("", "-1", "9" * 5000, "yesterday", "1.5")),
        ("1405-13-01", DateProblem.NO_SUCH_DAY.en),
        ("1-1-1", DateProblem.YEAR_WITHOUT_FOUR_DIGITS.en),
        ("9999-01-01", DateProblem.YEAR_OUT_OF_RANGE.en),
        ("0001-01-01T00:00:00+14:00", DateProblem.YEAR_OUT_OF_RANGE.en),
        ("2026-01-01T00:00:00", DateProblem.NO_TIME_ZONE.en),
    ],
)
def test_invalid_since_is_refused(cleared: tuple[CommandLine, str], since: str, words: str) -> None:
    """An invalid --since is refused with the reason."""
    result = recall(cleared[0], f"--since={since}", since="1")

    assert (result.code, result.out) == (2, "")
    assert words in result.err


def test_output_folder_must_be_empty(cleared: tuple[CommandLine, str], tmp_path: Path) -> None:
    """The lists of two recalls are never mixed in one folder."""
    folder = tmp_path / "lists"
    folder.mkdir()
    (folder / "old.csv").touch()
    result = recall(cleared[0], "--out", folder)

    assert result.code == 2
    assert "must be a new or an empty folder" in result.err
    assert recall(cleared[0], "--out", folder / "old.csv").code == 2
    assert ["old.csv"] == [path.name for path in folder.iterdir()]


def test_store_without_loads(sandbox: Sandbox) -> None:
    """A store without loads is reported as having nothing to recall."""
    result = recall(CommandLine(sandbox), since="0")

    assert result.code == 21
    assert "nothing has been loaded yet" in result.err


def test_missing_store_is_reported(sandbox: Sandbox) -> None:
    """A store that does not exist is reported as missing."""
    settings = sandbox.judiciary()
    for path in Path(settings.store.removeprefix("sqlite:///")).glob("*.db*"):
        path.unlink()
    result = recall(CommandLine(sandbox), since="0")

    assert result.code == 21
    assert "run: estelam migrate" in result.err


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            "UPDATE ledger.entry SET leaf = x'ff' WHERE \"index\" = 2",
            "an entry of the ledger is damaged; run: estelam ledger verify judiciary",
        ),
        (
            "DROP TABLE ledger.entry",
            "judiciary: the store failed while it was read; check the database and run the command again",
        ),
    ],
)
def test_damaged_ledger_is_refused(cleared: tuple[CommandLine, str], damage: str, words: str) -> None:
    """A damaged ledger gives an error, not a list."""
    with (
        closing(Store(cleared[0].sandbox.judiciary().store, ledger=AccessMode.WRITE)) as store,
        store.transaction() as connection,
    ):
        connection.execute(text(damage))
    result = recall(cleared[0])

    assert (result.code, result.out, result.err.strip()) == (21, "", words)


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_nothing_found(cleared: tuple[CommandLine, str], form: str) -> None:
    """Where no answer would be different, recall says what it searched."""
    command, _ = cleared
    entries = command("ledger", "verify", "judiciary", "--json").json["entries"]
    result = recall(command, "--format", form, since="2")

    assert (0, f"searched {entries} entries under keys k1 {BY_INDEX}: none\n") == (result.code, result.err)


def test_coverage_of_other_feeds(cleared: tuple[CommandLine, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Recall compares with no coverage that was declared for other feeds than the settings require."""
    monkeypatch.setenv("ESTELAM_JUDICIARY_FEEDS", "cases:court-b")
    result = recall(cleared[0])

    assert (21, "") == (result.code, result.out)
    assert "the settings require the feeds cases, court-b, and the coverage was declared for cases" in result.err


def test_key_rotation_and_loss(cleared: tuple[CommandLine, str]) -> None:
    """Answers recorded under a rotated key are found, and a lost key is reported."""
    command, inquiry = cleared
    keyring = command.sandbox.judiciary().hmac_keyring
    first = keyring.read_text("ascii")
    keyring.write_text(first + new_keyring_line("k2"), "ascii")
    found = recall(command, "--json").json
    keyring.write_text(new_keyring_line("k2"), "ascii")
    lost = recall(command)

    assert [row["inquiry_id"] for row in found] == [inquiry]
    assert (lost.code, lost.out) == (21, "")
    assert "the keyring lacks k1" in lost.err


def test_recall_waits_for_an_unnoted_load(cleared: tuple[CommandLine, str]) -> None:
    """Where no service notes the newest load, recall waits the whole settle time from when it first sees it."""
    begun = time.monotonic()
    result = cleared[0]("judiciary", "recall", "--since", "1", "--settle", "2", "--json")

    assert len(result.json) == 1
    assert time.monotonic() - begun >= 2


def test_recall_waits_for_the_note(cleared: tuple[CommandLine, str]) -> None:
    """Where a service is running, recall waits no longer than until the service has noted the newest load."""
    with RunningService(judiciary_opening(cleared[0].sandbox, shutdown_delay_seconds=0)):
        result = cleared[0]("judiciary", "recall", "--since", "1", "--settle", "3600", "--json")

    assert len(result.json) == 1


def test_since_is_by_the_note(cleared: tuple[CommandLine, str]) -> None:
    """An instant is compared with the time of a load's note, not with the loader's clock; an unnoted load is later."""
    before = recall(cleared[0], "--json", since="now").json
    with RunningService(judiciary_opening(cleared[0].sandbox, shutdown_delay_seconds=0)):
        pass

    assert 1 == len(before)
    assert [] == recall(cleared[0], "--json", since="now").json
