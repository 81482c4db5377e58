"""Announced outages: the file that lists them, and the schedule that services check.

The publisher of the announcements replaces the file as a whole; services reload it within a second. During its own
outage a service looks nothing up: it refuses, with the remaining seconds.
"""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from json import dumps
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Self

import structlog
from pydantic import BaseModel, ConfigDict, Field, model_validator

from estelam.core.clock import Clock, to_micros
from estelam.core.date_fields import Instant
from estelam.core.errors import Reason, Refusal
from estelam.core.exceptions import UserFacingError, problem
from estelam.core.files import open_atomic
from estelam.core.model_files import load_model
from estelam.core.reload import FileReloader

log = structlog.get_logger()

MAX_DURATION = timedelta(days=31)
MAX_REASON_LENGTH = 200
RETRY_SPREAD_SECONDS = 30.0
"""Retries are spread over so long after an outage, so that they do not overload the service."""

ReasonText = Annotated[str, Field(min_length=1, max_length=MAX_REASON_LENGTH)]


class OutageError(UserFacingError):
    """The file of outages is invalid; the text is for the operator."""


class Outage(BaseModel):
    """One announced outage of one service."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True)

    service: str = Field(pattern=r"^[a-z0-9_.]+\.[A-Z][A-Za-z]*$")
    """The service's gRPC name, package.Service."""
    since: Instant = Field(alias="from")
    until: Instant
    """Exclusive."""
    reason_fa: ReasonText
    reason_en: ReasonText

    @model_validator(mode="after")
    def _check_duration(self) -> Self:
        if not timedelta() < self.until - self.since <= MAX_DURATION:
            raise ValueError(f"must end after it begins, within {MAX_DURATION.days} days")
        return self


class OutageTable(BaseModel):
    """The content of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    outage: list[Outage] = []

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load the TOML file *path*.

        Raises:
            OutageError: the file can't be read, has an unknown key, or has an invalid outage.
        """
        return load_model(path, cls, OutageError)

    def save(self, path: Path) -> None:
        """Replace *path* atomically: a reader sees the old file or the new one."""
        with open_atomic(path, encoding="utf-8", durable=True) as file:
            file.write("# Announced outages, written by `estelam quality outage`; past ones are omitted.\n")
            file.writelines(_to_toml(outage) for outage in self.outage)


def _to_toml(outage: Outage) -> str:
    # JSON strings are valid TOML strings.
    return (
        f"\n[[outage]]\n"
        f"service = {dumps(outage.service)}\n"
        f"from = {outage.since.isoformat()}\n"
        f"until = {outage.until.isoformat()}\n"
        f"reason_fa = {dumps(outage.reason_fa, ensure_ascii=False)}\n"
        f"reason_en = {dumps(outage.reason_en, ensure_ascii=False)}\n"
    )


Span = tuple[int, int]
"""Begin and end of an outage, in microseconds since 1970."""


class OutageSchedule:
    """The outages announced in the file *path*, which is reloaded within a second of a change.

    If the file can't be read, the last valid content stays in force; without any, there is no outage.

    Args:
        path: The file; None: there are no outages.
        clock: The clock.
        beside: Services without outages of their own, each with the service whose process serves it.
    """

    def __init__(self, path: Path | None, clock: Clock, beside: Mapping[str, str] = MappingProxyType({})) -> None:
        self._clock = clock
        self._beside = beside
        self._path = path
        self._reloader: FileReloader[Mapping[str, tuple[Span, ...]]] = FileReloader(
            self._files,
            self._load,
            failed=_log_unreadable,
            interval_seconds=1.0,
            monotonic=clock.monotonic,
            initial={},
        )

    def check(self, service: str) -> None:
        """Check that *service* is in operation.

        Raises:
            Refusal: OUTAGE_ANNOUNCED, with the seconds after which to retry.
        """
        if (remaining := self.remaining_seconds(service)) is not None:
            spread = random.uniform(0, RETRY_SPREAD_SECONDS)  # noqa: S311 - no secret
            raise Refusal(Reason.OUTAGE_ANNOUNCED, retry_seconds=math.ceil(remaining + spread))

    def remaining_seconds(self, service: str) -> float | None:
        """Return the seconds until *service* is in operation, or None if it is. Adjacent outages count as one."""
        self._reloader.refresh()
        if not (spans := self._reloader.value.get(self._beside.get(service, service))):
            return None
        now = end = self._clock.micros()
        for since, until in spans:
            if since <= end < until:
                end = until
        return (end - now) / 1e6 if end > now else None

    def seconds_until_edge(self, services: Iterable[str], longest: float) -> float:
        """Return the seconds until an outage of one of *services* begins or ends, at most *longest*."""
        now = self._clock.micros()
        edges = (edge for service in services for span in self._reloader.value.get(service, ()) for edge in span)
        return min((longest, *((edge - now) / 1e6 for edge in edges if edge > now)))

    def is_current(self) -> bool:
        """Return whether the newest state of the file is in force."""
        self._reloader.refresh()
        return self._reloader.is_current

    def _files(self) -> Sequence[Path]:
        return [] if self._path is None else [self._path]

    def _load(self) -> Mapping[str, tuple[Span, ...]]:
        table = OutageTable.load(self._path) if self._path else OutageTable()
        spans: dict[str, tuple[Span, ...]] = {}
        for outage in sorted(table.outage, key=lambda one: one.since):
            span = to_micros(outage.since), to_micros(outage.until)
            spans[outage.service] = (*spans.get(outage.service, ()), span)
        log.info("outages.loaded", outages=len(table.outage))
        return spans


def _log_unreadable(error: Exception) -> None:
    log.error("outages.unreadable", error=type(error).__name__, problem=problem(error))
