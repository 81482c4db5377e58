"""Authorization: one table of exact caller x exact method, and a deny list. Every other call is refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Protocol

import structlog

from estelam.auth.certificate import ClientCertificate
from estelam.auth.grants import AccessTable, Grant
from estelam.core.clock import TEHRAN, Clock, to_datetime, to_micros
from estelam.core.errors import Reason, Refusal
from estelam.core.exceptions import problem
from estelam.core.model import Caller, Method
from estelam.core.reload import FileReloader

log = structlog.get_logger()


class AccessSource(Protocol):
    """Where the access table is loaded from."""

    def files(self) -> Sequence[Path]:
        """The files that the table depends on."""

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


@dataclass(frozen=True, slots=True)
class _Table:
    """Grants and deny list, replaced together: new grants never apply with an old deny list."""

    grants: Mapping[tuple[str, str], tuple[Grant, ...]]
    denied: frozenset[str]


class Authorizer:
    """Authorizes calls by the table of *source*, which it reloads within a second of a change.

    Raises:
        AccessConfigError: the table can't be loaded at the start.
    """

    def __init__(self, source: AccessSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._day = Day.containing(clock.micros())
        self._reloader = FileReloader(
            source.files, self._load, failed=_log_unreadable, interval_seconds=1.0, monotonic=clock.monotonic
        )
        self._reloader.refresh()

    def authorize(self, caller: Caller, method: Method) -> Grant:
        """Return the grant under which *caller* may call *method* today, by Iran's calendar day.

        Raises:
            Refusal: NOT_GRANTED.
        """
        self.refresh()
        for grant in self._reloader.value.grants.get((caller.organization_id, method.name), ()):
            if grant.in_force(self._today()):
                return grant
        raise Refusal(Reason.NOT_GRANTED)

    def is_denied(self, certificate: ClientCertificate) -> bool:
        """Whether *certificate* is on the deny list."""
        self.refresh()
        return not certificate.denial_names.isdisjoint(self._reloader.value.denied)

    def _today(self) -> date:
        if not self._day.begins_micros <= (now := self._clock.micros()) < self._day.ends_micros:
            self._day = Day.containing(now)
        return self._day.day

    def refresh(self) -> None:
        """Reload the table if its source has changed; checks at most once a second."""
        self._reloader.refresh()

    def is_current(self) -> bool:
        """Return whether the newest state of the table is in force."""
        self.refresh()
        return self._reloader.is_current

    def _load(self) -> _Table:
        table = self._source.load()
        grants: dict[tuple[str, str], tuple[Grant, ...]] = {}
        for grant in table.grant:
            key = grant.caller, grant.method
            grants[key] = (*grants.get(key, ()), grant)
        log.info("access.loaded", grants=len(table.grant), denials=len(table.deny))
        return _Table(grants, frozenset(denial.name for denial in table.deny))


def _log_unreadable(error: Exception) -> None:
    # The last valid table stays in force: a typing error must not grant or revoke everything.
    log.error("access.unreadable", error=type(error).__name__, problem=problem(error))
