"""Bulk checks: every row is accounted for, no call is repeated, and only a verified answer is shown as one."""

import asyncio
import csv
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.type.date_pb2 import Date

from development import sandbox as suite
from development.sandbox import CHECK_BY_TRACKING_ID, Sandbox
from estelam.cli.bulk.question import Answer, Place, Question, Row
from estelam.cli.bulk.run import BulkCheck, BulkCheckError, BulkOptions, Summary
from estelam.client.bulk import Stop, StopReason
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock
from estelam.core.dates import DateProblem
from estelam.core.exceptions import UsageError
from estelam.core.keys import verifying_keys
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from estelam.loading.errors import LoadError
from estelam.receipts.archive import decode, encode
from estelam.receipts.journal import JournalError, OtherInputError
from estelam.receipts.own_call import OwnCall
from estelam.receipts.problems import InvalidReceipt
from estelam.receipts.receipt import Verifier
from judiciary.bulk.cheques import CHEQUES
from tests.conftest import Start, judiciary_opening
from tests.support.service import RunningService

WITH_CASE, WITHOUT_CASE = "140000000000000001", "140000000000000002"
DEFAULT_OPTIONS = BulkOptions()


@dataclass(frozen=True, slots=True)
class Bank:
    """A bank's folder with its list and answers, and the service that it calls."""

    sandbox: Sandbox
    folder: Path
    address: str
    caller: str = "cbi"
    trusted: str = "judiciary-receipts"
    question: Question = CHEQUES
    clock: Clock | None = None

    @property
    def source(self) -> Path:
        return self.folder / "certificates.csv"

    @property
    def out(self) -> Path:
        return self.folder / "answers.csv"

    @property
    def receipts(self) -> Path:
        return self.folder / "answers.csv.receipts.jsonl"

    def write_list(self, text: str) -> None:
        self.source.write_text(text, "utf-8")

    def write_ids(self, ids: Sequence[str]) -> None:
        self.write_list("\n".join(("tracking_id", *ids, "")))

    def open_check(self) -> BulkCheck:
        verifier = Verifier(verifying_keys([self.sandbox.pki / f"{self.trusted}.crt"]))
        return BulkCheck(self.question, self.source, self.out, verifier, clock=self.clock)

    def run(
        self, options: BulkOptions = DEFAULT_OPTIONS, *, stop_after: int | None = None
    ) -> tuple[Stop | None, Summary, int]:
        """Run once; return why it stopped early, the summary, and the number of replies of this run."""
        with self.open_check() as check:
            check.resume(lambda _done: None)
            before = check.answered
            identity = ClientIdentity.named(self.sandbox.pki, self.caller)
            if stop_after is not None:
                on_reply = check._on_reply

                def stop_after_some(own: OwnCall, key: bytes, wire: bytes) -> Stop | None:
                    return on_reply(own, key, wire) or (
                        Stop(StopReason.INTERRUPTED, "enough") if check.answered - before >= stop_after else None
                    )

                check._on_reply = stop_after_some  # type: ignore[method-assign]
            stop = asyncio.run(check.ask(self.address, identity, options, lambda _done: None))
            return stop, check.write_out(stop), check.answered - before

    def answers(self) -> list[dict[str, str]]:
        with self.out.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def bank(shared: Sandbox, judiciary: RunningService, tmp_path: Path) -> Bank:
    """A bank that calls the shared service."""
    return Bank(shared, tmp_path, judiciary.address)


def many(count: int) -> list[str]:
    """Return *count* tracking ids: every tenth is the one with a case, the others have none."""
    return [WITH_CASE if number % 10 == 9 else f"7{number:017d}" for number in range(count)]


def row_of(issued_on: date | None) -> Row:
    """Return the row of a certificate."""
    return Row(Place(1, 2), {"tracking_id": WITHOUT_CASE}, b"request", issued_on)


def reason_code(text: str) -> str:
    """Return the code at the start of a reason text."""
    return text.partition(":")[0]


def test_every_row_has_a_result(bank: Bank) -> None:
    """Every row of the list has one output row in order; rows without an answer say UNANSWERED and why."""
    bank.write_list(
        "name,\u200ftracking_id\u061c,certificate_issued_on\n"
        f"someone,{WITH_CASE},2024-03-01\n"
        f"someone,۱۴۰۰۰۰۰۰۰۰۰۰۰۰۰۰۰۲,۱۴۰۲/۱۲/۱۱\n"
        f"someone,12x,2024-03-01\n"
        f"someone,,2024-03-01\n"
        f"someone,{WITHOUT_CASE},2024-03-01,more\n"
        f'someone,"{WITH_CASE} ",\n'
    )
    stop, summary, calls = bank.run()
    rows = bank.answers()

    assert (None, 2) == (stop, calls)
    assert list(CHEQUES.output_columns) == list(rows[0])
    assert ["1", "2", "3", "4", "5", "6"] == [row["row"] for row in rows]
    assert ["2", "3", "4", "5", "6", "7"] == [row["line"] for row in rows]
    assert ["YES", "NO", "UNANSWERED", "UNANSWERED", "UNANSWERED", "YES"] == [row["answer"] for row in rows]
    assert ["", "", "FIELD_INVALID", "FIELD_INVALID", "WRONG_NUMBER_OF_FIELDS", ""] == [
        reason_code(row["reason"]) for row in rows
    ]
    assert {"YES": 2, "NO": 1, "UNANSWERED": 3} == summary.answers
    assert "someone" not in bank.out.read_text("utf-8")
    assert "12x" not in bank.out.read_text("utf-8")


WRONG_DATES = {
    "1402-13-01": DateProblem.NO_SUCH_DAY,
    "02-12-11": DateProblem.YEAR_WITHOUT_FOUR_DIGITS,
    "1499/01/01": DateProblem.AFTER_TODAY,
    "0402-1-1": DateProblem.YEAR_OUT_OF_RANGE,
}


def test_conclusive_no(bank: Bank) -> None:
    """A NO is conclusive only if the certificate was issued within coverage."""
    dates = ("2021-03-21", "2021-03-20", "1400/01/01", "1399-12-30", "", *WRONG_DATES)
    bank.write_list("certificate_issued_on,tracking_id\n" + "".join(f"{day},{WITHOUT_CASE}\n" for day in dates))
    bank.run()
    rows = bank.answers()

    assert {"NO"} == {row["answer"] for row in rows}
    assert {"2021-03-21"} == {row["covered_since"] for row in rows}
    assert [
        "CONCLUSIVE",
        "CERTIFICATE_BEFORE_COVERAGE",
        "CONCLUSIVE",
        "CERTIFICATE_BEFORE_COVERAGE",
        *["CERTIFICATE_DATE_UNKNOWN"] * 5,
    ] == [row["standing"] for row in rows]
    reasons = [f"certificate_issued_on {problem.en} / {problem.fa}" for problem in WRONG_DATES.values()]
    assert [*[""] * 5, *reasons] == [row["reason"] for row in rows]
    assert all(datetime.fromisoformat(row["data_as_of"]) <= datetime.fromisoformat(row["answered_at"]) for row in rows)


@pytest.mark.parametrize(
    ("issued_on", "standing"),
    [(date(2026, 11, 30), "CONCLUSIVE"), (date(2026, 12, 1), "CERTIFICATE_AFTER_COVERAGE")],
)
def test_no_about_certificate_after_data(issued_on: date, standing: str) -> None:
    """A NO says nothing about a certificate issued after the day, in Iran, up to which the data is loaded."""
    quarter_past_midnight_in_iran = datetime(2026, 11, 29, 20, 45, tzinfo=UTC)
    answer = Answer("NO", date(2021, 3, 21), quarter_past_midnight_in_iran, quarter_past_midnight_in_iran, "id", 0)

    assert standing == CHEQUES.answered(row_of(issued_on), answer)["standing"]


@pytest.mark.parametrize("year", [0, 1404, 2200])
def test_coverage_of_another_calendar(year: int) -> None:
    """A NO whose coverage does not begin on a Gregorian date is no answer."""
    reply = pb.CheckByTrackingIdResponse(answer=ANSWER_NO)
    reply.coverage.since.CopyFrom(Date(year=year, month=1, day=1))

    with pytest.raises(InvalidReceipt, match="without coverage"):
        Answer.from_reply(reply)


def test_resume(bank: Bank) -> None:
    """A stopped run is resumed where it stopped, and no tracking id is sent twice."""
    ids = many(150)
    bank.write_ids(ids)
    stop, summary, first = bank.run(BulkOptions(window=8), stop_after=40)
    half = bank.answers()
    again, whole, second = bank.run()
    third = bank.run()[2]
    rows = bank.answers()

    assert (StopReason.INTERRUPTED, None) == (stop and stop.reason, again)
    assert 0 < summary.answers["UNANSWERED"] == sum(row["answer"] == "UNANSWERED" for row in half)
    assert {"UNASKED"} == {reason_code(row["reason"]) for row in half if row["answer"] == "UNANSWERED"}
    assert len(set(ids)) == first + second
    assert (0, 0) == (third, whole.answers["UNANSWERED"])
    assert ids == [row["tracking_id"] for row in rows]
    assert ["YES" if found == WITH_CASE else "NO" for found in ids] == [row["answer"] for row in rows]


@pytest.mark.parametrize("lost", [1, 700])
def test_truncated_journal(bank: Bank, lost: int) -> None:
    """A truncated last line of the journal is discarded and its call repeated."""
    bank.write_ids(many(9))
    bank.run()
    whole = bank.receipts.read_bytes()
    bank.receipts.write_bytes(whole[:-lost])
    _, summary, calls = bank.run()

    assert (1, {"NO": 9}) == (calls, summary.answers)
    assert len(whole.splitlines()) == len(bank.receipts.read_bytes().splitlines())


def test_damaged_journal(bank: Bank) -> None:
    """A journal with a changed byte is called damaged, by its line, and not modified."""
    bank.write_ids(many(9))
    bank.run()
    whole = bank.receipts.read_bytes()
    for place in range(len(whole) // 2, len(whole) // 2 + 900, 90):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        bank.receipts.write_bytes(damaged)
        line = whole[:place].count(b"\n") + 1
        with pytest.raises((JournalError, BulkCheckError), match=f"line {line}: .*damaged"):
            bank.run()

        assert bytes(damaged) == bank.receipts.read_bytes()


def test_damaged_request_in_journal(bank: Bank) -> None:
    """A saved reply whose request was changed is called damaged, not a reply for another list."""
    bank.write_ids(many(9))
    bank.run()
    lines = bank.receipts.read_bytes().splitlines(keepends=True)
    item = decode(lines[3])
    item.reply.receipt.request = pb.CheckByTrackingIdRequest(tracking_id="5").SerializeToString()  # type: ignore[attr-defined]
    bank.receipts.write_bytes(b"".join([*lines[:3], encode(item), *lines[4:]]))
    with pytest.raises(JournalError, match="line 4: is damaged: the receipt is of another request"):
        bank.run()


@pytest.mark.parametrize("content", ["", "0" * 10, "\0" * 64])
def test_damaged_digest_of_list(bank: Bank, content: str) -> None:
    """A file that should hold the digest of the list, and holds none, is called damaged, not another list's."""
    bank.write_ids(many(2))
    bank.run()
    Path(f"{bank.receipts}.of").write_text(content)
    with pytest.raises(JournalError, match=r"receipts.jsonl.of: is damaged") as refused:
        bank.run()

    assert not isinstance(refused.value, OtherInputError)


def test_journal_of_another_list(bank: Bank) -> None:
    """Files that belong to another list are rejected and not modified."""
    bank.write_ids(many(5))
    bank.run()
    before = bank.out.read_bytes(), bank.receipts.read_bytes()
    bank.write_ids(many(6))
    with pytest.raises(BulkCheckError, match=r"was changed, or replaced by another file.*give another --out") as caught:
        bank.run()

    assert str(bank.source) in str(caught.value)
    assert before == (bank.out.read_bytes(), bank.receipts.read_bytes())


def test_existing_output(bank: Bank) -> None:
    """An existing file that is not from a bulk check is not overwritten."""
    bank.write_ids(many(5))
    bank.out.write_text("precious")
    with pytest.raises(UsageError, match="not from a bulk check"):
        bank.run()

    assert bank.out.read_text() == "precious"


def test_untrusted_receipts(bank: Bank) -> None:
    """Replies with receipts of an untrusted key are not answers and are not stored."""
    bank.write_ids(many(20))
    stop, summary, calls = replace(bank, trusted="promissory-receipts").run()

    assert (StopReason.UNPROVEN, 0) == (stop and stop.reason, calls)
    assert {"UNANSWERED": 20} == summary.answers
    assert not bank.receipts.read_bytes()


NO_ALONE = pb.CheckByTrackingIdResponse(answer=ANSWER_NO)


@pytest.mark.parametrize(
    "reply",
    [b"", b"\xff", NO_ALONE.SerializeToString(), "replay"],
    ids=["empty", "not a message", "NO without a receipt", "reply to another request"],
)
def test_unverified_replies(bank: Bank, reply: bytes | str) -> None:
    """A reply that is empty, malformed, without a receipt or for another request is not an answer."""
    bank.write_ids([WITHOUT_CASE])
    bank.run()
    recorded = decode(bank.receipts.read_bytes()).reply.SerializeToString()
    for left in bank.folder.iterdir():
        left.unlink()
    bank.write_ids(many(3))
    with untrusted_server(bank.sandbox, reply if isinstance(reply, bytes) else recorded) as port:
        stop, summary, _ = replace(bank, address=f"localhost:{port}").run()

    assert (StopReason.UNPROVEN, {"UNANSWERED": 3}) == (stop and stop.reason, summary.answers)
    assert not bank.receipts.read_bytes()


@contextmanager
def untrusted_server(sandbox: Sandbox, reply: bytes) -> Iterator[int]:
    """A server with the judiciary's own certificate that answers every call with *reply*."""
    server = grpc.server(ThreadPoolExecutor(2))
    handler: Any = grpc.unary_unary_rpc_method_handler(lambda _request, _context: reply)
    service, _, method = CHEQUES.method.partition("/")
    server.add_registered_method_handlers(service, {method: handler})
    pair = ((sandbox.pki / "judiciary-server.key").read_bytes(), (sandbox.pki / "judiciary-server.crt").read_bytes())
    ca = (sandbox.pki / "ca.crt").read_bytes()
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair], ca, require_client_auth=True))
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def test_replies_of_other_calls(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply with a valid receipt of another call, which lacks the run's nonce, is not stored and ends the run."""
    bank.write_ids(many(1))
    monkeypatch.setattr(OwnCall, "metadata", (("x-nonce", "another-nonce-of-another-call"),))
    stop, summary, answered = bank.run()

    assert (StopReason.UNPROVEN, 0) == (stop and stop.reason, answered)
    assert {"UNANSWERED": 1} == summary.answers


def test_list_changed_during_run(bank: Bank) -> None:
    """If the list changes during a run, no answers are written."""
    bank.write_ids(many(5))
    with bank.open_check() as check:
        bank.write_ids(many(6))
        with pytest.raises(BulkCheckError, match="was changed"):
            check.write_out(None)

    assert not bank.out.exists()


def test_concurrent_runs(bank: Bank) -> None:
    """A second process can't open the files of a running bulk check."""
    bank.write_ids(many(5))
    with bank.open_check(), pytest.raises(JournalError, match="another process"):
        bank.open_check()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "header"),
        ("id\n1\n", "header"),
        ("tracking_id,tracking_id\n1,2\n", "header"),
        ('tracking_id\n"1\n', "line"),
    ],
)
def test_invalid_list(bank: Bank, text: str, message: str) -> None:
    """An invalid list is rejected before any call, and no file is created."""
    bank.write_list(text)
    with pytest.raises(LoadError, match=message):
        bank.open_check()

    assert [bank.source] == list(bank.folder.glob("*.csv*"))


def test_list_in_a_pipe(bank: Bank) -> None:
    """A list that can be read only once is refused, without waiting for its writer."""
    os.mkfifo(bank.source)
    with pytest.raises(UsageError, match="not a regular file"):
        bank.open_check()


def test_list_encoding(bank: Bank) -> None:
    """A list that is not UTF-8 is rejected."""
    bank.source.write_bytes("tracking_id,نام\n1,الف\n".encode("cp1256"))
    with pytest.raises(LoadError, match="UTF-8"):
        bank.open_check()


def test_caller_without_grant(bank: Bank) -> None:
    """A caller without a grant stops after one refusal."""
    bank.write_ids(many(50))
    stop, _, _ = replace(bank, caller="stranger").run()
    reasons = [reason_code(row["reason"]) for row in bank.answers()]

    assert stop is not None
    assert (StopReason.REFUSED, "NOT_GRANTED") == (stop.reason, reason_code(stop.message))
    assert 1 == reasons.count("NOT_GRANTED")


def test_unreachable_service(bank: Bank) -> None:
    """If the service is unreachable, the run stops within 5 s."""
    bank.write_ids(many(5))
    began = time.monotonic()
    stop, summary, _ = replace(bank, address="localhost:1").run(BulkOptions(idle_timeout=1))

    assert (StopReason.UNAVAILABLE, {"UNANSWERED": 5}) == (stop and stop.reason, summary.answers)
    assert time.monotonic() - began < 5


def test_deadline(bank: Bank) -> None:
    """A run past its deadline sends nothing; one before its deadline completes."""
    bank.write_ids(many(5))
    passed = bank.run(BulkOptions(deadline=time.monotonic() - 1))
    kept = bank.run(BulkOptions(deadline=time.monotonic() + 60))

    assert passed[0] is not None
    assert (StopReason.DEADLINE, 0, None, 5) == (passed[0].reason, passed[2], kept[0], kept[2])


Limited = Callable[..., Bank]


@pytest.fixture
def limited(loaded: Sandbox, start: Start, tmp_path: Path) -> Limited:
    """Return a bank that calls a service of its own with the given quota."""

    def opened(**quota: Any) -> Bank:
        suite.write_access(loaded, [("cbi", CHECK_BY_TRACKING_ID, "R3.1.2")], **quota)
        return Bank(loaded, tmp_path, start(judiciary_opening(loaded)).address)

    return opened


def test_short_rate_limit(limited: Limited) -> None:
    """A short rate limit is waited out, and every row is answered."""
    bank = limited(rate=40, burst=10)
    bank.write_ids(many(60))
    stop, summary, _ = bank.run()

    assert (None, 0) == (stop, summary.answers["UNANSWERED"])


def test_long_rate_limit(limited: Limited) -> None:
    """A long rate limit stops the run, and the next run continues without repeated calls."""
    bank = limited(rate=0.02, burst=7)
    bank.write_ids(many(9))
    stop, summary, calls = bank.run(BulkOptions(window=3))
    reasons = {reason_code(row["reason"]) for row in bank.answers() if row["answer"] == "UNANSWERED"}
    again = bank.run()

    assert stop is not None
    assert (StopReason.RATE_LIMITED, "QUOTA_EXHAUSTED", 7, 2) == (
        stop.reason,
        reason_code(stop.message),
        calls,
        summary.answers["UNANSWERED"],
    )
    assert {"QUOTA_EXHAUSTED"} <= reasons <= {"QUOTA_EXHAUSTED", "UNASKED"}
    assert 0 == again[2]


def test_stale_data(loaded: Sandbox, start: Start, tmp_path: Path) -> None:
    """With stale data a YES is an answer, a NO is refused."""
    limit = timedelta(seconds=1)
    time.sleep(limit.total_seconds())
    service = start(judiciary_opening(loaded, max_staleness=limit))
    bank = Bank(loaded, tmp_path, service.address)
    bank.write_ids([WITH_CASE, WITHOUT_CASE])
    stop, _, _ = bank.run(BulkOptions(window=1))

    assert StopReason.UNAVAILABLE == (stop and stop.reason)
    assert [("YES", ""), ("UNANSWERED", "DATA_STALE")] == [
        (row["answer"], reason_code(row["reason"])) for row in bank.answers()
    ]
