"""Errors of the quality commands that an operator can correct, printed on one line."""

import contextlib
from collections.abc import Iterator

from sqlalchemy.exc import SQLAlchemyError

from estelam.cli import output


@contextlib.contextmanager
def quality_errors(*, as_json: bool) -> Iterator[None]:
    """As `output.user_errors`, and for a failure of the quality store too."""
    try:
        with output.user_errors(as_json=as_json):
            yield
    except SQLAlchemyError:
        output.exit_error(
            "the quality store can't be read or written; check the database, and run: estelam quality migrate",
            as_json=as_json,
        )
