"""What a client knows of its own call."""

from datetime import timedelta

import pytest

from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.receipts.own_call import OwnCall, nonce_hash
from estelam.receipts.problems import InvalidReceipt

TOLERANCE = timedelta(microseconds=5)
BEGAN, ENDED = 100, 200


@pytest.mark.parametrize(("micros", "is_own"), [(94, False), (95, True), (205, True), (206, False)])
def test_time(micros: int, *, is_own: bool) -> None:
    """A receipt of this call states a time from its beginning to its end, by clocks that differ by the tolerance."""
    call = OwnCall("caller", BEGAN)
    entry = pb.Entry(caller="caller", nonce=nonce_hash(call.nonce), answered_at_micros=micros)
    try:
        call.check(entry, ENDED, TOLERANCE)
    except InvalidReceipt:
        assert not is_own
    else:
        assert is_own
