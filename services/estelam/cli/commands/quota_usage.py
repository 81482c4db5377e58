"""What is left of a quota, computed from the inquiries in a ledger."""

import math

from sqlalchemy import Connection

from estelam.auth.grants import Grant
from estelam.core.errors import Reason
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger import search
from estelam.ledger.verified_rows import VerifiedRows

# Refused before the grant was known, or because nothing was left.
FREE_REASONS = frozenset(
    {
        Reason.CERTIFICATE_UNUSABLE,
        Reason.CERTIFICATE_EXPIRED,
        Reason.CERTIFICATE_DENIED,
        Reason.CERTIFICATE_REVOKED,
        Reason.REVOCATION_UNKNOWN,
        Reason.NOT_GRANTED,
        Reason.METHOD_UNKNOWN,
        Reason.QUOTA_EXHAUSTED,
    }
)
WINDOWS = 4
"""Entries of so many refill times are read; before them the quota is taken as full."""
LONGEST_MICROS = 24 * 3_600_000_000


def remaining(connection: Connection, rows: VerifiedRows, grant: Grant, now_micros: int) -> int:
    """Return what is left of *grant*'s quota. Exact where one host serves, whose workers share a bucket.

    Raises:
        LedgerCorruptError, StoreError: an entry is not what *rows* cover, or can't be compared.
    """
    quota = grant.quota
    at = now_micros - min(int(WINDOWS * quota.burst / quota.rate * 1e6), LONGEST_MICROS)
    tokens = float(quota.burst)
    for entry in (stored.entry for stored in rows(search.entries_since(connection, at))):
        if (entry.caller, entry.method) == (grant.caller, grant.method) and entry.refusal not in FREE_REASONS:
            tokens = min(quota.burst, tokens + (entry.answered_at_micros - at) * quota.rate / 1e6)
            if entry.outcome == pb.OUTCOME_REFUSED:
                tokens = min(tokens, max(0.0, tokens - 1))
            else:
                tokens -= quota.miss_cost if entry.outcome == pb.OUTCOME_NO else 1
            at = entry.answered_at_micros
    return max(0, math.floor(min(quota.burst, tokens + (now_micros - at) * quota.rate / 1e6)))
