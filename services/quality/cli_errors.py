"""Error handling of the `estelam quality` commands."""

import contextlib

from estelam.cli import output

MIGRATE = "estelam quality migrate"
"""The command that brings the quality store to the newest schema."""


def quality_errors(*, as_json: bool, code: int = output.EXIT_FAILED) -> contextlib.AbstractContextManager[None]:
    """Print an error that an operator can correct, or of the quality store, as one line, and exit with *code*."""
    return output.user_errors(as_json=as_json, code=code, migrate=MIGRATE)
