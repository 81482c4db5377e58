"""A journal whose end was damaged by a crash of the machine."""

import os
from pathlib import Path

import pytest

from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, Entry, Receipt
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from estelam.receipts.archive import MAX_LINE, ReceiptRecord, encode
from estelam.receipts.journal import JournalError, ReceiptJournal
from estelam.receipts.receipt import canonical

METHOD = "estelam.judiciary.v1.ChequeCaseInquiryService/CheckByTrackingId"


def saved(tracking_id: str, reply: pb.CheckByTrackingIdResponse) -> ReceiptRecord:
    """Return *reply* with a receipt that holds what an archive reads of it."""
    request = pb.CheckByTrackingIdRequest(tracking_id=tracking_id)
    receipt = Receipt(request=canonical(request), reply=canonical(reply), entry=canonical(Entry(method=METHOD)))
    reply.receipt.CopyFrom(receipt)
    return ReceiptRecord(METHOD, request, reply)


ITEMS = [saved(number, pb.CheckByTrackingIdResponse(answer=ANSWER_NO)) for number in ("1", "2", "3")]
LINES = [encode(item) for item in ITEMS]
WHOLE = b"".join(LINES)
NEXT = saved("4", pb.CheckByTrackingIdResponse())


def damaged(path: Path, content: bytes) -> Path:
    """Write a journal with *content* in the folder *path*."""
    path.mkdir()
    (path / "receipts.of").write_text("digest")
    (path / "receipts").write_bytes(content)
    return path / "receipts"


def replay(receipts: Path) -> tuple[list[ReceiptRecord], Path | None]:
    """Replay a journal, append a record, and return what was replayed and the file set aside."""
    with ReceiptJournal(receipts, input_digest="digest") as journal:
        found = list(journal.replay())
        journal.append(NEXT)
        return found, journal.set_aside


@pytest.mark.parametrize("zeros", [False, True], ids=["cut short", "zero-filled"])
def test_torn_at_every_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zeros: bool) -> None:  # noqa: FBT001
    """Whole lines are replayed; everything after them is kept in a file of its own, byte by byte."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    for cut in range(len(WHOLE)):
        content = WHOLE[:cut] + bytes(len(WHOLE) - cut) * zeros
        receipts = damaged(tmp_path / str(cut), content)
        whole = sum(cut >= len(b"".join(LINES[: number + 1])) for number in range(3))
        found, set_aside = replay(receipts)
        rest = content[len(b"".join(LINES[:whole])) :]

        assert ITEMS[:whole] == found
        assert b"".join(LINES[:whole]) + encode(NEXT) == receipts.read_bytes()
        assert (set_aside.read_bytes() if set_aside else b"") == rest


@pytest.mark.parametrize(
    "rest",
    [
        LINES[1][:40] + b"\0" + LINES[1][41:] + LINES[2],
        LINES[1][:40] + bytes(5000) + LINES[2],
        bytes(MAX_LINE + 1) + LINES[1] + LINES[2],
    ],
    ids=["one byte", "rest of the line", "more than a line"],
)
def test_zeros_before_whole_lines(tmp_path: Path, rest: bytes) -> None:
    """Zeros before a saved reply are not a crash's: the journal is refused and not changed."""
    receipts = damaged(tmp_path / "folder", LINES[0] + rest)
    with pytest.raises(JournalError, match=r"line 2: is damaged: .*saved replies follow it"):
        replay(receipts)

    assert (LINES[0] + rest, None) == (receipts.read_bytes(), next(receipts.parent.glob("*.torn-*"), None))


def test_second_crash(tmp_path: Path) -> None:
    """What an earlier run set aside is never overwritten."""
    receipts = damaged(tmp_path / "folder", LINES[0] + b"first")
    first = replay(receipts)[1]
    receipts.write_bytes(LINES[0] + b"second")
    second = replay(receipts)[1]

    assert ["receipts.torn-1", "receipts.torn-2"] == [path.name for path in (first, second) if path]
    assert [b"first", b"second"] == [path.read_bytes() for path in (first, second) if path]


def test_set_aside_before_truncation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If what is set aside can't be written, the journal is not changed."""
    receipts = damaged(tmp_path / "folder", WHOLE[:-1])
    monkeypatch.setattr("estelam.receipts.journal.shutil.copyfileobj", _full_disk)
    with pytest.raises(OSError, match="No space left"):
        replay(receipts)

    assert WHOLE[:-1] == receipts.read_bytes()


def _full_disk(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_changed_line(tmp_path: Path) -> None:
    """A complete line without zeros that was changed is no crash: the journal is refused and not changed."""
    content = WHOLE.replace(b'"receipt"', b'"Receipt"', 1)
    receipts = damaged(tmp_path / "folder", content)
    with pytest.raises(JournalError, match="line 1"):
        replay(receipts)

    assert (content, None) == (receipts.read_bytes(), next(receipts.parent.glob("*.torn-*"), None))


@pytest.mark.parametrize("bound", [b"", bytes(64)])
def test_binding_lost_in_crash(tmp_path: Path, bound: bytes) -> None:
    """A crash before the journal exists, which leaves its input's digest empty or zero-filled, prevents no run."""
    (tmp_path / "receipts.of").write_bytes(bound)
    with ReceiptJournal(tmp_path / "receipts", input_digest="digest"):
        pass

    assert b"digest" == (tmp_path / "receipts.of").read_bytes()
