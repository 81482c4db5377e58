"""Reading of CSV and Parquet: every path gives the result of Python's own strict CSV reader."""

import csv
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estelam.loading import reader
from estelam.loading.feed import LoadError
from estelam.loading.rejects import Reject

COLUMNS = ("a", "b")
HEADER = b"a,b\n"

Rows = list[tuple[int, tuple[str, ...]]]


def read(path: Path) -> tuple[Rows, list[Reject]] | str:
    """Return rows and rejects of the file, or the start of the error message."""
    rows: Rows = []
    rejects: list[Reject] = []
    try:
        for batch in reader.batches(path, COLUMNS):
            texts = (batch.columns[name].to_pylist() for name in COLUMNS)
            rows += zip(batch.numbers.to_pylist(), zip(*texts, strict=True), strict=True)
            rejects += batch.rejects
    except LoadError as error:
        return str(error).partition(": ")[2].partition(":")[0]
    return rows, rejects


def by_python(content: bytes) -> tuple[Rows, list[Reject]] | str:
    """Return the same as `read`, computed with the standard library."""
    reader = csv.reader(io.StringIO(content.decode("utf-8", "surrogateescape"), newline=""), strict=True)
    rows: Rows = []
    rejects: list[Reject] = []
    try:
        for number, fields in enumerate(reader):
            wrong = [name for name, text in zip(COLUMNS, fields, strict=False) if text != clean(text)]
            if len(fields) != len(COLUMNS):
                rejects.append(Reject(number, "", "WRONG_NUMBER_OF_FIELDS"))
            elif wrong:
                rejects.append(Reject(number, wrong[0], "NOT_UTF8"))
            else:
                rows.append((number, tuple(fields)))
    except csv.Error:
        return f"line {reader.line_num}"
    return rows[1:], rejects


def clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


PIECES = ["x", "ب", ",", "\n", '"', '""', "\r\n", "\r", " ", "\x00", "\udcc3", "1,2\n", "3,4\r\n", '"5,5","6"\n', ",\n"]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PIECES), max_size=40), st.sampled_from([1, 7, 40, 1 << 20]))
def test_csv_matches_standard_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: list[str], block: int
) -> None:
    """Any CSV content gives the rows and rejects of the standard library's strict reader."""
    monkeypatch.setattr(reader, "BLOCK", block)
    monkeypatch.setattr(reader, "ROWS", 3)
    content = HEADER + "".join(pieces).encode("utf-8", "surrogateescape")
    path = tmp_path / "rows.csv"
    path.write_bytes(content)

    assert read(path) == by_python(content)


@pytest.mark.parametrize("header", [b"a,b\n", b"a,b\r\n", b'"a","b"\n', b"\xef\xbb\xbfa,b\n", b"a,b"])
def test_equivalent_headers(tmp_path: Path, header: bytes) -> None:
    """A header may have quotes, CRLF, a byte order mark or no line end."""
    path = tmp_path / "rows.csv"
    path.write_bytes(header + (b"1,2\n" if header.endswith(b"\n") else b""))

    assert read(path) == ([(1, ("1", "2"))] if header.endswith(b"\n") else [], [])


@pytest.mark.parametrize(
    "header", [b"", b"b,a\n", b"a,b,c\n", b"a\n", b"a,b\r1,2\r3,4", b'"a,b\n', b"A,B\n", b"\xff\n"]
)
def test_wrong_header(tmp_path: Path, header: bytes) -> None:
    """Any other header is an error."""
    path = tmp_path / "rows.csv"
    path.write_bytes(header)

    assert read(path) == "the header must be exactly"


def test_field_length(tmp_path: Path) -> None:
    """A field of more than 1,000 characters is rejected."""
    path = tmp_path / "rows.csv"
    long = "ب" * 1001
    path.write_text(f"a,b\n1,2\n3,{long}\n{long[1:]},4\n", "utf-8")

    assert read(path) == ([(1, ("1", "2")), (3, (long[1:], "4"))], [Reject(2, "b", "TOO_LONG")])
    path.write_bytes(path.read_bytes() + b'5,"6"\n')
    assert read(path) == (
        [(1, ("1", "2")), (3, (long[1:], "4")), (4, ("5", "6"))],
        [Reject(2, "b", "TOO_LONG")],
    )
    path.write_text(f'a,b\n"1",{long * 4}\n', "utf-8")
    assert read(path) == "line 2"


@pytest.mark.parametrize(
    "columns",
    [
        {"a": pa.array(["1", None]), "b": pa.array(["ب", ""])},
        {"b": pa.array(["ب", None], pa.large_string()), "a": pa.array([1, None], pa.int64())},
        {"a": pa.array(["1", ""], pa.string_view()), "b": pa.array(["ب", None]).dictionary_encode()},
    ],
    ids=["text", "another order", "other types"],
)
def test_parquet_types_and_order(tmp_path: Path, columns: dict[str, pa.Array]) -> None:
    """Parquet columns may have any order and any type with a text form."""
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table(columns), path)

    assert read(path) == ([(1, ("1", "ب")), (2, ("", ""))], [])


def test_parquet_values(tmp_path: Path) -> None:
    """Dates become ISO text, and a value that is not UTF-8 is rejected with its row."""
    path = tmp_path / "rows.parquet"
    binary = pa.array([b"1", b"\xc3\x28", b"3"], pa.binary())
    pq.write_table(pa.table({"a": binary, "b": pa.array([0, 1, 2], pa.date32())}), path)

    assert read(path) == ([(1, ("1", "1970-01-01")), (3, ("3", "1970-01-03"))], [Reject(2, "a", "NOT_UTF8")])


@pytest.mark.parametrize("content", [b"PAR1", b"PAR1" + b"\x00" * 100 + b"PAR1"])
def test_invalid_parquet(tmp_path: Path, content: bytes) -> None:
    """A file that only begins like Parquet is an error."""
    path = tmp_path / "rows.parquet"
    path.write_bytes(content)

    assert read(path) == "is not a valid Parquet file"


def test_parquet_columns(tmp_path: Path) -> None:
    """A Parquet file with other columns is an error."""
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": ["1"], "c": ["2"]}), path)

    assert read(path) == "the header must be exactly"
