"""Lists of notes on the officer's page."""

import asyncio
import csv
import gzip
from collections.abc import Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from estelam.client.bulk import CallFailed
from estelam.core.errors import Reason, Refusal
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.setad.v1 import note_verification_pb2 as pb
from sataad_adapter.web.batch import MAX_ROWS, Batch, Batches, ListError, TooManyBatches, read_list
from sataad_adapter.web.results import Owner

NOW = datetime(2026, 12, 1, tzinfo=UTC)
HEADER = "serial,obligor_id,beneficiary_id,amount_rials\n"
ROW = "{:016},9990000018,99000554330,2500000\n"


def rows(count: int, more: str = "") -> bytes:
    return (HEADER + "".join(ROW.format(number) for number in range(1, count + 1)) + more).encode()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a,b\n1,2\n", "line 1: the header must name"),
        (HEADER.encode(), "no row"),
        (b"", "line 1"),
        (rows(MAX_ROWS + 1), "more than 500 rows"),
        (gzip.compress(rows(1), mtime=0), "compressed"),
        (b"PK\x03\x04" + bytes(9), "Excel"),
    ],
)
def test_list_that_is_not_asked(content: bytes, problem: str) -> None:
    """A file of another form, without a row or with too many, is refused as a whole."""
    with pytest.raises(ListError, match=problem) as caught:
        read_list(content, NOW)
    assert "/" not in str(caught.value).partition(":")[0]


def test_only_an_answer_is_an_answer() -> None:
    """A row is NO only by a reply of VerifyNote; refused, invalid and unasked rows are UNANSWERED with the reason."""
    asked: list[Mapping[str, str]] = []
    refusals = {"3": Reason.NOTE_NOT_CONFIRMED, "5": Reason.NOT_GRANTED}

    async def call(fields: Mapping[str, str]) -> pb.VerifyNoteResponse:
        asked.append(fields)
        if reason := refusals.get(serial := fields["serial"].lstrip("0")):
            raise CallFailed.refused(Refusal(reason))
        reply = pb.VerifyNoteResponse(answer=ANSWER_YES if serial == "1" else ANSWER_NO)
        if serial == "1":
            reply.obligor.full_name = "=HYPERLINK()"
        return reply

    content = rows(2, ROW.format(1) + "12,x,y,z\n" + "".join(map(ROW.format, range(3, 90))))
    batch = Batch(read_list(content, NOW), "SETAD-0001", "=1+1", call)
    asyncio.run(batch.run())
    output = list(csv.DictReader(batch.answers_csv().removeprefix("\ufeff").splitlines()))

    assert ["YES", "NO", "YES", "UNANSWERED", "UNANSWERED", "NO"] == [row["answer"] for row in output[:6]]
    assert "NOTE_NOT_CONFIRMED" in output[4]["reason"]
    assert "UNANSWERED" == output[6]["answer"]
    assert "UNASKED: NOT_GRANTED" in output[-1]["reason"]
    assert ("'=HYPERLINK()", "'=1+1") == (output[0]["obligor_full_name"], output[0]["case_reference"])
    assert {"2500000"} == {fields["amount_rials"] for fields in asked}
    assert len(asked) == len({fields["serial"] for fields in asked})
    assert len(output) == sum(batch.counts.values()) == 91


def test_list_that_takes_too_long() -> None:
    """A list ends when its time has passed; the rows that are left have no answer."""

    async def call(_fields: Mapping[str, str]) -> pb.VerifyNoteResponse:
        await asyncio.sleep(0.01)
        return pb.VerifyNoteResponse(answer=ANSWER_NO)

    batch = Batch(read_list(rows(MAX_ROWS), NOW), "A", "", call, seconds=0.05)
    asyncio.run(batch.run())

    assert batch.counts["NO"] + batch.counts["UNANSWERED"] == MAX_ROWS
    assert batch.counts["UNANSWERED"]
    assert "have passed" in list(batch.output())[-1]["reason"]


def test_one_list_of_a_browser() -> None:
    """A browser has one list at a time, all browsers four, and the end of the process ends them."""

    async def call(*_: object) -> Any:
        await asyncio.Event().wait()

    async def start() -> list[Batch]:
        batches = Batches(cast("Any", SimpleNamespace(call=call)))
        found = read_list(rows(1), NOW)
        started = [batches.start(Owner(name, ""), found, "A", "") for name in "abcd"]
        for name in "ae":
            with pytest.raises(TooManyBatches):
                batches.start(Owner(name, ""), found, "A", "")
        await asyncio.sleep(0)
        await batches.close()
        return started

    assert [Batch, 0] * 4 == [each for batch in asyncio.run(start()) for each in (type(batch), batch.counts["NO"])]
