"""What of the quality process's own an operator can mend, told in one plain line."""

import contextlib
from collections.abc import Iterator

from sqlalchemy.exc import SQLAlchemyError

from estelam.cli import output
from quality.months import MonthError
from quality.outage.announcing import AnnouncementError
from quality.reckoning.audience import AudienceError
from quality.rulebook import RulebookError


@contextlib.contextmanager
def plain_failures(*, as_json: bool) -> Iterator[None]:
    """End the command with words in place of a stack trace."""
    try:
        with output.plain_failures(as_json=as_json):
            yield
    except (MonthError, AudienceError, RulebookError, AnnouncementError) as error:
        output.fail(str(error), as_json=as_json)
    except SQLAlchemyError:
        output.fail("the quality store can't be read or written; run: estelam quality migrate", as_json=as_json)
