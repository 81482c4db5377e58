"""Authorization: one table of exact caller x exact method, and a deny list. Every other call is refused."""

import contextlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Protocol

import structlog

from estelam.auth.grants import AccessConfigError, AccessTable, Grant
from estelam.core.clock import TEHRAN, Clock, to_datetime, to_micros
from estelam.core.errors import Reason, Refusal
from estelam.core.model import Caller, Method

log = structlog.get_logger()


class AccessSource(Protocol):
    """Where the access table is loaded from."""

    def stamp(self) -> Hashable:
        """A value that differs once the source has changed; OSError where there is no source."""

    def load(self) -> AccessTable:
        """The whole table, or AccessConfigError."""


@dataclass(frozen=True, slots=True)
class Day:
    """A calendar day in Iran and the two instants that bound it, by the rules of its time zone."""

    day: date
    begins_micros: int
    ends_micros: int

    @classmethod
    def containing(cls, micros: int) -> "Day":
        """The day that contains an instant in microseconds since 1970."""
        today = to_datetime(micros).astimezone(TEHRAN).date()
        begins = datetime.combine(today, time(), TEHRAN)
        ends = datetime.combine(today + timedelta(days=1), time(), TEHRAN)
        return cls(today, to_micros(begins), to_micros(ends))


class Authorizer:
    """Authorizes calls by the table of *source*, which it reloads within a second of a change.

    Raises:
        AccessConfigError: the table can't be loaded at the start.
    """

    def __init__(self, source: AccessSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._next_check = 0.0
        self._stamp: Hashable = None
        self._day = Day.containing(clock.micros())
        self._grants: Mapping[tuple[str, str], tuple[Grant, ...]] = {}
        self._denied: frozenset[str] = frozenset()
        self._load()

    def authorize(self, caller: Caller, method: Method) -> Grant:
        """Return the grant under which *caller* may call *method* today, by Iran's calendar day.

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
        """Whether the certificate with this SHA-256 *fingerprint* is on the deny list."""
        self.refresh()
        return fingerprint in self._denied

    def _today(self) -> date:
        if not self._day.begins_micros <= (now := self._clock.micros()) < self._day.ends_micros:
            self._day = Day.containing(now)
        return self._day.day

    def refresh(self) -> None:
        """Reload the table if its source has changed; checks at most once a second."""
        if (now := self._clock.monotonic()) < self._next_check:
            return
        self._next_check = now + 1
        try:
            if self._source.stamp() != self._stamp:
                self._load()
        except (OSError, AccessConfigError) as error:
            # The last valid table stays in force: a typing error must not grant or revoke everything.
            log.error("access.unreadable", error=type(error).__name__)

    def _load(self) -> None:
        stamp: Hashable = None
        # Taken before the load, so that the next check notices a change made during the load.
        with contextlib.suppress(FileNotFoundError):
            stamp = self._source.stamp()
        table = self._source.load()
        grants: dict[tuple[str, str], tuple[Grant, ...]] = {}
        for grant in table.grant:
            key = grant.caller, grant.method
            grants[key] = (*grants.get(key, ()), grant)
        denied = frozenset(denial.certificate for denial in table.deny)
        # Replaced together: new grants never apply with an old deny list.
        self._grants, self._denied, self._stamp = grants, denied, stamp
        log.info("access.loaded", grants=len(table.grant), denials=len(table.deny))
