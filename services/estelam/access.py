"""Who may ask what: one table of exact caller x exact method, and a deny-list. Anything else is refused."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from estelam.clock import IRAN, Clock, to_datetime, to_micros
from estelam.errors import Reason, Refusal
from estelam.settings import Fingerprint
from estelam.vocabulary import Caller, Method

log = structlog.get_logger()

Demand = Literal["x-inquiry-id", "x-case-reference", "x-operator"]


class AccessError(Exception):
    """The access table can't be used; the text is for the operator."""


class Quota(BaseModel):
    """A token bucket: it holds *burst* tokens and regains *rate* a second; an answer NO costs *miss_cost* in all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rate: float = Field(gt=0)
    burst: int = Field(ge=1)
    miss_cost: int = Field(ge=1, default=1)


class Grant(BaseModel):
    """One caller's right to one method."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    caller: str = Field(pattern="^[0-9]{11}$")
    method: str = Field(min_length=1)
    clause: str = Field(min_length=1)
    since: date
    until: date | None = None
    quota: Quota
    demands: tuple[Demand, ...] = ()


class Denial(BaseModel):
    """A barred certificate."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    certificate: Fingerprint
    reason: str = Field(min_length=1)


class AccessTable(BaseModel):
    """The whole table, as its TOML file holds it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    grant: tuple[Grant, ...] = Field(min_length=1)
    deny: tuple[Denial, ...] = ()

    @classmethod
    def load(cls, path: Path) -> "AccessTable":
        """Read *path*.

        Raises:
            AccessError: it can't be read, has an unknown key, holds no grant, or grants one caller one method twice.
        """
        try:
            table = cls.model_validate(tomllib.loads(path.read_text("utf-8")))
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            raise AccessError(f"{path}: {faults}") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise AccessError(f"{path}: {error}") from error
        pairs = [(grant.caller, grant.method) for grant in table.grant]
        if len(set(pairs)) != len(pairs):
            raise AccessError(f"{path}: a caller is granted a method twice")
        return table


@dataclass(frozen=True, slots=True)
class Day:
    """A calendar day in Iran and the instants it lies between, by the zone's own rules."""

    day: date
    begins_micros: int
    ends_micros: int

    @classmethod
    def holding(cls, micros: int) -> "Day":
        """The day that an instant lies in."""
        today = to_datetime(micros).astimezone(IRAN).date()
        begins = datetime.combine(today, time(), IRAN)
        ends = datetime.combine(today + timedelta(days=1), time(), IRAN)
        return cls(today, to_micros(begins), to_micros(ends))


class Access:
    """The table in force: read from its file, and again within a second of the file's change."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._next_look = 0.0
        self._seen = 0
        self._day = Day.holding(clock.micros())
        self._grants: Mapping[tuple[str, str], Grant] = {}
        self._denied: frozenset[str] = frozenset()
        self._load()

    def admit(self, caller: Caller, method: Method) -> Grant:
        """The grant by which *caller* may ask *method* today, by Iran's calendar day.

        Raises:
            Refusal: CERTIFICATE_DENIED or NOT_GRANTED.
        """
        if self.barred(caller.certificate):
            raise Refusal(Reason.CERTIFICATE_DENIED)
        grant = self._grants.get((caller.organization_id, method.name))
        if grant is None:
            raise Refusal(Reason.NOT_GRANTED)
        today = self._today()
        if today < grant.since or (grant.until is not None and today > grant.until):
            raise Refusal(Reason.NOT_GRANTED)
        return grant

    def barred(self, fingerprint: str) -> bool:
        """Whether the deny-list bars the certificate *fingerprint*."""
        self._refresh()
        return fingerprint in self._denied

    def _today(self) -> date:
        if not self._day.begins_micros <= (now := self._clock.micros()) < self._day.ends_micros:
            self._day = Day.holding(now)
        return self._day.day

    def _refresh(self) -> None:
        if (now := self._clock.monotonic()) < self._next_look:
            return
        self._next_look = now + 1
        try:
            if self._path.stat().st_mtime_ns != self._seen:
                self._load()
        except (OSError, AccessError) as error:
            # The table last read stays in force: a slip of the pen must not open or close every door.
            log.error("access.unreadable", error=type(error).__name__)

    def _load(self) -> None:
        seen = self._path.stat().st_mtime_ns if self._path.exists() else 0
        table = AccessTable.load(self._path)
        grants = {(grant.caller, grant.method): grant for grant in table.grant}
        denied = frozenset(denial.certificate for denial in table.deny)
        # Both or neither: new grants never stand beside an old deny-list.
        self._grants, self._denied, self._seen = grants, denied, seen
        log.info("access.loaded", grants=len(table.grant), denials=len(table.deny))
