"""The profiles of the conformance kit. It imports little: shell completion needs their names."""

from enum import StrEnum


class Profile(StrEnum):
    """A set of requirements with a verdict of its own. Each includes `core`; `full` includes all."""

    CORE = "core"
    """What the resolutions order, with authorization and a NO that is earned: right answers, and refusals elsewhere."""
    ERRORS = "errors"
    """The details of refusals, the limits, and metadata."""
    RECEIPTS = "receipts"
    """The ledger and its receipts."""
    FULL = "full"
    """Everything, with health, lengths and faults below gRPC."""

    def includes(self, other: "Profile") -> bool:
        """Return whether the requirements of *other* are among this profile's."""
        return self is Profile.FULL or other in (self, Profile.CORE)
