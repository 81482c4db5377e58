"""TOML files loaded into models."""

import shutil
from datetime import date
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from conformance import fixtures
from conformance.target import Target
from development.sandbox import Sandbox
from estelam.catalogue.loader import read_catalogue
from estelam.core.date_fields import Day
from estelam.core.exceptions import UserFacingError
from estelam.core.keys import RetirementList
from estelam.core.model_files import load_model
from estelam.core.pem import KeyFileError
from tools.env.repository import ROOT


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    count: int


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inner: list[Inner]


class Dated(BaseModel):
    day: Day


class BadFileError(UserFacingError):
    pass


def test_model_is_loaded(tmp_path: Path) -> None:
    """A TOML file becomes a model; a byte order mark is skipped."""
    path = tmp_path / "file.toml"
    for mark in ("", "\ufeff"):
        path.write_text(f"{mark}[[inner]]\ncount = 1\n", "utf-8")
        assert load_model(path, Outer, BadFileError).inner[0].count == 1


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2027-03-21", date(2027, 3, 21)),
        ("1406-01-01", date(2027, 3, 21)),
        ("'1406-02-31'", date(2027, 5, 21)),
        ("'۱۴۰۶/۱/۱'", date(2027, 3, 21)),
    ],
)
def test_day(tmp_path: Path, written: str, day: date) -> None:
    """A day is Gregorian or Jalali by its year, as TOML's own date or as text."""
    path = tmp_path / "file.toml"
    path.write_text(f"day = {written}\n", "utf-8")

    assert day == load_model(path, Dated, BadFileError).day


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("'99-01-01'", "day: has a year that is not of four digits"),
        ("99-01-01", "not TOML: .*; write a date with a year of four digits, between quotes"),
        ("1404/01/01", "not TOML: .*; write a date with a year of four digits, between quotes"),
        ("0099-01-01", "day: has a year that is neither"),
        ("1700-01-01", "day: has a year that is neither"),
        ("1404-12-30", "day: is a day that its calendar does not have"),
        ("1299-12-29", "day: is before 1300-01-01"),
        ("2100-01-01", "day: is after 2099-12-31"),
        ("2027-03-21T00:00:00Z", "day: is not a date"),
        ("20270321", "day: is not a date"),
        ("1406-02-31", "not TOML: .*; write a date with a year of four digits, between quotes"),
    ],
)
def test_invalid_day(tmp_path: Path, written: str, message: str) -> None:
    """Any other day is refused with the reason."""
    path = tmp_path / "file.toml"
    path.write_text(f"day = {written}\n", "utf-8")

    with pytest.raises(BadFileError, match=f"^{path}: {message}"):
        load_model(path, Dated, BadFileError)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "can't be read: No such file or directory"),
        (b"inner = 1", "inner: must be a list, as "),
        (
            b"[[inner]]\ncount = 'x'\nother = 1",
            "inner.0.count: must be a whole number, as 12; inner.0.other: unknown key",
        ),
        (b"inner = ?", "not TOML: .*line 1"),
        (b"inner = \xff", "not UTF-8"),
        (b"inner = " + b"[" * 50_000, "not TOML: nested too deeply"),
        (b"#" * 100_001, "larger than 100000 bytes"),
    ],
)
def test_error_names_path_key_and_message(tmp_path: Path, content: bytes | None, message: str) -> None:
    """Every fault is the given error, with the path, the key where there is one, and what is wrong."""
    path = tmp_path / "file.toml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(BadFileError, match=f"^{path}: {message}"):
        load_model(path, Outer, BadFileError, max_bytes=100_000)


def test_every_configuration_file_may_have_a_mark(sandbox: Sandbox, tmp_path: Path) -> None:
    """Settings in TOML, a catalogue in YAML and a manifest of fixtures in JSON are read with a byte order mark."""
    catalogue = shutil.copytree(ROOT / "catalogue", tmp_path / "catalogue")
    fixtures.write(tmp_path / "fixtures", hosts=())
    for path in (sandbox.config, *catalogue.glob("*.yaml"), tmp_path / "fixtures" / "manifest.json"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())

    assert sandbox.promissory().store.startswith("sqlite:///")
    assert read_catalogue(catalogue).parties
    assert Target({}, tmp_path / "fixtures" / "pki").manifest.origin


def test_error_of_the_whole_file(tmp_path: Path) -> None:
    """An error that is of no key of a file has no empty place."""
    path = tmp_path / "list.json"
    path.write_text("[]")
    with pytest.raises(KeyFileError) as refused:
        RetirementList.load(path)

    assert f"{path}: must be a table of keys" == str(refused.value)
