"""Request and reply metadata: purpose, method lifecycle (RFC 9745, RFC 8594) and rate limit."""

import re
from datetime import UTC, date, datetime, time
from email.utils import format_datetime
from functools import lru_cache
from typing import Final

from estelam.auth import rate_limit
from estelam.auth.authentication import Metadata
from estelam.auth.grants import Grant
from estelam.auth.rate_limit import TokenBucket
from estelam.core.clock import TEHRAN
from estelam.core.errors import Reason, Refusal, Violation
from estelam.core.model import NO_PURPOSE, PURPOSE_KEYS, Inquiry, Purpose
from estelam.core.purpose import decode_purpose
from estelam.receipts.own_call import NONCE, nonce_hash

# A proxy may send the trailers in HPACK's Huffman code (RFC 7541), where 0, 1 and 2 have 5 bits, other digits 6. What
# remains depends on the answer, so each digit has a counterpart of the other length.
_COMPLEMENT = str.maketrans("0123456789", "3330000000")

TRACEPARENT: Final = "traceparent"
TRACEPARENT_PATTERN: Final = "^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$"
_TRACEPARENT: Final = re.compile(TRACEPARENT_PATTERN)


def parse_purpose(metadata: Metadata, grant: Grant) -> Purpose:
    """Parse the purpose of an inquiry from the request *metadata*.

    Raises:
        Refusal: METADATA_MALFORMED, or METADATA_REQUIRED where *grant* requires an entry that is missing.
    """
    given: dict[str, str] = {}
    echo = ""
    for key, value in metadata:
        if (name := PURPOSE_KEYS.get(key)) is None:
            continue
        try:
            if name in given or not isinstance(value, str):
                raise ValueError
            given[name] = decode_purpose(value)
        except ValueError:
            raise Refusal(Reason.METADATA_MALFORMED, [Violation.of(key, "metadata.form")]) from None
        if name == "correlation":
            echo = value
    for key in grant.required_metadata:
        if PURPOSE_KEYS[key] not in given:
            raise Refusal(Reason.METADATA_REQUIRED, [Violation.of(key, "metadata.required")])
    if not given:
        return NO_PURPOSE
    return Purpose(**given, echo=echo)


def parse_nonce(metadata: Metadata) -> bytes:
    """Return the hash of the nonce in the request *metadata*, to which the entry commits; empty without one.

    Raises:
        Refusal: METADATA_MALFORMED.
    """
    values = [value for key, value in metadata if key == NONCE]
    if not values:
        return b""
    try:
        (value,) = values
        return nonce_hash(str(value))
    except ValueError:
        raise Refusal(Reason.METADATA_MALFORMED, [Violation.of(NONCE, "metadata.nonce")]) from None


def parse_traceparent(metadata: Metadata) -> str:
    """Return the trace context (W3C Trace Context) in the request *metadata*; empty without one, or if it is invalid.

    The standard wants an invalid one ignored, and no call to fail for it.
    """
    values = [value for key, value in metadata if key == TRACEPARENT]
    if len(values) != 1 or not isinstance(values[0], str) or _TRACEPARENT.fullmatch(values[0]) is None:
        return ""
    return values[0]


def reply_metadata(
    inquiry: Inquiry | None, grant: Grant | None, bucket: TokenBucket | None
) -> tuple[tuple[str, str], ...]:
    """Return the trailing metadata of a reply, in fixed widths, as far as the call has come.

    It holds the inquiry's id, the caller's own correlation id, the method's lifecycle and the state of the rate limit.
    """
    if inquiry is None:
        return ()
    found: list[tuple[str, str]] = [("estelam-inquiry-id", str(inquiry.id))]
    if inquiry.purpose.echo:
        found.append(("x-inquiry-id", inquiry.purpose.echo))
    if grant is not None:
        found += deprecation_metadata(grant.deprecated, grant.sunset)
    if bucket is not None:
        name = inquiry.method.short_name
        state = rate_limit.bucket_state(bucket, name)
        found.append(("ratelimit-policy", _policy(name, bucket.quota.burst, bucket.quota.rate)))
        remaining, reset = f"{state.remaining:09d}", f"{state.reset_seconds:09d}"
        padding = (remaining + reset).translate(_COMPLEMENT)
        found.append(("ratelimit", f'"{name}";r={remaining};t={reset};p={padding}'))
    return tuple(found)


@lru_cache(maxsize=256)
def deprecation_metadata(deprecated: date | None, sunset: date | None) -> tuple[tuple[str, str], ...]:
    """Return the fields `deprecation` (RFC 9745) and `sunset` (RFC 8594) of a method, from the start of days in Iran.

    Args:
        deprecated: The day from which the method is deprecated.
        sunset: The day from which the method may be removed.
    """
    found = []
    if deprecated is not None:
        found.append(("deprecation", f"@{int(_start_of(deprecated).timestamp())}"))
    if sunset is not None:
        found.append(("sunset", format_datetime(_start_of(sunset).astimezone(UTC), usegmt=True)))
    return tuple(found)


def _start_of(day: date) -> datetime:
    return datetime.combine(day, time(), TEHRAN)


@lru_cache(maxsize=1024)
def _policy(name: str, burst: int, rate: float) -> str:
    # By numbers, not by the quota: the hash of a model costs more than the text.
    return f'"{name}";q={burst};w={max(1, round(burst / rate))}'
