"""Who may ask what: one table of exact caller x exact method, and a deny-list. Anything else is refused."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path

import structlog

from estelam.auth.grants import AccessConfigError, AccessTable, Grant
from estelam.catalogue.effective_grants import access_table
from estelam.catalogue.loader import file_stamps, read_catalogue
from estelam.catalogue.model import Catalogue
from estelam.core.clock import TEHRAN, Clock, to_datetime, to_micros
from estelam.core.errors import Reason, Refusal
from estelam.core.model import Caller, Method

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Day:
    """A calendar day in Iran and the instants it lies between, by the zone's own rules."""

    day: date
    begins_micros: int
    ends_micros: int

    @classmethod
    def containing(cls, micros: int) -> "Day":
        """The day that an instant lies in."""
        today = to_datetime(micros).astimezone(TEHRAN).date()
        begins = datetime.combine(today, time(), TEHRAN)
        ends = datetime.combine(today + timedelta(days=1), time(), TEHRAN)
        return cls(today, to_micros(begins), to_micros(ends))


class Authorizer:
    """The table in force: read from its file or a catalogue's folder, and again within a second of a change there."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._next_look = 0.0
        self._seen: Hashable = None
        self._day = Day.containing(clock.micros())
        self._grants: Mapping[tuple[str, str], tuple[Grant, ...]] = {}
        self._denied: frozenset[str] = frozenset()
        self.catalogue: Catalogue | None = None
        """The catalogue that the table in force was derived from, if it was."""
        self._load()

    def authorize(self, caller: Caller, method: Method) -> Grant:
        """The grant by which *caller* may ask *method* today, by Iran's calendar day.

        Raises:
            Refusal: CERTIFICATE_DENIED or NOT_GRANTED.
        """
        if self.is_denied(caller.certificate):
            raise Refusal(Reason.CERTIFICATE_DENIED)
        for grant in self._grants.get((caller.organization_id, method.name), ()):
            if grant.in_force(self._today()):
                return grant
        raise Refusal(Reason.NOT_GRANTED)

    def is_denied(self, fingerprint: str) -> bool:
        """Whether the deny-list bars the certificate *fingerprint*."""
        self.refresh()
        return fingerprint in self._denied

    def _today(self) -> date:
        if not self._day.begins_micros <= (now := self._clock.micros()) < self._day.ends_micros:
            self._day = Day.containing(now)
        return self._day.day

    def refresh(self) -> None:
        """Look whether the table has changed, at most once a second."""
        if (now := self._clock.monotonic()) < self._next_look:
            return
        self._next_look = now + 1
        try:
            if self._stamps() != self._seen:
                self._load()
        except (OSError, AccessConfigError) as error:
            # The table last read stays in force: a slip of the pen must not open or close every door.
            log.error("access.unreadable", error=type(error).__name__)

    def _stamps(self) -> Hashable:
        return file_stamps(self._path) if self._path.is_dir() else self._path.stat().st_mtime_ns

    def _load(self) -> None:
        # Looked at before it is read: what changes meanwhile is seen the next time.
        seen = self._stamps() if self._path.exists() else None
        catalogue = read_catalogue(self._path) if self._path.is_dir() else None
        table = access_table(catalogue) if catalogue else AccessTable.load(self._path)
        grants: dict[tuple[str, str], tuple[Grant, ...]] = {}
        for grant in table.grant:
            key = grant.caller, grant.method
            grants[key] = (*grants.get(key, ()), grant)
        denied = frozenset(denial.certificate for denial in table.deny)
        # All or none: new grants never stand beside an old deny-list.
        self._grants, self._denied, self._seen, self.catalogue = grants, denied, seen, catalogue
        log.info("access.loaded", grants=len(table.grant), denials=len(table.deny))
