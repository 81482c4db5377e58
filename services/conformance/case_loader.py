"""Loads the cases from YAML, expands their rows, and validates every case before any runs."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from conformance import contract
from conformance.case import Case, Clause, Stage, Step
from conformance.profile import Profile
from estelam.core.exceptions import UsageError, UserFacingError
from estelam.core.model_files import fault_message
from estelam.core.names import did_you_mean

FOLDER = Path(__file__).resolve().parent / "cases"
CLAUSES = Path(__file__).resolve().parent / "clauses.yaml"
TABLES = Path(__file__).resolve().parent / "tables.yaml"
"""Rows that cases of several files use, by the name of their table."""

_WHOLE = re.compile(r"\$([a-z][a-z0-9_]*)")
_INSIDE = re.compile(r"\$\{([a-z][a-z0-9_]*)\}")
_STAGES = list(Stage)


class CaseError(UserFacingError):
    """A case file has an error; the text names the file, the case, the place and the error."""

    def __init__(self, file: Path, case: str, place: str, message: str) -> None:
        super().__init__(": ".join(part for part in (file.name, case, place, message) if part))


class UnknownCaseError(UsageError):
    """No case and no clause has the id that was asked for."""


class _InvalidCase(Exception):  # noqa: N818 - becomes a CaseError where file and case are known
    def __init__(self, place: str, message: str) -> None:
        super().__init__(message)
        self.place = place


class _Loader(yaml.CSafeLoader):
    """YAML loader in which only true and false are booleans and only plain decimals numbers: NO, 0012 are strings."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own form

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001
        """Reject duplicate keys, of which PyYAML would silently take the last."""
        keys = [key.value for key, _ in node.value]
        if duplicates := {key for key in keys if isinstance(key, str) and keys.count(key) > 1}:
            raise yaml.MarkedYAMLError(problem=f"duplicate key {min(duplicates)}", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


for _tag, _form, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"null|~|", ["n", "~", ""]),
    ("int", r"-?(?:0|[1-9][0-9]*)", "-0123456789"),
    ("float", r"-?(?:0|[1-9][0-9]*)\.[0-9]+", "-0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_form})$"), list(_first))


def read(folder: Path | None = None, clauses: Collection[str] | None = None) -> list[Case]:
    """Load the cases of *folder*, default the kit's, in the order of files and lines.

    Args:
        folder: A folder of YAML files.
        clauses: The ids of the clauses that exist; default: those of `clauses.yaml`.

    Raises:
        CaseError: a file can't be read, or a case has an error.
    """
    if folder is None:
        return list(_kit_cases())
    known = _read_clauses() if clauses is None else clauses
    cases: list[Case] = []
    seen: set[str] = set()
    for file in sorted(folder.glob("*.yaml")):
        for case in _cases_of(file, known):
            if case.id in seen:
                raise CaseError(file, case.id, "id", "duplicate id")
            seen.add(case.id)
            cases.append(case)
    if not cases:
        raise CaseError(folder, "", "", "the folder has no case")
    return cases


@cache
def _kit_cases() -> tuple[Case, ...]:
    return tuple(read(FOLDER))


@cache
def _read_clauses() -> dict[str, Clause]:
    loaded = _load(CLAUSES)
    if not isinstance(loaded, dict):
        raise CaseError(CLAUSES, "", "", "must map each clause's id to its text")
    titles = {}
    for name, text in loaded.items():
        try:
            titles[str(name)] = Clause.model_validate(text)
        except ValidationError as error:
            raise CaseError(CLAUSES, str(name), *_first_error(error)) from None
    return titles


def clauses() -> Mapping[str, Clause]:
    """Return the text and the profile of every clause that has cases, of the resolutions and of the README, by its id.

    Raises:
        CaseError: the file has an error.
    """
    return _read_clauses()


def select(cases: Sequence[Case], only: Sequence[str]) -> list[Case]:
    """Return the cases whose id or clause is in *only*, whole or as a prefix up to a dot; all if *only* is empty.

    Raises:
        UnknownCaseError: an element of *only* matches no case.
    """
    for name in only:
        if not any(_matches(case, name) for case in cases):
            known = {case.id for case in cases} | {case.clause for case in cases}
            advice = did_you_mean(name, known) or "; see: estelam conformance list"
            raise UnknownCaseError(f"no case and no clause has the id {name}{advice}")
    return [case for case in cases if not only or any(_matches(case, name) for name in only)]


def _matches(case: Case, name: str) -> bool:
    return any(own == name or own.startswith(f"{name}.") for own in (case.id, case.clause))


def _cases_of(file: Path, clauses: Collection[str]) -> Iterator[Case]:
    loaded = _load(file)
    if not isinstance(loaded, list):
        raise CaseError(file, "", "", "must be a list of cases")
    for number, raw in enumerate(loaded, 1):
        name = str(raw["id"]) if isinstance(raw, dict) and "id" in raw else f"case {number}"
        try:
            for each in _expanded(raw):
                name = str(each.get("id", name))
                case = Case.model_validate(each)
                _validate(case, clauses)
                yield case
        except ValidationError as error:
            raise CaseError(file, name, *_first_error(error)) from None
        except _InvalidCase as error:
            raise CaseError(file, name, error.place, str(error)) from None


def _load(file: Path) -> Any:
    try:
        return yaml.load(file.read_text("utf-8"), _Loader)  # noqa: S506 - a safe loader, with fewer kinds of scalar
    except (OSError, UnicodeDecodeError):
        raise CaseError(file, "", "", "can't be read") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}" if mark else ""
        raise CaseError(file, "", place, str(getattr(error, "problem", None) or "is not YAML")) from None


def _expanded(raw: Any) -> Iterator[dict[str, Any]]:
    """Yield one case for each of its rows, or the case itself if it has none."""
    if not isinstance(raw, dict):
        raise _InvalidCase("", "a case is a mapping")
    if "rows" not in raw:
        yield raw
        return
    template = {key: value for key, value in raw.items() if key != "rows"}
    for row in _rows(raw["rows"]):
        yield {**_filled(template, row, ""), "id": f"{raw.get('id')}.{row['suffix']}"}


def _rows(given: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a table, or each combination of the rows of several tables."""
    if not isinstance(given, list) or not given:
        raise _InvalidCase("rows", "must be a list")
    if isinstance(given[0], dict):
        given = [given]
    tables = [_tables().get(table, table) if isinstance(table, str) else table for table in given]
    for number, table in enumerate(tables):
        place = f"rows.{number}" if len(tables) > 1 else "rows"
        if not isinstance(table, list):
            raise _InvalidCase(place, f"{table} is not a table of {TABLES.name}")
        for position, row in enumerate(table):
            if not isinstance(row, dict) or not isinstance(row.get("suffix"), str):
                raise _InvalidCase(f"{place}.{position}", "a row is a mapping with a suffix, a string")
    for rows in product(*tables):
        whole = {word: value for row in rows for word, value in row.items()}
        yield {**whole, "suffix": "-".join(row["suffix"] for row in rows)}


@cache
def _tables() -> dict[str, Any]:
    loaded = _load(TABLES)
    if not isinstance(loaded, dict):
        raise CaseError(TABLES, "", "", "must map each table's name to its rows")
    return loaded


def _filled(value: Any, row: Mapping[str, Any], place: str) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, row, f"{place}.{key}".lstrip(".")) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, row, f"{place}.{number}") for number, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def lookup(match: re.Match[str]) -> Any:
        if match[1] not in row:
            raise _InvalidCase(place, f"the row has no {match[1]}")
        return row[match[1]]

    if whole := _WHOLE.fullmatch(value):
        return lookup(whole)
    return _INSIDE.sub(lambda match: str(lookup(match)), value)


def _validate(case: Case, clauses: Collection[str]) -> None:
    """Check what the schema alone can't express."""
    if case.clause not in clauses:
        raise _InvalidCase("clause", f"there is no clause {case.clause}")
    if case.clause.startswith("R") and case.profile is not Profile.CORE:
        raise _InvalidCase("profile", "a case of a resolution's clause is core: a rule of ours has a clause of ours")
    for number, (before, after) in enumerate(pairwise(case.steps), 1):
        if _STAGES.index(after.at) < _STAGES.index(before.at):
            raise _InvalidCase(f"steps.{number}.at", "stages must be in chronological order")
    for number, step in enumerate(case.steps):
        _validate_step(case, step, f"steps.{number}")


def _validate_step(case: Case, step: Step, place: str) -> None:
    target = step.target or case.target
    if target.service != case.target.service:
        raise _InvalidCase(f"{place}.target", "a case tests one service, which may be the only one given")
    if step.call is None:
        if step.fault is not None:
            raise _InvalidCase(f"{place}.fault", "only a call can have a fault")
        return
    try:
        contract.encode(step, contract.path_of(step.call, target.service))
    except contract.RequestError as error:
        raise _InvalidCase(f"{place}.request", str(error)) from None


def _first_error(error: ValidationError) -> tuple[str, str]:
    first = error.errors()[0]
    return ".".join(map(str, first["loc"])), fault_message(first)
