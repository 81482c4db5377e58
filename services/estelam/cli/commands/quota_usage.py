"""How much of a quota is left, as far as a ledger can tell: what was spent stands there, inquiry by inquiry."""

import math

from sqlalchemy import Connection

from estelam.auth.grants import Grant
from estelam.core.errors import Reason
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger import search

# Declined before the quota is asked, or by it: these cost nothing.
FREE_REASONS = frozenset(
    {
        Reason.CERTIFICATE_UNUSABLE,
        Reason.CERTIFICATE_EXPIRED,
        Reason.CERTIFICATE_DENIED,
        Reason.NOT_GRANTED,
        Reason.METADATA_REQUIRED,
        Reason.METADATA_MALFORMED,
        Reason.REQUEST_MALFORMED,
        Reason.REQUEST_TOO_LARGE,
        Reason.FIELD_UNKNOWN,
        Reason.FIELD_INVALID,
        Reason.METHOD_UNKNOWN,
        Reason.QUOTA_EXHAUSTED,
    }
)
WINDOWS = 4
"""Looked back is so many times what it takes an empty quota to be full again; before that, it is taken for full."""
LONGEST_MICROS = 24 * 3_600_000_000


def remaining(connection: Connection, grant: Grant, now_micros: int) -> int:
    """What the ledger leaves of *grant*'s quota: exact where one worker serves, since each keeps a quota of its own."""
    quota = grant.quota
    at = now_micros - min(int(WINDOWS * quota.burst / quota.rate * 1e6), LONGEST_MICROS)
    tokens = float(quota.burst)
    for entry in search.entries_since(connection, at):
        if (entry.caller, entry.method) == (grant.caller, grant.method) and entry.refusal not in FREE_REASONS:
            tokens = min(quota.burst, tokens + (entry.answered_at_micros - at) * quota.rate / 1e6)
            tokens -= quota.miss_cost if entry.outcome == pb.OUTCOME_NO else 1
            at = entry.answered_at_micros
    return max(0, math.floor(min(quota.burst, tokens + (now_micros - at) * quota.rate / 1e6)))
