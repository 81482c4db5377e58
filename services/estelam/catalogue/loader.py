"""Read a catalogue folder: strict YAML, every issue reported with its file, line and location."""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from estelam.auth.grants import AccessConfigError
from estelam.catalogue.model import FILES, Catalogue
from estelam.catalogue.validate import violations
from estelam.core.exceptions import named_error
from estelam.core.model_files import fault_message

MAX_FILE_BYTES = 1 << 20
Location = tuple[Hashable, ...]
"""Keys and list indexes from the top of a file to a value."""

# The scalar types of YAML 1.1 without timestamps: dates stay text, so that an impossible date is a validation error
# with a location, like any other.
_SCALAR_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float")}
_CONSTRUCTOR = yaml.constructor.SafeConstructor()


@dataclass(frozen=True, slots=True)
class ConfigIssue:
    """One issue of the catalogue and where it is."""

    file: str
    line: int
    """From 1."""
    location: str
    """Dotted keys and list indexes from the top of the file; empty for an issue of the whole file."""
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.location}{': ' if self.location else ''}{self.message}"


class CatalogueError(AccessConfigError):
    """The catalogue is unusable; `issues` lists every issue found."""

    def __init__(self, folder: Path, issues: Sequence[ConfigIssue]) -> None:
        super().__init__("\n".join(f"{folder}/{issue}" for issue in issues))
        self.issues = tuple(issues)


@dataclass(frozen=True, slots=True)
class CatalogueState:
    """A catalogue with the bytes that it was parsed from."""

    catalogue: Catalogue
    contents: Mapping[str, bytes]
    """The content of each file, by its name."""

    @property
    def digest(self) -> str:
        """SHA-256 of the files, hexadecimal; in the folder: `LC_ALL=C sha256sum *.yaml | sha256sum`."""
        lines = (f"{hashlib.sha256(raw).hexdigest()}  {file}\n" for file, raw in sorted(self.contents.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_catalogue(folder: Path) -> Catalogue:
    """Read and validate the catalogue in *folder*.

    Raises:
        CatalogueError: a file can't be read, a record does not match the schema, or records contradict each other.
    """
    return read_state(folder).catalogue


def read_state(folder: Path) -> CatalogueState:
    """Read each file of the catalogue in *folder* once; validate what was read.

    Raises:
        CatalogueError: as `read_catalogue`.
    """
    found = {file: _read(folder / file) for file in FILES.values()}
    catalogue = _parse(folder, found)
    return CatalogueState(catalogue, {file: raw for file, raw in found.items() if isinstance(raw, bytes)})


def parse_catalogue(folder: Path, contents: Mapping[str, bytes]) -> Catalogue:
    """Return the catalogue that the files of *folder* would hold with *contents*, by file name.

    Raises:
        CatalogueError: a record does not match the schema, or records contradict each other.
    """
    return _parse(folder, contents)


def _parse(folder: Path, contents: "Mapping[str, bytes | _UnreadableError]") -> Catalogue:
    files = {name: _YamlFile(folder / file, contents[file]) for name, file in FILES.items()}
    for name, file in files.items():
        file.require_only(name)
    issues = [issue for file in files.values() for issue in file.issues]
    if not issues:
        with named_error(AccessConfigError, f"{folder}: a value in it is out of range"):
            try:
                catalogue = Catalogue.model_validate({name: file.content[name] for name, file in files.items()})
            except ValidationError as error:
                issues = [_issue(files, found["loc"], fault_message(found)) for found in error.errors()]
            else:
                issues = [_issue(files, found.location, found.message) for found in violations(catalogue)]
    if issues:
        raise CatalogueError(folder, issues)
    return catalogue


def catalogue_files(folder: Path) -> list[Path]:
    """Return the files of the catalogue in *folder*."""
    return [folder / file for file in FILES.values()]


def _issue(files: Mapping[str, "_YamlFile"], location: Location, message: str) -> ConfigIssue:
    file = files[str(location[0])]
    return ConfigIssue(file.path.name, file.line(location), ".".join(map(str, location)), message)


@dataclass
class _YamlFile:
    """One parsed file: its plain values, and the line of each."""

    path: Path
    raw: "bytes | _UnreadableError"
    content: dict[str, Any] = field(default_factory=dict)
    issues: list[ConfigIssue] = field(default_factory=list)
    _lines: dict[Location, int] = field(default_factory=dict)
    _visited: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        try:
            content = self._plain(self._root(), ())
        except _UnreadableError as error:
            self.issues.append(ConfigIssue(self.path.name, error.line, "", str(error)))
            return
        except Exception:  # noqa: BLE001 - whatever the content makes the parser raise, as at deep nesting
            self.issues.append(ConfigIssue(self.path.name, 1, "", "is not YAML"))
            return
        if isinstance(content, dict):
            self.content = content
        else:
            self.issues.append(ConfigIssue(self.path.name, 1, "", "must be a mapping"))

    def require_only(self, name: str) -> None:
        """Add an issue unless the file has the key *name* and no other."""
        if not self.issues and set(self.content) != {name}:
            self.issues.append(ConfigIssue(self.path.name, 1, "", f"must have the key {name} and no other"))

    def line(self, location: Location) -> int:
        """Return the line of *location* or, for a missing value, of the closest record that should contain it."""
        prefixes = (location[:end] for end in range(len(location), 0, -1))
        return next((self._lines[prefix] for prefix in prefixes if prefix in self._lines), 1)

    def _root(self) -> yaml.Node:
        if isinstance(self.raw, _UnreadableError):
            raise self.raw
        if len(self.raw) > MAX_FILE_BYTES:
            raise _UnreadableError("is larger than 1 MiB")
        try:
            node = yaml.compose(self.raw.decode("utf-8-sig"), Loader=yaml.CSafeLoader)
        except UnicodeDecodeError:
            raise _UnreadableError("is not UTF-8") from None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise _UnreadableError(f"is not YAML: {error.problem}", line) from None
        if node is None:
            raise _UnreadableError("is empty")
        return node

    def _plain(self, node: yaml.Node, location: Location) -> Any:
        line = node.start_mark.line + 1
        self._lines[location] = line
        if id(node) in self._visited:
            raise _UnreadableError("YAML aliases are not allowed: repeat the value", line)
        self._visited.add(id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, (*location, index)) for index, item in enumerate(node.value)]
        return _scalar(node, line)

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.value in content:
                raise _UnreadableError("a key must be plain text and unique in its mapping", line)
            content[key.value] = self._plain(value, (*location, key.value))
        return content


class _UnreadableError(Exception):
    """A file can't be parsed at all; the message completes the sentence "the file ...", `line` counts from 1."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.line = line


def _read(path: Path) -> bytes | _UnreadableError:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        return _UnreadableError(f"can't be read: {(error.strerror or 'input failed').lower()}")


def _scalar(node: yaml.Node, line: int) -> Any:
    if node.tag not in _SCALAR_TAGS:
        return node.value
    try:
        return _CONSTRUCTOR.construct_object(node)
    except ValueError:
        raise _UnreadableError("a number is invalid", line) from None
