"""Open a data file: recognize its format, compression and encoding; refuse what can't be read, with what to do."""

import codecs
import gzip
import os
import re
import stat
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from estelam.core.files import open_regular
from estelam.loading.errors import LoadError

PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
SAVE_AS_CSV = "save the sheet as CSV in UTF-8"
_FOREIGN_FORMATS: Mapping[bytes, str] = {
    b"PK\x03\x04": f"is a ZIP archive or an Excel workbook; unpack it, or {SAVE_AS_CSV}",
    b"\xd0\xcf\x11\xe0": f"is an Excel workbook (xls); {SAVE_AS_CSV}",
    b"BZh": "is compressed with bzip2; decompress it with: bunzip2",
    b"\xfd7zXZ": "is compressed with xz; decompress it with: unxz",
    b"\x28\xb5\x2f\xfd": "is compressed with Zstandard; decompress it with: unzstd",
    b"PARE": "is encrypted Parquet; write it without encryption",
    b"ARROW1": "is an Arrow file; write it as Parquet or CSV",
    b"ORC": "is an ORC file; write it as Parquet or CSV",
    b"Obj\x01": "is an Avro file; write it as Parquet or CSV",
    b"SQLite format 3\x00": "is an SQLite database; export the table as CSV",
    b"%PDF-": "is a PDF document; export the data as CSV",
}
"""The first bytes of formats that are not read."""
_BYTE_ORDER_MARKS: Mapping[bytes, str] = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_NAMES = 16
"""Bytes at the start of a file that belong to the names of its columns."""
_MAGIC = max(map(len, _FOREIGN_FORMATS))
_KINDS: Mapping[int, str] = {
    stat.S_IFDIR: "is a directory",
    stat.S_IFIFO: "is a pipe; a file is read twice, so write the data to a regular file first",
    stat.S_IFSOCK: "is a socket; write the data to a regular file first",
    stat.S_IFCHR: "is a device; write the data to a regular file first",
    stat.S_IFBLK: "is a device; write the data to a regular file first",
}
# Of text in Windows-1256, most bytes that are not ASCII are letters in a row; of UTF-8, half are continuation bytes.
_ARABIC_SCRIPT_LETTERS = re.compile(rb"[\x81\x8d\x8e\x90\x98\xc0-\xff]{2,}")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_LINE_END = re.compile(rb"\r\n|\r|\n")


_SEPARATOR_HINT = re.compile(r'\s*"?sep=[,;\t|]?"?\s*', re.IGNORECASE)


def is_before_header(line: str) -> bool:
    """Return whether *line* may precede the header: a blank one, or `sep=;`, by which Excel knows the separator."""
    return not line.strip() or _SEPARATOR_HINT.fullmatch(line) is not None


@dataclass(frozen=True, slots=True)
class Source:
    """An open data file."""

    path: Path
    file: BinaryIO
    """Its content, decompressed."""
    is_parquet: bool
    _raw: BinaryIO

    @property
    def is_compressed(self) -> bool:
        """Whether the file is stored in gzip."""
        return self.file is not self._raw

    @property
    def position(self) -> int:
        """The number of bytes read of the file as it is stored, which progress is counted in."""
        return os.lseek(self._raw.fileno(), 0, os.SEEK_CUR)


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open the CSV or Parquet file at *path*, decompressing it if it is a CSV file in gzip.

    Raises:
        LoadError: the file is of another kind or format, or its compressed data is damaged.
        OSError: the file can't be read.
    """
    # Before opening it: opening a pipe without a writer would wait.
    if reason := _KINDS.get(stat.S_IFMT(path.stat().st_mode)):
        raise LoadError(f"{path}: {reason}")
    with cast("BinaryIO", open_regular(path)) as raw:
        compressed = raw.read(len(_GZIP)) == _GZIP
        raw.seek(0)
        file = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if compressed else raw
        try:
            yield Source(path, file, _is_parquet(path, file, compressed=compressed), raw)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise LoadError(f"{path}: the gzip data is cut off or damaged; copy the file again") from None


def _is_parquet(path: Path, file: BinaryIO, *, compressed: bool) -> bool:
    start = file.read(_MAGIC)
    file.seek(0)
    for magic, reason in _FOREIGN_FORMATS.items():
        if start.startswith(magic):
            raise LoadError(f"{path}: {reason}")
    if compressed and start.startswith((PARQUET, _GZIP)):
        raise LoadError(f"{path}: holds Parquet or gzip inside gzip; decompress it with: gunzip")
    return start.startswith(PARQUET)


def check_encoding(path: Path, start: bytes) -> None:
    """Check the *start* of a text file, with the names of its columns, for an encoding other than UTF-8.

    Raises:
        LoadError: the file is in UTF-16 or UTF-32; the message says how to convert it.
    """
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if start.startswith(mark)), None)
    for first, name in ((0, "UTF-16BE"), (1, "UTF-16LE")):
        if set(start[first:_NAMES:2]) == {0}:  # The names of the columns are ASCII.
            encoding = name
    if encoding:
        raise LoadError(f"{path}: is in {encoding}, not UTF-8; {_conversion(path, encoding)}")


def check_windows_1256(path: Path, rows: bytes, line: int, columns: Sequence[str], separator: str) -> None:
    """Check the first *rows* of a text file, which begin with the given *line*, for the encoding Windows-1256.

    Single rows that are not UTF-8 are left to the reader, which rejects them.

    Raises:
        LoadError: no row is UTF-8, apart from ASCII, and all read like Windows-1256.
    """
    foreign = []
    for number, row in enumerate(_LINE_END.split(rows), line):
        if row.isascii():
            continue
        if _is_utf8(row):
            return
        foreign.append((number, row))
    letters = sum(len(run) for _, row in foreign for run in _ARABIC_SCRIPT_LETTERS.findall(row))
    if not foreign or letters <= sum(len(_NOT_ASCII.findall(row)) for _, row in foreign) * 2 / 3:
        return
    number, row = foreign[0]
    fields = zip(columns, row.split(separator.encode()), strict=False)
    column = next((f", column {name}" for name, field in fields if not _is_utf8(field)), "")
    conversion = _conversion(path, "WINDOWS-1256")
    raise LoadError(f"{path}: line {number}{column}: reads like Windows-1256, not UTF-8; {conversion}")


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _conversion(path: Path, encoding: str) -> str:
    if path.suffix == ".gz":
        return f"convert it with: gunzip -c {path.name} | iconv -f {encoding} -t UTF-8 > utf-8-{path.stem}"
    return f"convert it with: iconv -f {encoding} -t UTF-8 {path.name} > utf-8-{path.name}"
