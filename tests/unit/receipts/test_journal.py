"""The journal of receipts."""

import os
from pathlib import Path

import pytest

from estelam.receipts.journal import ReceiptJournal


def test_new_journal_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a journal is open, its name and that of the file with its input's digest are on the disk."""
    synced: list[tuple[str, set[str]]] = []

    def fsync(descriptor: int) -> None:
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((target.name, {path.name for path in tmp_path.iterdir()}))

    monkeypatch.setattr(os, "fsync", fsync)
    journal = ReceiptJournal(tmp_path / "receipts", input_digest="digest")
    opened = list(synced)
    journal.close()

    assert (tmp_path.name, {"receipts", "receipts.of"}) == opened[-1]
    assert "receipts.of" in {name for name, _ in opened}
    assert "receipts" == synced[-1][0]
