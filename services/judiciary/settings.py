"""Settings of the judiciary service."""

from typing import ClassVar

from estelam.core.settings import FeedName, HostPort, StoreSettings, SubjectFields
from estelam.core.subjects import SubjectKind
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb


class JudiciarySettings(StoreSettings):
    """The section [judiciary]."""

    SECTION: ClassVar[str] = "judiciary"
    MIGRATIONS: ClassVar[str] = "judiciary:migrations"
    FEEDS: ClassVar[str] = "judiciary.feeds"
    SUBJECTS: ClassVar[SubjectFields] = {
        SubjectKind.PERSON: (pb.CheckByNationalIdRequest, "national_id"),
        SubjectKind.TRACKING: (pb.CheckByTrackingIdRequest, "tracking_id"),
    }

    listen: HostPort = "127.0.0.1:50052"
    """host:port of the gRPC server."""
    feeds: tuple[FeedName, ...] = ("cases",)
    """The feeds that must be loaded and complete for a NO, which is as of the earliest of their cut-offs.
    Files of other feeds are refused."""
