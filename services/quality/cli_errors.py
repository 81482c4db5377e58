"""Error handling of the `estelam quality` commands."""

import contextlib
from collections.abc import Iterator

from sqlalchemy.exc import SQLAlchemyError

from estelam.cli import output


@contextlib.contextmanager
def quality_errors(*, as_json: bool) -> Iterator[None]:
    """Exit with a one-line message, in place of a stack trace, on an error that the operator can fix."""
    try:
        with output.user_errors(as_json=as_json):
            yield
    except SQLAlchemyError:
        output.exit_error("the quality store can't be read or written; run: estelam quality migrate", as_json=as_json)
