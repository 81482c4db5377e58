"""Authorization: grants of one organisation and one method each, and denied certificates."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from estelam.core.errors import Reason

from .clock import Clock
from .identity import Caller
from .quota import Quota
from .refusal import Refused


@dataclass(frozen=True)
class Grant:
    """One organisation's grant for one method."""

    organization: str
    method: str
    since: date
    until: date | None
    quota: Quota
    required_metadata: tuple[str, ...]


class Authorizer:
    """The grants in force and the denied certificates: from the fixtures, and from the steering file *denied_file*."""

    def __init__(self, grants: Sequence[Grant], denied: Collection[str], denied_file: Path, clock: Clock) -> None:
        self._grants = {(grant.organization, grant.method): grant for grant in grants}
        self._denied = frozenset(denied)
        self._denied_file = denied_file
        self._clock = clock

    def authorize(self, caller: Caller, method: str) -> Grant:
        """Return the grant that lets *caller* call *method* today, by Iran's calendar."""
        if self._is_denied(caller.key):
            raise Refused(Reason.CERTIFICATE_DENIED)
        grant = self._grants.get((caller.organization, method))
        if grant is None:
            raise Refused(Reason.NOT_GRANTED)
        today = self._clock.day_in_iran()
        if today < grant.since:
            raise Refused(Reason.NOT_GRANTED)
        if grant.until is not None and today > grant.until:
            raise Refused(Reason.NOT_GRANTED)
        return grant

    def _is_denied(self, key: str) -> bool:
        listed = self._denied_file.read_text("ascii").split() if self._denied_file.exists() else []
        return key in self._denied or key in listed
