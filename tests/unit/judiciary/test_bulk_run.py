"""A sweep of a bank's list: every row accounted for, nothing asked in vain, and no doubt that looks like an answer."""

import asyncio
import csv
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from estelam.client.bulk import Stop, StopReason
from estelam.client.channel import ClientIdentity
from estelam.core.keys import verifying_keys
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from estelam.receipts.archive import decode
from estelam.receipts.journal import JournalError
from estelam.receipts.receipt import Verifier
from judiciary.bulk.rows import COLUMNS, InputError
from judiciary.bulk.run import METHOD, BulkCheck, BulkCheckError, BulkOptions, Summary
from tests.conftest import Start, judiciary_opening
from tests.support.service import RunningService
from tools.env import sandbox as suite
from tools.env.sandbox import CHECK_BY_TRACKING_ID, Sandbox

WITH_CASE, WITHOUT_CASE = "140000000000000001", "140000000000000002"
AT_ONCE = BulkOptions()
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Bank:
    """A bank's folder: its list, and where it asks."""

    sandbox: Sandbox
    folder: Path
    address: str
    caller: str = "cbi"
    trusted: str = "judiciary-receipts"

    @property
    def source(self) -> Path:
        return self.folder / "certificates.csv"

    @property
    def out(self) -> Path:
        return self.folder / "answers.csv"

    @property
    def receipts(self) -> Path:
        return self.folder / "answers.csv.receipts.jsonl"

    def lists(self, text: str) -> None:
        self.source.write_text(text, "utf-8")

    def lists_ids(self, ids: Sequence[str]) -> None:
        self.lists("\n".join(("tracking_id", *ids, "")))

    def begin(self) -> BulkCheck:
        verifier = Verifier(verifying_keys([self.sandbox.pki / f"{self.trusted}.crt"]))
        return BulkCheck(self.source, self.out, verifier)

    def sweep(
        self, manner: BulkOptions = AT_ONCE, *, stop_after: int | None = None
    ) -> tuple[Stop | None, Summary, int]:
        """One run: why it ended early, what was written out, and how many replies it got itself."""
        with self.begin() as begun:
            begun.resume(lambda _done: None)
            before = begun.answered
            identity = ClientIdentity.named(self.sandbox.pki, self.caller)
            if stop_after is not None:
                take = begun._take

                def take_some(key: str, wire: bytes) -> Stop | None:
                    return take(key, wire) or (
                        Stop(StopReason.INTERRUPTED, "enough") if begun.answered - before >= stop_after else None
                    )

                begun._take = take_some  # type: ignore[method-assign]
            stop = asyncio.run(begun.ask(self.address, identity, manner, lambda _done: None))
            return stop, begun.write_out(stop), begun.answered - before

    def answers(self) -> list[Row]:
        with self.out.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def bank(shared: Sandbox, judiciary: RunningService, tmp_path: Path) -> Bank:
    """A bank that asks the shared service."""
    return Bank(shared, tmp_path, judiciary.address)


def many(count: int) -> list[str]:
    """Tracking ids without a case, and every tenth time the one that has one."""
    return [WITH_CASE if number % 10 == 9 else f"7{number:017d}" for number in range(count)]


def words(answer: str) -> str:
    return answer.partition(":")[0]


def test_every_row_is_accounted_for_in_its_place_and_only_an_answer_looks_like_one(bank: Bank) -> None:
    bank.lists(
        "name,tracking_id,certificate_issued_on\n"
        f"someone,{WITH_CASE},2024-03-01\n"
        f"someone,۱۴۰۰۰۰۰۰۰۰۰۰۰۰۰۰۰۲,۱۴۰۲/۱۲/۱۱\n"
        f"someone,12x,2024-03-01\n"
        f"someone,,2024-03-01\n"
        f"someone,{WITHOUT_CASE},2024-03-01,more\n"
        f'someone,"{WITH_CASE} ",\n'
    )
    stop, tally, asked = bank.sweep()
    rows = bank.answers()

    assert (None, 2) == (stop, asked)
    assert list(COLUMNS) == list(rows[0])
    assert ["1", "2", "3", "4", "5", "6"] == [row["row"] for row in rows]
    assert ["YES", "NO", "UNANSWERED", "UNANSWERED", "UNANSWERED", "YES"] == [row["answer"] for row in rows]
    assert ["", "", "FIELD_INVALID", "FIELD_INVALID", "ROW_MALFORMED", ""] == [words(row["reason"]) for row in rows]
    assert {"YES": 2, "NO": 1, "UNANSWERED": 3} == tally.answers
    assert "someone" not in bank.out.read_text("utf-8")
    assert "12x" not in bank.out.read_text("utf-8")


def test_a_no_is_conclusive_only_for_a_certificate_issued_within_coverage(bank: Bank) -> None:
    dates = ("2021-03-21", "2021-03-20", "1400/01/01", "1399-12-30", "", "1402-13-01")
    bank.lists("certificate_issued_on,tracking_id\n" + "".join(f"{day},{WITHOUT_CASE}\n" for day in dates))
    bank.sweep()
    rows = bank.answers()

    assert {"NO"} == {row["answer"] for row in rows}
    assert {"2021-03-21"} == {row["covered_since"] for row in rows}
    assert [
        "CONCLUSIVE",
        "CERTIFICATE_BEFORE_COVERAGE",
        "CONCLUSIVE",
        "CERTIFICATE_BEFORE_COVERAGE",
        "CERTIFICATE_DATE_UNKNOWN",
        "CERTIFICATE_DATE_UNKNOWN",
    ] == [row["standing"] for row in rows]
    assert all(datetime.fromisoformat(row["data_as_of"]) <= datetime.fromisoformat(row["answered_at"]) for row in rows)


def test_a_sweep_that_was_stopped_goes_on_where_it_stopped_and_asks_nothing_twice(bank: Bank) -> None:
    ids = many(150)
    bank.lists_ids(ids)
    stop, tally, first = bank.sweep(BulkOptions(window=8), stop_after=40)
    half = bank.answers()
    again, whole, second = bank.sweep()
    third = bank.sweep()[2]
    rows = bank.answers()

    assert (StopReason.INTERRUPTED, None) == (stop and stop.reason, again)
    assert 0 < tally.answers["UNANSWERED"] == sum(row["answer"] == "UNANSWERED" for row in half)
    assert {"UNASKED"} == {words(row["reason"]) for row in half if row["answer"] == "UNANSWERED"}
    assert len(set(ids)) == first + second
    assert (0, 0) == (third, whole.answers["UNANSWERED"])
    assert ids == [row["tracking_id"] for row in rows]
    assert ["YES" if found == WITH_CASE else "NO" for found in ids] == [row["answer"] for row in rows]


@pytest.mark.parametrize("lost", [1, 700])
def test_a_line_that_was_cut_short_is_no_answer_and_is_asked_again(bank: Bank, lost: int) -> None:
    bank.lists_ids(many(9))
    bank.sweep()
    whole = bank.receipts.read_bytes()
    bank.receipts.write_bytes(whole[:-lost])
    _, tally, asked = bank.sweep()

    assert (1, {"NO": 9}) == (asked, tally.answers)
    assert len(whole.splitlines()) == len(bank.receipts.read_bytes().splitlines())


def test_a_journal_with_a_changed_byte_is_refused_and_left_alone(bank: Bank) -> None:
    bank.lists_ids(many(9))
    bank.sweep()
    whole = bank.receipts.read_bytes()
    for place in range(len(whole) // 2, len(whole) // 2 + 900, 90):
        broken = bytearray(whole)
        broken[place] ^= 1
        bank.receipts.write_bytes(broken)
        with pytest.raises((JournalError, BulkCheckError)):
            bank.sweep()

        assert bytes(broken) == bank.receipts.read_bytes()


def test_files_of_another_list_are_refused_and_left_alone(bank: Bank) -> None:
    bank.lists_ids(many(5))
    bank.sweep()
    before = bank.out.read_bytes(), bank.receipts.read_bytes()
    bank.lists_ids(many(6))
    with pytest.raises(JournalError, match="belongs to another input"):
        bank.sweep()

    assert before == (bank.out.read_bytes(), bank.receipts.read_bytes())


def test_a_file_that_is_no_sweeps_is_not_written_over(bank: Bank) -> None:
    bank.lists_ids(many(5))
    bank.out.write_text("precious")
    with pytest.raises(BulkCheckError, match="no sweep's"):
        bank.sweep()

    assert bank.out.read_text() == "precious"


def test_receipts_of_a_service_that_is_not_trusted_are_no_answers(bank: Bank) -> None:
    bank.lists_ids(many(20))
    stop, tally, asked = replace(bank, trusted="promissory-receipts").sweep()

    assert (StopReason.UNPROVEN, 0) == (stop and stop.reason, asked)
    assert {"UNANSWERED": 20} == tally.answers
    assert not bank.receipts.read_bytes()


NO_ALONE = pb.CheckByTrackingIdResponse(answer=ANSWER_NO)


@pytest.mark.parametrize(
    "reply",
    [b"", b"\xff", NO_ALONE.SerializeToString(), "another's"],
    ids=["nothing", "no message", "a no without a receipt", "the answer to another question"],
)
def test_what_says_no_or_nothing_without_proof_is_no_answer(bank: Bank, reply: bytes | str) -> None:
    bank.lists_ids([WITHOUT_CASE])
    bank.sweep()
    proven = decode(bank.receipts.read_bytes()).reply.SerializeToString()
    for left in bank.folder.iterdir():
        left.unlink()
    bank.lists_ids(many(3))
    with liar(bank.sandbox, reply if isinstance(reply, bytes) else proven) as port:
        stop, tally, _ = replace(bank, address=f"localhost:{port}").sweep()

    assert (StopReason.UNPROVEN, {"UNANSWERED": 3}) == (stop and stop.reason, tally.answers)
    assert not bank.receipts.read_bytes()


@contextmanager
def liar(sandbox: Sandbox, reply: bytes) -> Iterator[int]:
    """A server with the judiciary's own certificate that says *reply* to everything."""
    server = grpc.server(ThreadPoolExecutor(2))
    behaviour: Any = grpc.unary_unary_rpc_method_handler(lambda _request, _context: reply)
    service, _, method = METHOD.partition("/")
    server.add_registered_method_handlers(service, {method: behaviour})
    pair = ((sandbox.pki / "judiciary-server.key").read_bytes(), (sandbox.pki / "judiciary-server.crt").read_bytes())
    trust = (sandbox.pki / "ca.crt").read_bytes()
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair], trust, require_client_auth=True))
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def test_a_list_that_changes_during_the_sweep_leaves_the_last_answers_as_they_were(bank: Bank) -> None:
    bank.lists_ids(many(5))
    with bank.begin() as begun:
        bank.lists_ids(many(6))
        with pytest.raises(BulkCheckError, match="was changed"):
            begun.write_out(None)

    assert not bank.out.exists()


def test_two_sweeps_at_once_do_not_share_files(bank: Bank) -> None:
    bank.lists_ids(many(5))
    with bank.begin(), pytest.raises(JournalError, match="another process"):
        bank.begin()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "header"),
        ("id\n1\n", "header"),
        ("tracking_id,tracking_id\n1,2\n", "header"),
        ('tracking_id\n"1\n', "line"),
    ],
)
def test_what_is_no_list_is_refused_before_anything_is_asked(bank: Bank, text: str, fault: str) -> None:
    bank.lists(text)
    with pytest.raises(InputError, match=fault):
        bank.begin()

    assert [bank.source] == list(bank.folder.glob("*.csv*"))


def test_a_list_in_another_encoding_is_refused(bank: Bank) -> None:
    bank.source.write_bytes("tracking_id,نام\n1,الف\n".encode("cp1256"))
    with pytest.raises(InputError, match="UTF-8"):
        bank.begin()


def test_a_caller_without_a_grant_asks_once_and_no_more(bank: Bank) -> None:
    bank.lists_ids(many(50))
    stop, _, _ = replace(bank, caller="stranger").sweep()
    reasons = [words(row["reason"]) for row in bank.answers()]

    assert stop is not None
    assert (StopReason.REFUSED, "NOT_GRANTED") == (stop.reason, words(stop.message))
    assert 1 == reasons.count("NOT_GRANTED")


def test_where_nobody_answers_the_sweep_soon_says_so(bank: Bank) -> None:
    bank.lists_ids(many(5))
    began = time.monotonic()
    stop, tally, _ = replace(bank, address="localhost:1").sweep(BulkOptions(idle_timeout=1))

    assert (StopReason.UNAVAILABLE, {"UNANSWERED": 5}) == (stop and stop.reason, tally.answers)
    assert time.monotonic() - began < 5


def test_a_deadline_that_has_passed_asks_nothing_and_one_to_come_ends_the_asking(bank: Bank) -> None:
    bank.lists_ids(many(5))
    passed = bank.sweep(BulkOptions(deadline=time.monotonic() - 1))
    kept = bank.sweep(BulkOptions(deadline=time.monotonic() + 60))

    assert passed[0] is not None
    assert (StopReason.DEADLINE, 0, None, 5) == (passed[0].reason, passed[2], kept[0], kept[2])


Limited = Callable[..., Bank]


@pytest.fixture
def limited(loaded: Sandbox, start: Start, tmp_path: Path) -> Limited:
    """A bank whose own service grants it so much."""

    def opened(**quota: Any) -> Bank:
        suite.write_access(loaded, [("cbi", CHECK_BY_TRACKING_ID, "R3.1.2")], **quota)
        return Bank(loaded, tmp_path, start(judiciary_opening(loaded)).address)

    return opened


def test_a_short_wait_for_the_quota_is_waited_and_every_row_answered(limited: Limited) -> None:
    bank = limited(rate=40, burst=10)
    bank.lists_ids(many(60))
    stop, tally, _ = bank.sweep()

    assert (None, 0) == (stop, tally.answers["UNANSWERED"])


def test_a_long_wait_for_the_quota_ends_the_sweep_and_the_next_one_goes_on(limited: Limited) -> None:
    bank = limited(rate=0.02, burst=7)
    bank.lists_ids(many(9))
    stop, tally, asked = bank.sweep(BulkOptions(window=3))
    reasons = {words(row["reason"]) for row in bank.answers() if row["answer"] == "UNANSWERED"}
    again = bank.sweep()

    assert stop is not None
    assert (StopReason.RATE_LIMITED, "QUOTA_EXHAUSTED", 7, 2) == (
        stop.reason,
        words(stop.message),
        asked,
        tally.answers["UNANSWERED"],
    )
    assert {"QUOTA_EXHAUSTED"} <= reasons <= {"QUOTA_EXHAUSTED", "UNASKED"}
    assert 0 == again[2]


def test_stale_data_gives_yes_but_never_a_no(loaded: Sandbox, start: Start, tmp_path: Path) -> None:
    service = start(judiciary_opening(loaded, max_staleness=timedelta(0)))
    bank = Bank(loaded, tmp_path, service.address)
    bank.lists_ids([WITH_CASE, WITHOUT_CASE])
    stop, _, _ = bank.sweep(BulkOptions(window=1))

    assert StopReason.UNAVAILABLE == (stop and stop.reason)
    assert [("YES", ""), ("UNANSWERED", "DATA_STALE")] == [
        (row["answer"], words(row["reason"])) for row in bank.answers()
    ]
