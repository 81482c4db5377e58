"""A mutant: one text of the reference and its faulty replacement."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ClassVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from conformance import case_loader

REFERENCE = Path(__file__).parent.parent / "reference"
MUTANTS = Path(__file__).parent / "mutants.yaml"


class Mutant(BaseModel):
    """One fault and the case that must fail."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    fault: str
    """What the faulty implementation does wrong, in one line."""
    case: str
    """The case that must fail; with a *, one of the cases of each service that match, and one mutant for each."""
    module: str
    """The reference's module."""
    old: str = Field(min_length=1)
    new: str = Field(min_length=1)

    kind: ClassVar[str] = "hand-written"
    program: ClassVar[str] = "reference"

    def source(self) -> str:
        """Return the module's source with the fault.

        Raises:
            ValueError: the old text does not occur exactly once, or equals the new text.
        """
        whole = (REFERENCE / f"{self.module}.py").read_text("utf-8")
        if whole.count(self.old) != 1 or self.old == self.new:
            raise ValueError(f"{self.id}: its old text occurs {whole.count(self.old)} times in {self.module}.py")
        return whole.replace(self.old, self.new)

    def line(self) -> int:
        """Return the number of the first changed line."""
        whole = (REFERENCE / f"{self.module}.py").read_text("utf-8").splitlines()
        pairs = enumerate(zip(whole, self.source().splitlines(), strict=False), start=1)
        return next(number for number, (right, wrong) in pairs if right != wrong)


def load_mutants(path: Path = MUTANTS) -> Sequence[Mutant]:
    """Load all mutants: one for each service where the case is that of each."""
    given = TypeAdapter(list[Mutant]).validate_python(yaml.safe_load(path.read_text("utf-8")))
    return [each for mutant in given for each in _by_service(mutant)]


def _by_service(mutant: Mutant) -> Iterator[Mutant]:
    """Yield *mutant*, or for a case with a * one for each service that has a case which matches."""
    if "*" not in mutant.case:
        yield mutant
        return
    matching = [case for case in case_loader.read() if fnmatchcase(case.id, mutant.case)]
    for service, case in {case.target.service: case.id for case in reversed(matching)}.items():
        changes = {"id": f"{mutant.id}-{service}", "fault": f"{mutant.fault} ({service})", "case": case}
        yield mutant.model_copy(update=changes)
