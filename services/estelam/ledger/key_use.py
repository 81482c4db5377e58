"""Which HMAC keys the ledger was written with: each key's id, its first entry, and a value that recognizes the key.

With a wrong key under the right id no entry is found: a search would return nothing about a person who was asked for.
"""

from collections.abc import Sequence
from datetime import date, datetime
from itertools import zip_longest
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from estelam.core.clock import TEHRAN, to_datetime
from estelam.core.dates import format_both
from estelam.core.keys import HmacKeyring
from estelam.ledger.tables import checkpoint_table, key_use_table
from estelam.storage.base import StoreError

_use = key_use_table.c
_USES = select(_use.key_id, _use.check_value).order_by(_use.first_index)


class KeyUse(NamedTuple):
    """From when on a key was used."""

    key_id: str
    first_index: int
    first_used_at: datetime


class UnsearchableEntries(NamedTuple):
    """The entries under a destroyed key, which no search finds. While keys are rotated, entries of two keys mix."""

    key_id: str
    destroyed_on: date
    first_index: int
    first_used_at: datetime
    next_index: int | None
    """The first entry under the next key; None: there is none."""
    next_used_at: datetime | None

    def __str__(self) -> str:
        since, until = (
            at and format_both(at.astimezone(TEHRAN).date()) for at in (self.first_used_at, self.next_used_at)
        )
        end = "the end" if self.next_index is None else f"about {self.next_index:,} ({until})"
        return (
            f"entries under key {self.key_id}, from {self.first_index:,} ({since}) to {end}: the key was destroyed on "
            f"{format_both(self.destroyed_on)}"
        )


def uses(connection: Connection) -> list[KeyUse]:
    """Return the keys that the ledger was written with, oldest first."""
    committed = select(func.min(checkpoint_table.c.signed_at_micros)).where(checkpoint_table.c.size > _use.first_index)
    rows = connection.execute(
        select(_use.key_id, _use.first_index, committed.scalar_subquery()).order_by(_use.first_index)
    )
    return [KeyUse(key_id, first_index, to_datetime(micros)) for key_id, first_index, micros in rows]


def unsearchable(connection: Connection, keyring: HmacKeyring) -> list[UnsearchableEntries]:
    """Return the entries that no search finds, since their key was destroyed, oldest first."""
    used = uses(connection)
    found = []
    for use, following in zip_longest(used, used[1:]):
        if use.key_id in keyring.destroyed:
            end = (following.first_index, following.first_used_at) if following else (None, None)
            found.append(UnsearchableEntries(use.key_id, keyring.destroyed[use.key_id], *use[1:], *end))
    return found


def require_all_keys(connection: Connection, keyring: HmacKeyring) -> None:
    """Check that entries written under any key can be found.

    Raises:
        StoreError: *keyring* lacks a key that the ledger was written with, or holds another key under its id. A
            destroyed key is no error: see `unsearchable`.
    """
    used = connection.execute(_USES).all()
    known = {*keyring.ids, *keyring.destroyed}
    if missing := [key_id for key_id, _ in used if key_id not in known]:
        raise StoreError(
            f"the keyring lacks {', '.join(missing)}: entries that were written under it can't be found; add its line"
        )
    require_same_keys(connection, keyring)


def require_same_keys(connection: Connection, keyring: HmacKeyring) -> None:
    """Check that each key of *keyring* is the one that the ledger was written with under its id.

    Raises:
        StoreError: a key is another one, so that what is written under it would not be found.
    """
    known = connection.execute(_USES.where(_use.key_id.in_(keyring.ids)))
    if wrong := [key_id for key_id, check_value in known if keyring.check_value(key_id) != bytes(check_value)]:
        raise StoreError(wrong_keys(wrong))


def wrong_keys(key_ids: Sequence[str]) -> str:
    """Return the message that these keys are not those that the ledger was written with."""
    return (
        f"the keyring holds another key as {', '.join(key_ids)} than the ledger was written with: no entry is found "
        "with it; restore the line from the backup of the keyring, and give a new key an id of its own"
    )
