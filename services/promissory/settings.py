"""Settings of the promissory service."""

from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from estelam.core.settings import MAX_CONFIRMATION_WINDOW, FeedName, HostPort, StoreSettings, SubjectFields
from estelam.core.subjects import SubjectKind
from estelam.promissory.v1 import note_inquiry_pb2 as pb


class PromissorySettings(StoreSettings):
    """The section [promissory]."""

    SECTION: ClassVar[str] = "promissory"
    MIGRATIONS: ClassVar[str] = "promissory:migrations"
    FEEDS: ClassVar[str] = "promissory.feeds"
    SUBJECTS: ClassVar[SubjectFields] = {
        SubjectKind.PERSON: (pb.CheckNoteRequest, "obligor_id"),
        SubjectKind.SERIAL: (pb.CheckNoteRequest, "serial"),
    }

    listen: HostPort = "127.0.0.1:50051"
    """host:port of the gRPC server."""
    feeds: tuple[FeedName, ...] = ("notes",)
    """The feeds that must be loaded and complete for a NO, which is as of the earliest of their cut-offs.
    Files of other feeds are refused."""
    parties_window: timedelta = Field(default=timedelta(hours=24), ge=timedelta(seconds=1), le=MAX_CONFIRMATION_WINDOW)
    """How long after YES from CheckNote the caller may call GetNoteParties for the serial (R2.2); ISO 8601 duration,
    at most 24 hours."""
