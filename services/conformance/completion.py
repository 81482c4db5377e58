"""Values of the conformance kit for shell completion."""

import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
_CLAUSE = re.compile(r"^([A-Z]\S*):", re.MULTILINE)
_CASE = re.compile(r"^- id: (\S+)", re.MULTILINE)


def case_names() -> list[str]:
    """Return the ids of clauses and cases; of cases that differ in a row, the id that they have in common.

    They are found by the form of their lines: loading the cases takes longer than a completion may.
    """
    names = set(_CLAUSE.findall((FOLDER / "clauses.yaml").read_text("utf-8")))
    for file in (FOLDER / "cases").glob("*.yaml"):
        names.update(_CASE.findall(file.read_text("utf-8")))
    return sorted(names)


def roles() -> list[str]:
    """Return the roles of instances, each with the sign before its address."""
    from conformance.case import Instance  # noqa: PLC0415 - not needed to complete anything else

    return [f"{role}=" for role in Instance]
