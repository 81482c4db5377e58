"""Which HMAC keys the ledger was written with: each key's id, its first entry, and a value that recognizes the key.

With a wrong key under the right id no entry is found: a search would return nothing about a person who was asked for.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from estelam.core.clock import to_datetime
from estelam.core.dates import format_both, format_day
from estelam.core.keys import HmacKeyring
from estelam.ledger import key_destructions
from estelam.ledger.key_destructions import KeyDestructionNote
from estelam.ledger.tables import checkpoint_table, key_use_table
from estelam.storage.base import StoreError

_use = key_use_table.c
_USES = select(_use.key_id, _use.check_value).order_by(_use.first_index)


class KeyUse(NamedTuple):
    """From which entry on a key was used, and until when. While keys are rotated, entries of two keys mix."""

    key_id: str
    first_index: int
    first_used_at: datetime
    next_index: int | None
    """The first entry under the next key; None: there is none."""
    next_used_at: datetime | None

    def __str__(self) -> str:
        return _entries_text(*self)


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
        return f"{_entries_text(self.key_id, *self[2:])}: the key was destroyed on {format_both(self.destroyed_on)}"


def _entries_text(
    key_id: str, first_index: int, first_used_at: datetime, next_index: int | None, next_used_at: datetime | None
) -> str:
    since, until = (at and format_day(at) for at in (first_used_at, next_used_at))
    end = "the end" if next_index is None else f"about {next_index:,} ({until})"
    return f"entries under key {key_id}, from {first_index:,} ({since}) to {end}"


def uses(connection: Connection) -> list[KeyUse]:
    """Return the keys that the ledger was written with, oldest first."""
    committed = select(func.min(checkpoint_table.c.signed_at_micros)).where(checkpoint_table.c.size > _use.first_index)
    rows = connection.execute(
        select(_use.key_id, _use.first_index, committed.scalar_subquery()).order_by(_use.first_index)
    )
    firsts = [(key_id, first_index, to_datetime(micros)) for key_id, first_index, micros in rows]
    ends = [*(following[1:] for following in firsts[1:]), (None, None)]
    return [KeyUse(*first, *end) for first, end in zip(firsts, ends, strict=False)]


def unsearchable(connection: Connection, keyring: HmacKeyring) -> list[UnsearchableEntries]:
    """Return the entries that no search finds, since their key was destroyed, oldest first."""
    destroyed = keyring.destroyed
    return [
        UnsearchableEntries(use.key_id, destroyed[use.key_id], *use[1:])
        for use in uses(connection)
        if use.key_id in destroyed
    ]


def require_all_keys(connection: Connection, keyring: HmacKeyring) -> None:
    """Check that entries written under any key can be found.

    Raises:
        StoreError: *keyring* lacks a key that the ledger was written with, or holds another key under its id or a key
            that the ledger notes as destroyed. A line that says destroyed is no error: see `unsearchable`.
    """
    used = connection.execute(_USES).all()
    known = {*keyring.ids, *keyring.destroyed}
    if missing := [key_id for key_id, _ in used if key_id not in known]:
        raise StoreError(
            f"the keyring lacks {', '.join(missing)}: entries that were written under it can't be found; add its line"
        )
    require_same_keys(connection, keyring)


def require_same_keys(connection: Connection, keyring: HmacKeyring) -> None:
    """Check that each key of *keyring* is the one that the ledger was written with under its id, and not destroyed.

    Raises:
        StoreError: a key is another one, so that what is written under it would not be found; or the ledger notes that
            it is destroyed.
    """
    known = connection.execute(_USES.where(_use.key_id.in_(keyring.ids)))
    if wrong := [key_id for key_id, check_value in known if keyring.check_value(key_id) != bytes(check_value)]:
        raise StoreError(wrong_keys(wrong))
    if returned := [note for note in key_destructions.notes(connection, iter) if note.key_id in keyring.ids]:
        raise StoreError(_returned_key(returned[-1]))


def wrong_keys(key_ids: Sequence[str]) -> str:
    """Return the message that these keys are not those that the ledger was written with."""
    return (
        f"the keyring holds another key as {', '.join(key_ids)} than the ledger was written with: no entry is found "
        "with it; restore the line from the backup of the keyring, and give a new key an id of its own"
    )


def _returned_key(note: KeyDestructionNote) -> str:
    destroyed_on = format_both(note.destroyed_on)
    return (
        f"the keyring holds the key {note.key_id}, which {note.operator} destroyed on {destroyed_on} by "
        f"note {note.index:,} of the ledger: put the newest keyring in place; or where an older one was restored, run "
        f"`estelam keyring destroy` for {note.key_id} again, after `keyring use` of another key if it is the last one"
    )
