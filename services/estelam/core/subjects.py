"""Kinds of the identifiers by which inquiries are found in a ledger."""

from enum import StrEnum


class SubjectKind(StrEnum):
    """The kind of an identifier that ledgers index."""

    PERSON = "person"
    SERIAL = "serial"
    TRACKING = "tracking"
