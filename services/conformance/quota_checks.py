"""Checks the numbers of the rate limit: they must follow from the caller's grant and agree with one another."""

import math
import re
from collections.abc import Iterator

from conformance.case import Expected
from conformance.client import CallResult
from conformance.fixtures.grants import ORGANIZATIONS, TABLE
from conformance.mismatch import QUOTA, Mismatch

RUN_SECONDS = 60
"""In a run that takes no longer, an exhausted quota of the fixtures regains no more than it does in this time."""
_GRANTS = {(ORGANIZATIONS[each.certificate], method): each for each in TABLE for method in each.methods}
_POLICY = re.compile(r";q=(\d+);w=(\d+)", re.ASCII)
_STATE = re.compile(r";r=(\d+);t=(\d+)", re.ASCII)


def check_expected(expect: Expected, result: CallResult) -> Iterator[Mismatch]:
    """Yield each number of the trailers that is not the one that the step expects."""
    forms = {
        "limit": ("ratelimit-policy", r";q=(\d+)", 0),
        "remaining": ("ratelimit", r";r=(\d+)", 0),
        "reset": ("ratelimit", r";t=(\d+)", RUN_SECONDS),
    }
    for name, wanted in expect.quota.items():
        key, form, tolerance = forms[name]
        found = re.search(form, result.text(key), re.ASCII)
        if found is None or not wanted - tolerance <= int(found[1]) <= wanted:
            yield Mismatch(f"{key}: {name} {wanted}", result.seen(key), QUOTA)


def check_grant(result: CallResult, organization: str, method: str) -> Iterator[Mismatch]:
    """Yield each number of the trailers that can't be true of *organization*'s grant for *method* (its full name)."""
    grant = _GRANTS.get((organization, method))
    policy = _POLICY.search(result.text("ratelimit-policy"))
    state = _STATE.search(result.text("ratelimit"))
    if grant is None or policy is None or state is None:
        return
    limit, window = map(int, policy.groups())
    remaining, reset = map(int, state.groups())
    full = grant.burst / grant.rate
    if limit != grant.burst or abs(window - full) > 1:
        wanted = f"ratelimit-policy: q={grant.burst}, w={max(1, round(full))}, as granted"
        yield Mismatch(wanted, result.seen("ratelimit-policy"), QUOTA)
    debt = grant.miss_cost if remaining == 0 else 0
    least = math.floor((grant.burst - remaining - 1) / grant.rate)
    most = math.ceil((grant.burst - remaining + debt) / grant.rate) + 1
    if not least <= reset <= most:
        yield Mismatch(f"ratelimit: r={remaining} with t of {least} to {most}", result.seen("ratelimit"), QUOTA)
