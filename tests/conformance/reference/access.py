"""Who may ask what: grants of one organisation and one method each, and certificates that are barred."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from estelam.core.errors import Reason

from .clock import Clock
from .identity import Caller
from .quota import Allowance
from .words import Declined


@dataclass(frozen=True)
class Grant:
    """One organisation's right to one method."""

    organization: str
    method: str
    since: date
    until: date | None
    allowance: Allowance
    demands: tuple[str, ...]


class Access:
    """The grants in force, and who is barred: from the beginning, or by the steering file *barring* since."""

    def __init__(self, grants: Sequence[Grant], denied: Collection[str], barring: Path, clock: Clock) -> None:
        self._grants = {(grant.organization, grant.method): grant for grant in grants}
        self._denied = frozenset(denied)
        self._barring = barring
        self._clock = clock

    def admit(self, caller: Caller, method: str) -> Grant:
        """The grant by which *caller* asks *method* today, by Iran's calendar."""
        if self._barred(caller.fingerprint):
            raise Declined(Reason.CERTIFICATE_DENIED)
        grant = self._grants.get((caller.organization, method))
        if grant is None:
            raise Declined(Reason.NOT_GRANTED)
        today = self._clock.day_in_iran()
        if today < grant.since:
            raise Declined(Reason.NOT_GRANTED)
        if grant.until is not None and today > grant.until:
            raise Declined(Reason.NOT_GRANTED)
        return grant

    def _barred(self, fingerprint: str) -> bool:
        since = self._barring.read_text("ascii").split() if self._barring.exists() else []
        return fingerprint in self._denied or fingerprint in since
