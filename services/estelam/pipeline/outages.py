"""Announced outages: the file that tells services when they are out of operation, and who is out now.

Written as a whole by whoever keeps the announcements, and read again within a second of a change. The services look up
nothing within an outage of their own: they say so, and for how long.
"""

import math
import os
import random
import tomllib
from collections.abc import Hashable, Iterable, Mapping
from datetime import timedelta
from json import dumps
from pathlib import Path
from typing import Annotated, Self

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, Strict, ValidationError, model_validator

from estelam.core.clock import Clock, to_micros
from estelam.core.errors import Reason, Refusal

log = structlog.get_logger()

LONGEST = timedelta(days=31)
LONGEST_REASON = 200
LARGEST_FILE = 1 << 20
SPREAD_SECONDS = 30.0
"""Over how long those who were turned away come back, so that the first second after an outage is not the next one."""

Instant = Annotated[AwareDatetime, Strict()]
Words = Annotated[str, Field(min_length=1, max_length=LONGEST_REASON)]


class OutageError(Exception):
    """The file of outages can't be used; the text is for the operator."""


class Outage(BaseModel):
    """One announced outage of one service."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True)

    service: str = Field(pattern=r"^[a-z0-9_.]+\.[A-Z][A-Za-z]*$")
    """The service's name on the wire, package.Service."""
    since: Instant = Field(alias="from")
    until: Instant
    """The first instant after it."""
    reason_fa: Words
    reason_en: Words

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if not timedelta() < self.until - self.since <= LONGEST:
            raise ValueError(f"ends after it begins, and within {LONGEST.days} days")
        return self


class OutageTable(BaseModel):
    """All that the file holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    outage: list[Outage] = []

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read *path*.

        Raises:
            OutageError: it can't be read, has an unknown key, or an outage that can't be meant.
        """
        try:
            if path.stat().st_size > LARGEST_FILE:
                raise OutageError(f"{path}: is larger than a mebibyte")
            return cls.model_validate(tomllib.loads(path.read_text("utf-8")))
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            raise OutageError(f"{path}: {faults}") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
            raise OutageError(f"{path}: {error}") from None

    def save(self, path: Path) -> None:
        """Put this in *path*'s place at once: who reads it sees the old file or the new one."""
        draft = path.with_name(f"{path.name}.new")
        with draft.open("w", encoding="utf-8") as file:
            file.write("# Announced outages, written by `estelam quality outage`; what is over is left out.\n")
            file.writelines(_written(outage) for outage in self.outage)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)


def _written(outage: Outage) -> str:
    # TOML's strings take what JSON's do.
    return (
        f"\n[[outage]]\n"
        f"service = {dumps(outage.service)}\n"
        f"from = {outage.since.isoformat()}\n"
        f"until = {outage.until.isoformat()}\n"
        f"reason_fa = {dumps(outage.reason_fa, ensure_ascii=False)}\n"
        f"reason_en = {dumps(outage.reason_en, ensure_ascii=False)}\n"
    )


Span = tuple[int, int]
"""From and until, in microseconds since 1970."""


class OutageSchedule:
    """The outages in force: read from *path* where there is one, and again within a second of a change there.

    What can't be read changes nothing: what was read last holds, and before anything was read, no outage.
    """

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._next_look = 0.0
        self._seen: Hashable = None
        self._spans: Mapping[str, tuple[Span, ...]] = {}

    def check(self, service: str) -> None:
        """Let nobody past while *service* is out.

        Raises:
            Refusal: OUTAGE_ANNOUNCED, with how long it lasts still.
        """
        if (left := self.remaining_seconds(service)) is not None:
            spread = random.uniform(0, SPREAD_SECONDS)  # noqa: S311 - no secret
            raise Refusal(Reason.OUTAGE_ANNOUNCED, retry_seconds=math.ceil(left + spread))

    def remaining_seconds(self, service: str) -> float | None:
        """How long *service* is out still; None where it is not. Outages that meet are one."""
        self._refresh()
        now = end = self._clock.micros()
        for since, until in self._spans.get(service, ()):
            if since <= end < until:
                end = until
        return (end - now) / 1e6 if end > now else None

    def seconds_until_edge(self, services: Iterable[str], longest: float) -> float:
        """How long until an outage of one of *services* begins or ends; at most *longest*."""
        now = self._clock.micros()
        edges = (edge for service in services for span in self._spans.get(service, ()) for edge in span)
        return min((longest, *((edge - now) / 1e6 for edge in edges if edge > now)))

    def _refresh(self) -> None:
        if self._path is None or (now := self._clock.monotonic()) < self._next_look:
            return
        self._next_look = now + 1
        try:
            if (seen := _stamp(self._path)) != self._seen:
                self._take(OutageTable.load(self._path))
                self._seen = seen
        except Exception as error:  # noqa: BLE001 - nothing that the file may hold is a reason to fail an inquiry
            log.error("outages.unreadable", error=type(error).__name__)

    def _take(self, table: OutageTable) -> None:
        spans: dict[str, tuple[Span, ...]] = {}
        for outage in sorted(table.outage, key=lambda one: one.since):
            span = to_micros(outage.since), to_micros(outage.until)
            spans[outage.service] = (*spans.get(outage.service, ()), span)
        self._spans = spans
        log.info("outages.loaded", outages=len(table.outage))


def _stamp(path: Path) -> Hashable:
    """What differs once the file has changed; None where there is none."""
    try:
        at = path.stat()
    except FileNotFoundError:
        return None
    return at.st_mtime_ns, at.st_size, at.st_ino
