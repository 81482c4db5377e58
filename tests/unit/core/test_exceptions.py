"""What a log says of an error."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg.errors
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from estelam.core.exceptions import DISK_FULL, problem
from estelam.core.pem import KeyFileError


def fill_device() -> None:
    with Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"1")


def fill_sqlite() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("PRAGMA max_page_count = 1")
        connection.execute("CREATE TABLE t (content)")


def fill_sqlalchemy() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        connection.execute(text("PRAGMA max_page_count = 1"))
        connection.execute(text("CREATE TABLE t (content)"))


def fill_postgresql() -> None:
    raise OperationalError("INSERT", {"national_id": "9990000042"}, psycopg.errors.DiskFull("could not extend file"))


@pytest.mark.parametrize("fill", [fill_device, fill_sqlite, fill_sqlalchemy, fill_postgresql])
def test_full_disk_is_named(fill: Callable[[], None]) -> None:
    """A full disk is named in the same words, whichever library found it."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each has its own type
        fill()

    assert DISK_FULL == problem(caught.value)


def test_only_known_texts_are_logged() -> None:
    """The text of our own errors is logged; of others, which may quote what they are about, the code at most."""
    foreign = OperationalError("SELECT", {"national_id": "9990000042"}, psycopg.errors.LockNotAvailable("9990000042"))

    assert "receipts.key: retired" == problem(KeyFileError("receipts.key: retired"))
    assert "55P03" == problem(foreign)
    assert "unknown" == problem(ValueError("9990000042"))
