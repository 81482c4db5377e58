"""A mutant: one fault, written as one text of the reference and what stands there instead."""

from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

REFERENCE = Path(__file__).parent.parent / "reference"
MUTANTS = Path(__file__).parent / "mutants.yaml"


class Mutant(BaseModel):
    """One fault and the case that must turn red."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    fault: str
    """What such an implementation does wrong, in one line."""
    case: str
    module: str
    """Of the reference."""
    old: str = Field(min_length=1)
    new: str = Field(min_length=1)

    def source(self) -> str:
        """The whole source of the module with the fault in it.

        Raises:
            ValueError: the old text does not stand there exactly once, or nothing would change.
        """
        whole = (REFERENCE / f"{self.module}.py").read_text("utf-8")
        if whole.count(self.old) != 1 or self.old == self.new:
            raise ValueError(f"{self.id}: its old text stands {whole.count(self.old)} times in {self.module}.py")
        return whole.replace(self.old, self.new)

    def line(self) -> int:
        """The number of the first line that differs."""
        whole = (REFERENCE / f"{self.module}.py").read_text("utf-8").splitlines()
        pairs = enumerate(zip(whole, self.source().splitlines(), strict=False), start=1)
        return next(number for number, (right, wrong) in pairs if right != wrong)


def mutants(path: Path = MUTANTS) -> Sequence[Mutant]:
    """All of them."""
    return TypeAdapter(list[Mutant]).validate_python(yaml.safe_load(path.read_text("utf-8")))
