"""`estelam judiciary recall`: late data in, lists of wrong answers out, and clear words for what can't be done."""

import csv
import json
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from estelam.client.channel import ClientIdentity
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
from tests.e2e.conftest import NOTE, CommandLine, Said
from tests.support.service import RunningService
from tools.env.sandbox import ORGANIZATIONS, SAMPLES, Sandbox, load_file

HEADER = "case_number,kind,filed_on,registered_at,tracking_id,national_id,role\n"
LATE = f"{HEADER}9,CIVIL,2026-03-01,2026-05-20T10:00:00+03:30,777,99000791909,DRAWER\n"
COLUMNS = ["caller", "inquiry_id", "answered_at", "method", "then", "now", "entry"]


@pytest.fixture(scope="module")
def told(template: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> tuple[Sandbox, str]:
    """A suite in which a drawer was told clear, and then the late case came; the inquiry's id."""
    sandbox = copy(template, tmp_path_factory.mktemp("told") / "suite")
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
def cleared(told: tuple[Sandbox, str], tmp_path: Path) -> tuple[CommandLine, str]:
    """A copy of it."""
    return CommandLine(copy(told[0], tmp_path / "suite")), told[1]


def recall(command: CommandLine, *more: str | Path, since: str = "1") -> Said:
    return command("judiciary", "recall", "--since", since, "--settle", "0", *more)


def test_who_was_told_clear_before_the_late_case_came_is_listed(cleared: tuple[CommandLine, str]) -> None:
    command, inquiry = cleared
    (found,) = recall(command, "--json").json
    answered_at = found.pop("answered_at")

    assert found == {
        "caller": ORGANIZATIONS["cbi"],
        "inquiry_id": inquiry,
        "method": "CheckByNationalId",
        "then": "NO",
        "now": "YES",
        "entry": 2,
    }
    assert timedelta(0) < datetime.now(UTC) - datetime.fromisoformat(answered_at) < timedelta(minutes=5)


def test_a_note_settled_unknown_to_the_register_takes_back_its_yes_and_its_parties(
    template: Sandbox, tmp_path: Path
) -> None:
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
    said = CommandLine(sandbox)("promissory", "recall", "--since", "2", "--settle", "0", "--json")

    assert [(row["caller"], row["method"], row["then"], row["now"]) for row in said.json] == [
        (ORGANIZATIONS["agency"], "CheckNote", "YES", "NO"),
        (ORGANIZATIONS["setad"], "CheckNote", "YES", "NO"),
        (ORGANIZATIONS["setad"], "GetNoteParties", "DISCLOSED", "REFUSED"),
    ]


def test_a_list_is_a_table_or_csv_or_json_of_the_same_answers(cleared: tuple[CommandLine, str]) -> None:
    command, inquiry = cleared
    as_csv = recall(command, "--format", "csv").out
    as_json = recall(command, "--format", "json").json
    table = recall(command)

    header, row = csv.reader(as_csv.splitlines())
    assert header == COLUMNS
    assert row == [str(value) for value in as_json[0].values()]
    assert inquiry.replace("-", "")[:8] in table.out
    assert "1 answers to 1 callers" in table.err


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_each_caller_has_a_list_of_its_own_ready_to_send(
    cleared: tuple[CommandLine, str], tmp_path: Path, form: str
) -> None:
    command, inquiry = cleared
    folder = tmp_path / "new" / "lists"
    said = recall(command, "--format", form, "--out", folder)

    kind = "json" if form == "json" else "csv"
    (path,) = folder.iterdir()
    content = path.read_text("utf-8")
    rows: list[dict[str, Any]] = json.loads(content) if kind == "json" else [*csv.DictReader(content.splitlines())]
    assert said.code == 0
    assert path.name == f"{ORGANIZATIONS['cbi']}.{kind}"
    assert [row["inquiry_id"] for row in rows] == [inquiry]
    assert [folder] == [*folder.parent.iterdir()]


@pytest.mark.parametrize("since", ["0", "۱", "1", "1-1-1", "1400-01-01", "2021-03-21", "2021-03-21T00:00:00+03:30"])
def test_since_is_a_load_or_a_day_or_an_instant(cleared: tuple[CommandLine, str], since: str) -> None:
    assert len(recall(cleared[0], "--json", since=since).json) == 1


@pytest.mark.parametrize("since", ["2", "now"])
def test_what_was_loaded_before_is_not_looked_at(cleared: tuple[CommandLine, str], since: str) -> None:
    said = recall(cleared[0], "--json", since=since)

    assert said.json == []
    assert recall(cleared[0], "--format", "csv", since=since).out == ",".join(COLUMNS) + "\n"


@pytest.mark.parametrize(
    ("since", "words"),
    [
        ("3", "there is no such load; the last one is 2"),
        ("9" * 9, "there is no such load; the last one is 2"),
        ("9999-01-01", "is in the future"),
        ("1500-01-01", "is in the future"),
        *((word, "a load's number, a day as") for word in ("", "-1", "9" * 5000, "yesterday", "1405-13-01")),
        *((word, "a load's number, a day as") for word in ("2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "1.5")),
    ],
)
def test_since_when_must_make_sense(cleared: tuple[CommandLine, str], since: str, words: str) -> None:
    said = recall(cleared[0], f"--since={since}", since="1")

    assert (said.code, said.out) == (1, "")
    assert words in said.err


def test_lists_of_two_recalls_are_never_mixed(cleared: tuple[CommandLine, str], tmp_path: Path) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    (folder / "old.csv").touch()
    said = recall(cleared[0], "--out", folder)

    assert said.code == 1
    assert "must be a new or an empty folder" in said.err
    assert recall(cleared[0], "--out", folder / "old.csv").code == 1
    assert ["old.csv"] == [path.name for path in folder.iterdir()]


def test_a_store_without_a_load_has_nothing_to_recall(sandbox: Sandbox) -> None:
    said = recall(CommandLine(sandbox), since="0")

    assert said.code == 1
    assert "nothing has been loaded yet" in said.err


def test_a_store_that_was_never_made_is_named_as_such(sandbox: Sandbox) -> None:
    settings = sandbox.judiciary()
    for path in Path(settings.store.removeprefix("sqlite:///")).glob("*.db*"):
        path.unlink()
    said = recall(CommandLine(sandbox), since="0")

    assert said.code == 1
    assert "run: estelam migrate" in said.err


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            "UPDATE ledger.entry SET sealed = x'ff' WHERE sequence = 2",
            "an entry is damaged; run: estelam ledger verify",
        ),
        ("DROP TABLE ledger.entry", "the store failed while it was read"),
    ],
)
def test_a_damaged_ledger_gives_no_list(cleared: tuple[CommandLine, str], damage: str, words: str) -> None:
    with (
        closing(Store(cleared[0].sandbox.judiciary().store, ledger=AccessMode.WRITE)) as store,
        store.transaction() as connection,
    ):
        connection.execute(text(damage))
    said = recall(cleared[0])

    assert (said.code, said.out, said.err.strip()) == (1, "", words)


def test_a_rotated_key_still_finds_and_a_lost_key_is_said(cleared: tuple[CommandLine, str]) -> None:
    command, inquiry = cleared
    keyring = command.sandbox.judiciary().hmac_keyring
    first = keyring.read_text("ascii")
    keyring.write_text(first + new_keyring_line("k2"), "ascii")
    found = recall(command, "--json").json
    keyring.write_text(new_keyring_line("k2"), "ascii")
    lost = recall(command)

    assert [row["inquiry_id"] for row in found] == [inquiry]
    assert (lost.code, lost.out) == (1, "")
    assert "the keyring lacks a key" in lost.err


def test_loads_made_before_changes_were_remembered_are_out_of_reach(cleared: tuple[CommandLine, str]) -> None:
    command, _ = cleared
    with (
        closing(Store(command.sandbox.judiciary().store, facts=AccessMode.WRITE)) as store,
        store.transaction() as connection,
    ):
        connection.execute(text("UPDATE facts.load SET covered_since = NULL WHERE number = 1"))
    said = recall(command, since="0")

    assert said.code == 1
    assert "recorded from load 2 on" in said.err
    assert recall(command, since="2").code == 0


def test_recall_waits_until_answers_under_way_at_the_newest_load_are_written_down(
    cleared: tuple[CommandLine, str],
) -> None:
    load_file(cleared[0].sandbox.judiciary(), CASES, cleared[0].sandbox.folder / "late.csv")
    begun = time.monotonic()
    said = cleared[0]("judiciary", "recall", "--since", "1", "--settle", "2", "--json")

    assert len(said.json) == 1
    assert time.monotonic() - begun > 1
