"""A mutant: one text of the reference and its faulty replacement."""

from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

REFERENCE = Path(__file__).parent.parent / "reference"
MUTANTS = Path(__file__).parent / "mutants.yaml"


class Mutant(BaseModel):
    """One fault and the case that must fail."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    fault: str
    """What the faulty implementation does wrong, in one line."""
    case: str
    module: str
    """The reference's module."""
    old: str = Field(min_length=1)
    new: str = Field(min_length=1)

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
    """Load all mutants."""
    return TypeAdapter(list[Mutant]).validate_python(yaml.safe_load(path.read_text("utf-8")))
