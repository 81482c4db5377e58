"""Reading of CSV and Parquet: every path gives the result of Python's own strict CSV reader, or an exact refusal."""

import csv
import io
import os
from dataclasses import replace
from decimal import Decimal
from functools import partial
from gzip import compress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from estelam.loading import csv_reader, reader
from estelam.loading.errors import LoadError
from estelam.loading.formats import past_date, text, whole_number
from estelam.loading.rejects import Reject
from promissory.feeds import MEMBERS

COLUMNS = {"a": whole_number(), "b": text(), "c": past_date().or_absent()}
HEADER = b"a,b\n"
KINDS = (MEMBERS, replace(MEMBERS, name="pairs", columns=COLUMNS))

zipped = partial(compress, mtime=0)

Rows = list[tuple[int, tuple[str, ...]]]


def read(path: Path) -> tuple[Rows, list[Reject]] | str:
    """Return rows, without the absent column, and rejects of the file, or the error message without its path."""
    rows: Rows = []
    rejects: list[Reject] = []
    try:
        for batch in reader.batches(path, COLUMNS, {"note"}):
            texts = (batch.columns[name].to_pylist() for name in ("a", "b"))
            rows += zip(batch.numbers.to_pylist(), zip(*texts, strict=True), strict=True)
            rejects += batch.rejects
    except LoadError as error:
        return str(error).partition(": ")[2]
    return rows, rejects


def read_content(path: Path, content: bytes) -> tuple[Rows, list[Reject]] | str:
    path.write_bytes(content)
    return read(path)


def by_python(content: bytes) -> tuple[Rows, list[Reject]] | str:
    """Return the same as `read`, computed with the standard library; only the line of an error message."""
    lines = io.StringIO(content.decode("utf-8", "surrogateescape"), newline="").readlines()
    reader = csv.reader(lines, strict=True)
    rows: Rows = []
    rejects: list[Reject] = []
    next(reader)
    number, line = 0, 2
    try:
        for fields in reader:
            filled = bool("".join(fields).strip())
            if (filled or len(fields) > 1) and not lines[reader.line_num - 1].endswith(("\n", "\r")):
                return f"line {line}"
            if filled:
                number += 1
                wrong = [name for name, cell in zip(COLUMNS, fields, strict=False) if cell != clean(cell)]
                if len(fields) != 2:
                    rejects.append(Reject(number, "", "WRONG_NUMBER_OF_FIELDS", line))
                elif wrong:
                    rejects.append(Reject(number, wrong[0], "NOT_UTF8", line))
                else:
                    rows.append((number, tuple(fields)))
            line = reader.line_num + 1
    except csv.Error:
        return f"line {line}"
    return rows, rejects


def clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


PIECES = [
    "x",
    "ب",
    ",",
    "\n",
    " , \n",
    "\u00a0,\n",
    '"',
    '""',
    "\r\n",
    "\r",
    " ",
    "\x00",
    "\udc93",
    "1,2\n",
    "3,4\r\n",
    '"5,5","6"\n',
    ",\n",
]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(PIECES), max_size=40),
    st.sampled_from([7, 40, 1 << 20]),
    st.sampled_from(["", "gzip", "CR"]),
)
@example(pieces=["x", '""', "3,4\r\n", "x"], block=7, form="")
def test_csv_matches_standard_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: list[str], block: int, form: str
) -> None:
    """Any CSV content, also in gzip, gives rows, rejects and lines of the standard library's strict reader."""
    monkeypatch.setattr(csv_reader, "BLOCK", block)
    monkeypatch.setattr(csv_reader, "ROWS", 3)
    content = HEADER + "".join(pieces).encode("utf-8", "surrogateescape")
    if form == "CR":
        content = content.replace(b"\n", b"\r")
    path = tmp_path / "rows.csv"

    found = read_content(path, zipped(content) if form == "gzip" else content)

    expected = by_python(content)
    if isinstance(found, str) and "is longer than" in found and block < len(content):
        return
    assert (found.partition(":")[0] if isinstance(found, str) else found) == expected


@pytest.mark.parametrize("blank", ["", ",", " , ", ",,,", "\u00a0,", '"",""', "\t"])
@pytest.mark.parametrize("quoted", ["3", '"3"'])
def test_rows_of_empty_cells_are_blank(tmp_path: Path, blank: str, quoted: str) -> None:
    """Whatever row has no value, as spreadsheets leave below a table, is no row, wherever it stands."""
    content = f"a,b\n{blank}\n1,x\n{blank}\n{quoted},y\n{blank}\n{blank}\n".encode()

    assert read_content(tmp_path / "rows.csv", content) == ([(1, ("1", "x")), (2, ("3", "y"))], [])


@pytest.mark.parametrize(
    "header",
    [
        b"a,b\n",
        b"a,b\r\n",
        b'"a","b"\n',
        b"\xef\xbb\xbfa,b\n",
        b"a,b",
        b"A, B \n",
        b"\n \na,b\n",
        "\u200fa,b\u200c\n".encode(),
    ],
)
def test_equivalent_headers(tmp_path: Path, header: bytes) -> None:
    """A header may have quotes, CRLF, a byte order mark, capitals, blanks, invisible characters, or no line end."""
    rows = b"1,2\n" if header.endswith(b"\n") else b""

    assert read_content(tmp_path / "rows.csv", header + rows) == ([(1, ("1", "2"))] if rows else [], [])


@pytest.mark.parametrize(
    "content",
    [
        b"b,a\n2,1\n",
        b"b;a\n2;1\n",
        b"a\tb\n1\t2\n",
        b"a|b\r\n1|2\r\n",
        b"a,b,,\n1,2,,\n",
        b"note,a,Note,b\nx,1,y,2\n",
        b"a,b\n\n1,2\n \n\n",
        b"a,b\r1,2\r\r",
        b"a,b,c\n1,2,\n",
        zipped(b"a,b\n1,2\n"),
        zipped(b"a,b\n") + zipped(b"1,2\n"),
    ],
)
def test_equivalent_files(tmp_path: Path, content: bytes) -> None:
    """A file may have another order, separator or line end, gzip, blank lines, trailing separators, ignored columns."""
    assert read_content(tmp_path / "rows.csv", content) == ([(1, ("1", "2"))], [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; the first line must name the columns"),
        (b"\n \n", "is empty; the first line must name the columns"),
        (b"a,bb\n", "line 1: the header lacks b; it has the unknown column bb; did you mean b?"),
        (b"a\n", "line 1: the header lacks b"),
        (b"a,b,d\n", "line 1: the header has the unknown column d"),
        (
            b"\na,a,x\n",
            "line 2: the header lacks b; it has the unknown column x; it has twice a",
        ),
        (b"a,,b\n", "line 1: the header has the unknown column number 2"),
        (b"9990000018,x\n", "line 1: is not a header with the names of the columns, which are: a,b,c"),
        (b'"a,b\n', "line 1: the header has a quote that is not closed"),
        (b"\xa1\xa2\n", "line 1: the header is not UTF-8"),
        ("a,b\n1,آرش\n".encode("utf-16"), "is in UTF-16, not UTF-8; convert it with: iconv -f UTF-16 -t UTF-8"),
        ("a,b,note,note\n".encode("utf-16-le"), "is in UTF-16LE, not UTF-8; convert it with: iconv -f UTF-16LE"),
        ("a,b\n".encode("utf-32"), "is in UTF-32, not UTF-8"),
        (
            "a,b\n1,x\n2,آرش نمونه اي\n".encode("cp1256"),
            "line 3, column b: reads like Windows-1256, not UTF-8; convert it with",
        ),
        (b"a,b\n1,2\n3,", "line 3: the file ends within this row"),
        (b"a,b\n1,2\n3,4", "line 3: the file ends within this row"),
        (b'a,b\n"1\n",2\n"3,4\n5,6\n', "line 4: a quoted field that begins in this row is not closed"),
        (b'a,b\n1,"2"x\n', "line 2: a quoted field that begins in this row is not closed, or has a quote within it"),
        (b"PK\x03\x04\x14\x00", "is a ZIP archive or an Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "is an Excel workbook (xls)"),
        (b"BZh91AY", "is compressed with bzip2"),
        (zipped(b"PAR1"), "holds Parquet or gzip inside gzip"),
        (zipped(b"a,b\n1,2\n" * 9)[:-9], "the gzip data is cut off or damaged"),
        (zipped(b"a,b\n1,2\n")[:-8] + b"\x00" * 8, "the gzip data is cut off or damaged"),
    ],
)
def test_refused_files(tmp_path: Path, content: bytes, message: str) -> None:
    """A file that can't be read rightly is refused with its exact fault and line, and what to do."""
    found = read_content(tmp_path / "rows.csv", content)

    assert isinstance(found, str)
    assert found.startswith(message)


@pytest.mark.parametrize("kind", ["pipe", "directory"])
def test_other_kinds_of_file(tmp_path: Path, kind: str) -> None:
    """A pipe is refused without waiting for a writer, and a directory too."""
    path = tmp_path / "rows.csv"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()

    assert f"is a {kind}" in str(read(path))


def test_row_in_windows_1256(tmp_path: Path) -> None:
    """In a file whose other rows are UTF-8, a row that is not is rejected by itself, with its line."""
    rows = "1,آرش\n2,".encode() + "آرش".encode("cp1256") + b"\n"

    assert read_content(tmp_path / "rows.csv", HEADER + rows) == ([(1, ("1", "آرش"))], [Reject(2, "b", "NOT_UTF8", 3)])


def test_trailing_separators(tmp_path: Path) -> None:
    """A value in a column without a name is rejected, and so is a row with another number of fields than the header."""
    content = b"a,b,\n1,2,\n3,4,5\n6,7\n"

    assert read_content(tmp_path / "rows.csv", content) == (
        [(1, ("1", "2"))],
        [Reject(2, "", "VALUE_WITHOUT_COLUMN", 3), Reject(3, "", "WRONG_NUMBER_OF_FIELDS", 4)],
    )


def test_field_length(tmp_path: Path) -> None:
    """A field of more than 1,000 characters is rejected."""
    path = tmp_path / "rows.csv"
    long = "ب" * 1001
    path.write_text(f"a,b\n1,2\n3,{long}\n{long[1:]},4\n", "utf-8")

    assert read(path) == ([(1, ("1", "2")), (3, (long[1:], "4"))], [Reject(2, "b", "TOO_LONG", 3)])
    path.write_bytes(path.read_bytes() + b'5,"6"\n')
    assert read(path) == (
        [(1, ("1", "2")), (3, (long[1:], "4")), (4, ("5", "6"))],
        [Reject(2, "b", "TOO_LONG", 3)],
    )
    path.write_text(f'a,b\n"1",{long * 4}\n', "utf-8")
    assert "line 2: " in str(read(path))
    assert "a field is longer than 1000 characters" in str(read(path))


def test_line_length(tmp_path: Path) -> None:
    """A line without an end is not read into memory beyond a limit."""
    content = HEADER + b"1," + b"2" * (3 * csv_reader.BLOCK)

    assert str(read_content(tmp_path / "rows.csv", content)).startswith("line 2: is longer than")


@pytest.mark.parametrize("block", [8, 1 << 20])
def test_lines_of_later_rejects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Rows that are rejected after reading get the line of an editor, past blank lines and fields of several lines."""
    monkeypatch.setattr(csv_reader, "BLOCK", block)
    monkeypatch.setattr(csv_reader, "ROWS", 2)
    path = tmp_path / "rows.csv"
    path.write_bytes(b'a,b\n1,1\n2,2\n\n3,"3\n\n"\n4\n5,5\n6,6\n')

    found = reader.add_lines(
        [Reject(2, "a", "x"), Reject(3, "a", "x"), Reject(6, "a", "x")], reader.batches(path, COLUMNS)
    )

    assert [reject.line for reject in found] == [3, 5, 10]


@pytest.mark.parametrize(
    "columns",
    [
        {"a": pa.array(["1", None]), "b": pa.array(["ب", ""])},
        {"B": pa.array(["ب", None], pa.large_string()), "a": pa.array([1, None], pa.int64())},
        {"a": pa.array(["1", ""], pa.string_view()), "b": pa.array(["ب", None]).dictionary_encode()},
        {"a": pa.array([Decimal("1.00"), None]), "b": pa.array([b"\xd8\xa8", None], pa.large_binary())},
        {"a": pa.array(["1", None]), "b": pa.array(["ب", None]), "note": pa.array([[1], None])},
    ],
    ids=["text", "another order", "other types", "decimal and binary", "ignored column"],
)
def test_parquet_types_and_order(tmp_path: Path, columns: dict[str, pa.Array]) -> None:
    """Parquet columns may have any order and any type whose text form is certain."""
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table(columns), path)

    assert read(path) == ([(1, ("1", "ب")), (2, ("", ""))], [])


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([0, 1, None], pa.date32()), ["1970-01-01", "1970-01-02", ""]),
        (pa.array([0, 86400_000_000_000, 1], pa.timestamp("ns")), ["1970-01-01", "1970-01-02", None]),
        (pa.nulls(3), ["", "", ""]),
    ],
)
def test_parquet_dates(tmp_path: Path, values: pa.Array, texts: list[str | None]) -> None:
    """Dates, midnights and nulls become ISO text; a time of day stays, so that its row is rejected."""
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": ["1", "2", "3"], "b": ["x", "y", "z"], "c": values}), path)

    (batch,) = reader.batches(path, COLUMNS)

    found = batch.columns["c"].to_pylist()
    assert [cell for cell, expected in zip(found, texts, strict=True) if expected is not None] == [
        expected for expected in texts if expected is not None
    ]
    assert [len(cell) > 10 for cell in found] == [expected is None for expected in texts]


def test_parquet_values(tmp_path: Path) -> None:
    """A fraction stays, and a value that is not UTF-8 is rejected with its row."""
    path = tmp_path / "rows.parquet"
    binary = pa.array([b"1", b"\xc3\x28", b"3"], pa.binary())
    pq.write_table(pa.table({"b": binary, "a": pa.array([Decimal("1.50"), Decimal(2), Decimal(30)])}), path)

    assert read(path) == ([(1, ("1.50", "1")), (3, ("30", "3"))], [Reject(2, "b", "NOT_UTF8")])


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("a", pa.array([1.0])),
        ("a", pa.array([True])),
        ("b", pa.array([14])),
        ("b", pa.array([{"x": 1}])),
        ("c", pa.array([0], pa.timestamp("us", "UTC"))),
        ("c", pa.array([0], pa.int32())),
    ],
)
def test_parquet_types_refused(tmp_path: Path, name: str, values: pa.Array) -> None:
    """A type without a certain text form is refused: a number for an identifier has lost its leading zeros."""
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": ["1"], "b": ["x"], "c": ["2025-01-01"]} | {name: values}), path)

    assert read(path) == f"column {name} has the Parquet type {values.type}; write it as text (string)"


@pytest.mark.parametrize("content", [b"PAR1", b"PAR1" + b"\x00" * 100 + b"PAR1"])
def test_invalid_parquet(tmp_path: Path, content: bytes) -> None:
    """A file that only begins like Parquet is an error."""
    assert read_content(tmp_path / "rows.parquet", content) == "is not a valid Parquet file"


def test_parquet_columns(tmp_path: Path) -> None:
    """A Parquet file with other columns is an error that names them."""
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": ["1"], "d": ["2"]}), path)

    assert read(path) == "the header lacks b; it has the unknown column d"


def test_empty_parquet(tmp_path: Path) -> None:
    """A Parquet file without rows has no rows."""
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": pa.array([], pa.string()), "b": pa.array([], pa.string())}), path)

    assert read(path) == ([], [])


@pytest.mark.parametrize(
    ("content", "rows"),
    [(b"a,b\n", 0), (b'A;b\r\n"1\n;";2\r\n\r\n', 1), (zipped(b"b,a,c\n1,2,\n"), 1)],
    ids=["header only", "quoted line end", "gzip"],
)
def test_rows_are_counted(tmp_path: Path, content: bytes, rows: int) -> None:
    """Rows are counted as a load reads them, whichever kind of file it is."""
    path = tmp_path / "rows.csv"
    path.write_bytes(content)

    assert reader.count_rows(path, KINDS) == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (
            b"1,2\n",
            "the first line is not a header with the names of the columns; they are, of members: agency_id,name",
        ),
        (b"a\n", "line 1: the header lacks b"),
        (b"a,b\n1,2\n3,4", "line 3: the file ends within this row"),
        (b'a,b\n"1,2\n', "line 2: a quoted field that begins in this row is not closed"),
        (b"a,b\n1\n", "row 1, line 2: the row has more or fewer fields"),
        ("a,b\n1,تهران خوب\n".encode("cp1256"), "line 2, column b: reads like Windows-1256"),
        ("a,b\n".encode("utf-16"), "is in UTF-16"),
    ],
)
def test_a_file_that_no_load_reads_is_not_counted(tmp_path: Path, content: bytes, message: str) -> None:
    """A file that a load would refuse for its form gets no number of rows, and so no manifest."""
    path = tmp_path / "rows.csv"
    path.write_bytes(content)

    with pytest.raises(LoadError, match=message):
        reader.count_rows(path, KINDS)
