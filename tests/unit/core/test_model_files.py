"""TOML files loaded into models."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from estelam.core.exceptions import UserFacingError
from estelam.core.model_files import load_model


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    count: int


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inner: list[Inner]


class BadFileError(UserFacingError):
    pass


def test_model_is_loaded(tmp_path: Path) -> None:
    """A TOML file becomes a model; a byte order mark is skipped."""
    path = tmp_path / "file.toml"
    for mark in ("", "\ufeff"):
        path.write_text(f"{mark}[[inner]]\ncount = 1\n", "utf-8")
        assert load_model(path, Outer, BadFileError).inner[0].count == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "can't be read: No such file or directory"),
        (b"inner = 1", "inner: Input should be a valid list"),
        (b"[[inner]]\ncount = 'x'\nother = 1", "inner.0.count: .*; inner.0.other: "),
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
