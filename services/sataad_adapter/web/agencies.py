"""The agencies that the page suggests: Setad's members by id, from the file that is loaded at the ministry too."""

import csv
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import structlog

from estelam.core import normalize, validation
from estelam.core.clock import Clock
from estelam.core.exceptions import UserFacingError, problem
from estelam.core.reload import FileReloader
from estelam.setad.v1 import note_verification_pb2 as pb

log = structlog.get_logger()

MAX_AGENCIES = 50_000
MAX_SUGGESTED = 250
"""Most agencies in a page: longer lists are searched when the form is sent."""
_COLUMNS = {"agency_id", "name"}


class AgencyListError(UserFacingError):
    """The file is no list of agencies. The message is for the operator."""


def read_agencies(path: Path | None) -> Mapping[str, str]:
    """Return the names of the agencies in the file *path* (CSV in UTF-8 with `agency_id` and `name`) by their ids.

    Raises:
        AgencyListError: the file has another form.
        OSError: the file can't be read.
    """
    if path is None:
        return {}
    names: dict[str, str] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            if not _COLUMNS.issubset(reader.fieldnames or ()):
                raise AgencyListError(f"{path}: line 1: the header must name the columns agency_id and name")
            for row in reader:
                agency = normalize.normalize_identifier(row["agency_id"] or "")
                name = normalize.normalize_text(normalize.normalize_name(row["name"] or ""))
                if wrong := validation.field_violation(pb.VerifyNoteRequest, "executive_agency_id", agency):
                    raise AgencyListError(f"{path}: line {reader.line_num}: agency_id {wrong}")
                if not name or agency in names:
                    what = "is there twice" if agency in names else "has no name"
                    raise AgencyListError(f"{path}: line {reader.line_num}: the agency {agency} {what}")
                if len(names) == MAX_AGENCIES:
                    raise AgencyListError(f"{path}: has more than {MAX_AGENCIES:,} agencies")
                names[agency] = name
        except (csv.Error, UnicodeDecodeError) as error:
            raise AgencyListError(f"{path}: line {reader.line_num + 1}: is not CSV in UTF-8: {error}") from None
    return names


class Agencies:
    """The agencies of the file *path*, read again when it changes; none without a file.

    Raises:
        AgencyListError, OSError: see `read_agencies`.
    """

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._reloader = FileReloader(
            lambda: (path,) if path else (),
            partial(read_agencies, path),
            failed=_log_unreadable,
            interval_seconds=1.0,
            monotonic=clock.monotonic,
        )
        self._reloader.refresh()

    def name(self, agency: str) -> str:
        """Return the name of the agency with this id; empty if the list does not have it."""
        return self._names().get(agency, "")

    def id_of(self, typed: str) -> str:
        """Return the id of the one agency with the name *typed*; else *typed* itself."""
        name = normalize.normalize_text(normalize.normalize_name(typed))
        found = [agency for agency, each in self._names().items() if each == name]
        return found[0] if len(found) == 1 else typed

    def suggested(self, typed: str) -> Mapping[str, str]:
        """Return the agencies to choose from; of a long list those whose id or name contains *typed*."""
        names = self._names()
        if len(names) <= MAX_SUGGESTED:
            return names
        part = normalize.normalize_text(normalize.normalize_name(typed))
        found = ((agency, name) for agency, name in names.items() if part and (part in agency or part in name))
        return dict(item for item, _ in zip(found, range(MAX_SUGGESTED), strict=False))

    def _names(self) -> Mapping[str, str]:
        self._reloader.refresh()
        return self._reloader.value


def _log_unreadable(error: Exception) -> None:
    log.error("agencies.unreadable", error=type(error).__name__, problem=problem(error))
