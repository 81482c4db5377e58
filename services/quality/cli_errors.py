"""What of the quality process's own an operator can mend, told in one plain line."""

import contextlib
from collections.abc import Iterator

from sqlalchemy.exc import SQLAlchemyError

from estelam.cli import output


@contextlib.contextmanager
def plain_failures(*, as_json: bool) -> Iterator[None]:
    """End the command with words in place of a stack trace."""
    try:
        with output.user_errors(as_json=as_json):
            yield
    except SQLAlchemyError:
        output.exit_error("the quality store can't be read or written; run: estelam quality migrate", as_json=as_json)
