"""The book of cases: YAML files read, rows unfolded, and every case checked before any is run."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from conformance import contract
from conformance.case import Case, Stage, Title
from estelam.core.exceptions import UserFacingError

FOLDER = Path(__file__).resolve().parent / "cases"
CLAUSES = Path(__file__).resolve().parent / "clauses.yaml"

_WHOLE = re.compile(r"\$([a-z][a-z0-9_]*)")
_INSIDE = re.compile(r"\$\{([a-z][a-z0-9_]*)\}")
_STAGES = list(Stage)


class BookError(UserFacingError):
    """A case file has an error; the text says in which file and case, where, and what."""

    def __init__(self, file: Path, case: str, place: str, message: str) -> None:
        super().__init__(": ".join(part for part in (file.name, case, place, message) if part))


class _Fault(Exception):  # noqa: N818 - becomes a BookError where file and case are known
    def __init__(self, place: str, message: str) -> None:
        super().__init__(message)
        self.place = place


class _Loader(yaml.CSafeLoader):
    """YAML in which only true and false are booleans and only plain numbers are numbers: NO is a word, 0012 digits."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own form

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001
        """PyYAML would silently take the last of two equal keys."""
        keys = [key.value for key, _ in node.value]
        if twice := {key for key in keys if isinstance(key, str) and keys.count(key) > 1}:
            raise yaml.MarkedYAMLError(problem=f"{min(twice)} stands twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


for _tag, _form, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"null|~|", ["n", "~", ""]),
    ("int", r"-?(?:0|[1-9][0-9]*)", "-0123456789"),
    ("float", r"-?(?:0|[1-9][0-9]*)\.[0-9]+", "-0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_form})$"), list(_first))


def read(folder: Path | None = None, clauses: Collection[str] | None = None) -> list[Case]:
    """Every case of *folder*, or of the kit, in the order of files and lines; *clauses* are those that exist.

    Raises:
        BookError: a file can't be read, or a case has an error.
    """
    if folder is None:
        return list(_own())
    known = _read_clauses() if clauses is None else clauses
    cases: list[Case] = []
    seen: set[str] = set()
    for file in sorted(folder.glob("*.yaml")):
        for case in _cases_of(file, known):
            if case.id in seen:
                raise BookError(file, case.id, "id", "this id is given twice")
            seen.add(case.id)
            cases.append(case)
    if not cases:
        raise BookError(folder, "", "", "holds no case")
    return cases


@cache
def _own() -> tuple[Case, ...]:
    return tuple(read(FOLDER))


@cache
def _read_clauses() -> dict[str, Title]:
    loaded = _load(CLAUSES)
    if not isinstance(loaded, dict):
        raise BookError(CLAUSES, "", "", "must map each clause's id to its words")
    found = {}
    for name, words in loaded.items():
        try:
            found[str(name)] = Title.model_validate(words)
        except ValidationError as error:
            raise BookError(CLAUSES, str(name), *_first_of(error)) from None
    return found


def clauses() -> Mapping[str, Title]:
    """The words of every clause of the resolutions and promise of the README that cases stand for, by its id.

    Raises:
        BookError: the file has an error.
    """
    return _read_clauses()


def select(cases: Sequence[Case], only: Sequence[str]) -> list[Case]:
    """The cases that a word of *only* names by clause or id, whole or up to a dot; all where there is no word.

    Raises:
        ValueError: a word names none.
    """
    for word in only:
        if not any(_named(case, word) for case in cases):
            raise ValueError(f"no case and no clause is called {word}")
    return [case for case in cases if not only or any(_named(case, word) for word in only)]


def _named(case: Case, word: str) -> bool:
    return any(name == word or name.startswith(f"{word}.") for name in (case.id, case.clause))


def _cases_of(file: Path, clauses: Collection[str]) -> Iterator[Case]:
    loaded = _load(file)
    if not isinstance(loaded, list):
        raise BookError(file, "", "", "must be a list of cases")
    for number, raw in enumerate(loaded, 1):
        name = str(raw["id"]) if isinstance(raw, dict) and "id" in raw else f"case {number}"
        try:
            for each in _unfolded(raw):
                name = str(each.get("id", name))
                case = Case.model_validate(each)
                _check(case, clauses)
                yield case
        except ValidationError as error:
            raise BookError(file, name, *_first_of(error)) from None
        except _Fault as fault:
            raise BookError(file, name, fault.place, str(fault)) from None


def _load(file: Path) -> Any:
    try:
        return yaml.load(file.read_text("utf-8"), _Loader)  # noqa: S506 - a safe loader, with fewer kinds of scalar
    except (OSError, UnicodeDecodeError):
        raise BookError(file, "", "", "can't be read") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}" if mark else ""
        raise BookError(file, "", place, str(getattr(error, "problem", None) or "is no YAML")) from None


def _unfolded(raw: Any) -> Iterator[dict[str, Any]]:
    """One case for each of its rows, or the case itself."""
    if not isinstance(raw, dict):
        raise _Fault("", "a case is a mapping")
    if "rows" not in raw:
        yield raw
        return
    folded = {key: value for key, value in raw.items() if key != "rows"}
    rows = raw["rows"]
    if not isinstance(rows, list) or not rows:
        raise _Fault("rows", "must be a list")
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or not isinstance(row.get("suffix"), str):
            raise _Fault(f"rows.{number}", "a row is a mapping with a suffix, a string")
        yield {**_filled(folded, row, ""), "id": f"{raw.get('id')}.{row['suffix']}"}


def _filled(value: Any, row: Mapping[str, Any], place: str) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, row, f"{place}.{key}".lstrip(".")) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, row, f"{place}.{number}") for number, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def word(found: re.Match[str]) -> Any:
        if found[1] not in row:
            raise _Fault(place, f"the row has no {found[1]}")
        return row[found[1]]

    if whole := _WHOLE.fullmatch(value):
        return word(whole)
    return _INSIDE.sub(lambda found: str(word(found)), value)


def _check(case: Case, clauses: Collection[str]) -> None:
    """What the schema alone can't say."""
    if case.clause not in clauses:
        raise _Fault("clause", f"there is no clause {case.clause}")
    for number, (before, after) in enumerate(pairwise(case.steps), 1):
        if _STAGES.index(after.at) < _STAGES.index(before.at):
            raise _Fault(f"steps.{number}.at", "time does not go back")
    for number, step in enumerate(case.steps):
        if step.call is None:
            if step.trick is not None:
                raise _Fault(f"steps.{number}.trick", "only a call can be tampered with")
            continue
        target = step.target or case.target
        try:
            contract.encode(step, contract.path_of(step.call, target.service))
        except contract.RequestError as error:
            raise _Fault(f"steps.{number}.request", str(error)) from None


def _first_of(error: ValidationError) -> tuple[str, str]:
    first = error.errors()[0]
    return ".".join(map(str, first["loc"])), first["msg"]
