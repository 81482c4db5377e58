"""How a command exits that verifies something signed."""

from collections.abc import Mapping
from typing import NoReturn

from estelam.cli import output
from estelam.core.escape import visible
from estelam.receipts.problems import InvalidReceipt, Verdict

EXIT_CODES: Mapping[Verdict, int] = {
    Verdict.MALFORMED: output.EXIT_USAGE,
    Verdict.UNCHECKED: output.EXIT_UNAVAILABLE,
    Verdict.INVALID: output.EXIT_FAILED,
}


def exit_not_valid(error: InvalidReceipt, where: str, *, as_json: bool) -> NoReturn:
    """Print why what stands at *where* is not valid, in both languages, and exit by its verdict."""
    problem, text = error.problem, visible(f"{error.problem.verdict}: {where}: {error}")
    output.exit_error(
        text if as_json else f"{text}\n{problem.fa}",
        as_json=as_json,
        code=EXIT_CODES[problem.verdict],
        more={"verdict": problem.verdict, "problem": problem.name, "message_fa": problem.fa},
    )
