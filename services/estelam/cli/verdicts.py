"""How a command exits that verifies something signed."""

from collections.abc import Mapping

from estelam.cli import output
from estelam.receipts.problems import Verdict

EXIT_CODES: Mapping[Verdict, int] = {
    Verdict.MALFORMED: output.EXIT_USAGE,
    Verdict.UNCHECKED: output.EXIT_UNAVAILABLE,
    Verdict.INVALID: output.EXIT_FAILED,
}
