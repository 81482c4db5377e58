"""Reading takes bounded memory and time whatever the file, and deletes and overwrites nothing but its own files."""

import gzip
import os
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from estelam.cli.bulk.table import read_rows
from estelam.core.cells import WRONG_NUMBER_OF_FIELDS
from estelam.core.exceptions import UsageError
from estelam.loading import reader
from estelam.loading.csv_reader import BATCH, VALUE_WITHOUT_COLUMN
from estelam.loading.errors import LoadError
from estelam.loading.formats import TOO_LONG, text
from estelam.loading.lines import LINE
from estelam.loading.manifest import read_manifest
from estelam.loading.memory import limited_memory
from estelam.loading.rejects import Reject, RejectFile
from promissory.bulk import NOTES

COLUMNS = {"a": text(), "b": text()}
REJECTS_HEADER = "row,line,column,reason,message,message_fa\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a,b\n" + b"x" * (3 * LINE), "line 2: is longer than 1048576 characters"),
        (b'a,b\n"' + b"\n" * (3 * LINE), "line 2: a quoted field"),
        (b'a,b\n"' + b'\n","' * LINE, "line 2: is longer than 1048576 characters"),
        (b"a," * LINE + b"b\nx,y\n", "line 1: is longer than 16,384 characters"),
        (b"a," * LINE, "line 1: is longer than 16,384 characters"),
    ],
    ids=["line", "field of many lines", "row of many lines", "header", "header without an end"],
)
def test_long_csv(tmp_path: Path, content: bytes, words: str) -> None:
    """A line, a row of many lines and a header are not read beyond a limit."""
    path = tmp_path / "rows.csv"
    path.write_bytes(content)

    with pytest.raises(LoadError, match=words):
        list(reader.batches(path, COLUMNS))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('"a"' + "," * 1_000_000, WRONG_NUMBER_OF_FIELDS),
        ('"a"' + ",\U0001f600" * 500_000, WRONG_NUMBER_OF_FIELDS),
        ('"a"' + "," * 7_999 + "b", VALUE_WITHOUT_COLUMN),
        ('"a",' + "\U0001f600" * 3_900 + "," * 7_998, TOO_LONG),
    ],
    ids=["many fields", "many values", "value without a column", "long values"],
)
def test_batches_of_large_rows(tmp_path: Path, row: str, reason: str) -> None:
    """A batch holds a bounded number of characters, however many rows would be small in gzip; each row is rejected."""
    path, count = tmp_path / "rows.csv.gz", 4 * LINE // len(row)
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as file:
        file.write("a,b" + "," * 7_998 + "\n")
        file.writelines(f"{row}\n" for _ in range(count))
    batches = list(reader.batches(path, COLUMNS))

    assert [reason] * count == [reject.reason for batch in batches for reject in batch.rejects]
    assert max(len(batch.lines or ()) for batch in batches) * len(row) <= BATCH + len(row)


def test_fields_of_malformed_rows(tmp_path: Path) -> None:
    """The fields of a row that has more of them than the header are not kept, nor those of the row before it."""
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n" + ('"a"' + ",\U0001f600" * 250_000 + "\n") * 6, "utf-8")
    tracemalloc.start()
    try:
        rejects = [reject.reason for batch in reader.batches(path, COLUMNS) for reject in batch.rejects]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert [WRONG_NUMBER_OF_FIELDS] * 6 == rejects
    # A row takes 22 MB.
    assert peak < 40 << 20


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"x" * (3 * LINE), "line 1: is longer than 16,384 characters"),
        (b"serial," * 3000 + b"\n", "line 1: is longer than 16,384 characters"),
        (",".join(NOTES.fields).encode() + b"\n" + b"x" * (3 * LINE), "line 2: is longer than 1048576 characters"),
        (",".join(NOTES.fields).encode() + b"\n" + b"\xff" + b"x" * (3 * LINE), "line 2: is not UTF-8"),
    ],
    ids=["line", "header", "row", "encoding"],
)
def test_long_list(tmp_path: Path, content: bytes, words: str) -> None:
    """The list of a bulk check is bounded alike."""
    path = tmp_path / "list.csv"
    path.write_bytes(content)

    with pytest.raises(LoadError, match=words):
        list(read_rows(path, NOTES, datetime(2026, 11, 30, tzinfo=UTC)))


def test_small_file_of_much_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Parquet file of some kilobytes that holds gigabytes is refused, and the limit is lifted afterwards."""
    path = tmp_path / "rows.parquet"
    # A long value to which every row refers.
    rows = pa.DictionaryArray.from_arrays(pa.array([0] * 50_000, pa.int32()), pa.array(["x" * 30_000]))
    pq.write_table(pa.table({"a": rows, "b": rows}), path, compression="zstd", store_schema=False)
    monkeypatch.setattr(reader, "limited_memory", partial(limited_memory, 64 << 20))
    with pytest.raises(LoadError, match="more than 512 MiB of memory"):
        list(reader.batches(path, COLUMNS))

    assert path.stat().st_size < 10_000
    assert bytearray(256 << 20)


def test_pipe_as_manifest(tmp_path: Path) -> None:
    """A pipe in the place of a manifest is refused: opening it would wait for ever."""
    os.mkfifo(tmp_path / "rows.csv.manifest.json")

    with pytest.raises(LoadError, match="is not a regular file"):
        read_manifest(tmp_path / "rows.csv.manifest.json", {})


def hard_link(path: Path, data: Path) -> None:
    path.hardlink_to(data)


def symbolic_link(path: Path, data: Path) -> None:
    path.symlink_to(data)


def pipe(path: Path, _data: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [hard_link, symbolic_link, pipe])
def test_rejects_never_replace_the_data(tmp_path: Path, make: object) -> None:
    """The file of rejected rows does not replace the data under any name, nor a pipe."""
    assert callable(make)
    data, path = tmp_path / "data.csv", tmp_path / "rejects.csv"
    data.write_text(REJECTS_HEADER, "utf-8")
    make(path, data)
    with pytest.raises(
        UsageError, match=r"rejects.csv: is (the file that is loaded|a symbolic link|not a regular file)"
    ):
        RejectFile(path, data).__enter__()

    assert data.read_text("utf-8") == REJECTS_HEADER
    assert os.path.lexists(path)


REJECT = Reject(1, "a", "TOO_LONG", 2)


def write_rejects(path: Path) -> str:
    with RejectFile(path, path.with_name("data.csv")) as rejects:
        rejects.add([REJECT])
    return path.read_bytes().decode()


def test_rejects_replace_those_of_an_earlier_load(tmp_path: Path) -> None:
    """Rejected rows of an earlier load are replaced by those of this one, or deleted if it has none."""
    path = tmp_path / "rejects.csv"
    assert write_rejects(path) == write_rejects(path)
    with RejectFile(path, tmp_path / "data.csv"):
        assert path.exists()

    assert [] == list(tmp_path.iterdir())


def test_failed_load_keeps_earlier_rejects(tmp_path: Path) -> None:
    """A load that fails leaves the rejected rows of an earlier load as they are, and none of its own."""
    path = tmp_path / "rejects.csv"
    earlier = write_rejects(path)
    rejects = RejectFile(path, tmp_path / "data.csv").__enter__()
    rejects.add([REJECT, REJECT])
    rejects.__exit__(LoadError, LoadError("cut off"), None)

    assert [path] == list(tmp_path.iterdir())
    assert earlier == path.read_bytes().decode()


@pytest.mark.parametrize(
    "annotate",
    [
        lambda text: text.replace("message_fa", "message_fa   and my notes"),
        lambda text: f"{text}called the court, they correct it\r\n",
        lambda text: text.replace("TOO_LONG", "TOO_LONG (asked)"),
        lambda text: text.replace("\r\n", ",my note\r\n"),
        lambda text: text.replace("1,2,", "first,2,"),
        lambda text: f"{text}\r\n",
        lambda text: f'{text}"',
        lambda _text: "",
    ],
)
def test_annotated_rejects_are_kept(tmp_path: Path, annotate: Callable[[str], str]) -> None:
    """A list of rejected rows that somebody has changed is neither replaced nor deleted."""
    path = tmp_path / "rejects.csv"
    annotated = annotate(write_rejects(path))
    path.write_text(annotated, "utf-8", newline="")
    with pytest.raises(UsageError, match="is not a file of rejected rows"):
        write_rejects(path)

    assert annotated == path.read_bytes().decode()


def test_rejects_follow_no_link(tmp_path: Path) -> None:
    """A symbolic link is neither followed nor deleted, also one to nothing."""
    path = tmp_path / "rejects.csv"
    path.symlink_to(tmp_path / "absent")
    with pytest.raises(UsageError, match="is a symbolic link"):
        write_rejects(path)

    assert path.is_symlink()


def test_rejects_do_not_replace_a_file_made_meanwhile(tmp_path: Path) -> None:
    """A file that appears at the path during a load is not overwritten."""
    path = tmp_path / "rejects.csv"
    rejects = RejectFile(path, tmp_path / "data").__enter__()
    rejects.add([REJECT])
    path.write_text("mine", "utf-8")
    with pytest.raises(UsageError, match="is not a file of rejected rows"):
        rejects.__exit__(None, None, None)

    assert "mine" == path.read_text("utf-8")
    assert [path] == list(tmp_path.iterdir())
