"""Announced outages: the file that tells services when they are out of operation, and who is out now.

Written as a whole by whoever keeps the announcements, and read again within a second of a change. The services look up
nothing within an outage of their own: they say so, and for how long.
"""

import math
import random
from collections.abc import Iterable, Mapping
from datetime import timedelta
from json import dumps
from pathlib import Path
from typing import Annotated, Self

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, Strict, model_validator

from estelam.core.clock import Clock, to_micros
from estelam.core.errors import Reason, Refusal
from estelam.core.exceptions import UserFacingError
from estelam.core.files import FileReloader, open_atomic
from estelam.core.model_files import load_model

log = structlog.get_logger()

LONGEST = timedelta(days=31)
LONGEST_REASON = 200
SPREAD_SECONDS = 30.0
"""Over how long those who were turned away come back, so that the first second after an outage is not the next one."""

Instant = Annotated[AwareDatetime, Strict()]
Words = Annotated[str, Field(min_length=1, max_length=LONGEST_REASON)]


class OutageError(UserFacingError):
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
        return load_model(path, cls, OutageError)

    def save(self, path: Path) -> None:
        """Put this in *path*'s place at once: who reads it sees the old file or the new one."""
        with open_atomic(path, encoding="utf-8", durable=True) as file:
            file.write("# Announced outages, written by `estelam quality outage`; what is over is left out.\n")
            file.writelines(_written(outage) for outage in self.outage)


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
        self._clock = clock
        self._path = path
        self._reloader: FileReloader[Mapping[str, tuple[Span, ...]]] = FileReloader(
            lambda: () if path is None else (path,),
            self._load,
            interval_seconds=1.0,
            monotonic=clock.monotonic,
            initial={},
        )

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
        for since, until in self._reloader.value.get(service, ()):
            if since <= end < until:
                end = until
        return (end - now) / 1e6 if end > now else None

    def seconds_until_edge(self, services: Iterable[str], longest: float) -> float:
        """How long until an outage of one of *services* begins or ends; at most *longest*."""
        now = self._clock.micros()
        edges = (edge for service in services for span in self._reloader.value.get(service, ()) for edge in span)
        return min((longest, *((edge - now) / 1e6 for edge in edges if edge > now)))

    def _refresh(self) -> None:
        try:
            self._reloader.refresh()
        except Exception as error:  # noqa: BLE001 - nothing that the file may hold is a reason to fail an inquiry
            log.error("outages.unreadable", error=type(error).__name__)

    def _load(self) -> Mapping[str, tuple[Span, ...]]:
        table = OutageTable.load(self._path) if self._path else OutageTable()
        spans: dict[str, tuple[Span, ...]] = {}
        for outage in sorted(table.outage, key=lambda one: one.since):
            span = to_micros(outage.since), to_micros(outage.until)
            spans[outage.service] = (*spans.get(outage.service, ()), span)
        log.info("outages.loaded", outages=len(table.outage))
        return spans
