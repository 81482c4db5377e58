"""Reading the catalogue's folder: strict YAML, so that each fault is told with its file, its line and its place."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from estelam.auth.grants import AccessConfigError
from estelam.catalogue.model import FILES, Catalogue
from estelam.catalogue.validate import violations

LARGEST_FILE = 1 << 20
Location = tuple[Hashable, ...]

# The types of YAML 1.1, but dates stay as typed: an impossible one is a fault with a place, like any other.
_SCALARS = {f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float")}


@dataclass(frozen=True, slots=True)
class ConfigIssue:
    """What is wrong with the catalogue, and where."""

    file: str
    line: int
    location: str
    """Keys and numbers from the file's top to what is wrong, dotted; empty for a whole file."""
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.location}{': ' if self.location else ''}{self.message}"


class CatalogueError(AccessConfigError):
    """The catalogue can't be used; all its faults are known."""

    def __init__(self, folder: Path, faults: Sequence[ConfigIssue]) -> None:
        super().__init__("\n".join(f"{folder}/{fault}" for fault in faults))
        self.issues = tuple(faults)


def read_catalogue(folder: Path) -> Catalogue:
    """The catalogue in *folder*.

    Raises:
        CatalogueError: a file can't be read, a record breaks the schema, or the records don't fit together.
    """
    pages = {name: _YamlFile(folder / file) for name, file in FILES.items()}
    for name, page in pages.items():
        page.require_only(name)
    faults = [fault for page in pages.values() for fault in page.faults]
    if not faults:
        try:
            catalogue = Catalogue.model_validate({name: page.content[name] for name, page in pages.items()})
        except ValidationError as error:
            faults = [_fault(pages, found["loc"], _said(found["msg"])) for found in error.errors()]
        else:
            faults = [_fault(pages, flaw.location, flaw.message) for flaw in violations(catalogue)]
    if faults:
        raise CatalogueError(folder, faults)
    return catalogue


def catalogue_files(folder: Path) -> list[Path]:
    """Return the files of the catalogue in *folder*."""
    return [folder / file for file in FILES.values()]


def _fault(pages: Mapping[str, "_YamlFile"], place: Location, words: str) -> ConfigIssue:
    page = pages[str(place[0])]
    return ConfigIssue(page.path.name, page.line(place), ".".join(map(str, place)), words)


def _said(message: str) -> str:
    """Pydantic's words, without its own prefixes."""
    return message.removeprefix("Value error, ").removeprefix("Input ")


@dataclass
class _YamlFile:
    """One file: its plain values, and the line that each stands on."""

    path: Path
    content: dict[str, Any] = field(default_factory=dict)
    faults: list[ConfigIssue] = field(default_factory=list)
    _lines: dict[Location, int] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        try:
            content = self._plain(self._root(), ())
        except _Unreadable as error:
            self.faults.append(ConfigIssue(self.path.name, error.line, "", str(error)))
            return
        if isinstance(content, dict):
            self.content = content
        else:
            self.faults.append(ConfigIssue(self.path.name, 1, "", "must be a mapping"))

    def require_only(self, name: str) -> None:
        """Note a fault unless the file has the key *name* and no other."""
        if not self.faults and set(self.content) != {name}:
            self.faults.append(ConfigIssue(self.path.name, 1, "", f"must have the key {name}, and no other"))

    def line(self, place: Location) -> int:
        """The line of *place* or, where it is missing, of what it is missing from."""
        return next((self._lines[place[:end]] for end in range(len(place), 0, -1) if place[:end] in self._lines), 1)

    def _root(self) -> yaml.Node:
        try:
            with self.path.open("rb") as file:
                raw = file.read(LARGEST_FILE + 1)
            if len(raw) > LARGEST_FILE:
                raise _Unreadable("is larger than a mebibyte")
            node = yaml.compose(raw.decode("utf-8"), Loader=yaml.CSafeLoader)
        except OSError as error:
            raise _Unreadable(f"can't be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise _Unreadable("is not UTF-8") from None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise _Unreadable(f"is not YAML: {error.problem}", line) from None
        except (yaml.YAMLError, RecursionError):
            raise _Unreadable("is not YAML") from None
        if node is None:
            raise _Unreadable("is empty")
        return node

    def _plain(self, node: yaml.Node, place: Location) -> Any:
        line = node.start_mark.line + 1
        self._lines[place] = line
        if id(node) in self._seen:
            raise _Unreadable("an alias is not taken here: write it out", line)
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, (*place, at)) for at, item in enumerate(node.value)]
        return _scalar(node, line)

    def _mapping(self, node: yaml.MappingNode, place: Location) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.value in found:
                raise _Unreadable("a key must be a plain word that stands there once", line)
            found[key.value] = self._plain(value, (*place, key.value))
        return found


class _Unreadable(Exception):  # noqa: N818 - reads as what it is
    """A file that is no page at all."""

    def __init__(self, words: str, line: int = 1) -> None:
        super().__init__(words)
        self.line = line


def _scalar(node: yaml.Node, line: int) -> Any:
    if node.tag not in _SCALARS:
        return node.value
    try:
        return _CONSTRUCTOR.construct_object(node)
    except ValueError:
        raise _Unreadable("a number can't be read", line) from None


_CONSTRUCTOR = yaml.constructor.SafeConstructor()
