"""What a reply states of the data that it is from, as commands print it."""

from datetime import UTC
from typing import Any

from google.protobuf.message import Message

from estelam.core import dates
from estelam.core.dates import DateError
from estelam.core.exceptions import UserFacingError


def coverage_facts(reply: Message) -> dict[str, Any]:
    """Return the first covered day and the instant up to which the data is complete, as far as *reply* states them.

    Raises:
        UserFacingError: the first day is no date.
    """
    if "coverage" not in reply.DESCRIPTOR.fields_by_name or not reply.HasField("coverage"):
        return {}
    coverage: Any = reply.coverage  # type: ignore[attr-defined]  # the field exists
    try:
        since = {"covered_since": dates.from_wire(coverage.since)} if coverage.HasField("since") else {}
    except DateError as error:
        raise UserFacingError(f"the reply's coverage.since {error}") from None
    return {**since, "data_as_of": coverage.as_of.ToDatetime(UTC)}
