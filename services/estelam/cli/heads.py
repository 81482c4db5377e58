"""Heads of ledgers as people type them."""

import re

from estelam.core import normalize
from estelam.core.exceptions import UsageError
from estelam.receipts.tree import MAX_SIZE


def parse_head(option: str, text: str) -> tuple[int, bytes]:
    """Return size and root of a head as `ledger verify` prints it, whatever case, digits or blanks it was typed with.

    Raises:
        UsageError: *text* is no head, so that it proves nothing of the ledger.
    """
    found = re.fullmatch(r"([0-9]{1,19}):([0-9a-f]{64})", "".join(normalize.normalize_digits(text).lower().split()))
    if found is None or int(found[1]) > MAX_SIZE:
        raise UsageError(
            f"{option} {text}: give SIZE:ROOT with all 64 hexadecimal digits, as `ledger verify` prints it"
        )
    return int(found[1]), bytes.fromhex(found[2])
