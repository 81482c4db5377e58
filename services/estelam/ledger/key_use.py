"""Which HMAC keys the ledger was written with: each key's id, its first entry, and a value that recognizes the key.

With a wrong key under the right id no entry is found: a search would return nothing about a person who was asked for.
"""

from sqlalchemy import Connection, select

from estelam.core.keys import HmacKeyring
from estelam.ledger.tables import key_use_table
from estelam.storage.base import StoreError

_use = key_use_table.c
_USES = select(_use.key_id, _use.check_value).order_by(_use.first_index)


def is_stored(connection: Connection, keyring: HmacKeyring) -> bool:
    """Return whether an entry was written under the current key of *keyring*.

    Raises:
        StoreError: another key was used under its id.
    """
    stored = connection.execute(_USES.where(_use.key_id == keyring.current)).first() is not None
    if stored:
        require_same_keys(connection, keyring)
    return stored


def require_all_keys(connection: Connection, keyring: HmacKeyring) -> None:
    """Check that entries written under any key can be found.

    Raises:
        StoreError: *keyring* lacks a key that the ledger was written with, or holds another key under its id.
    """
    used = connection.execute(_USES).all()
    if missing := [key_id for key_id, _ in used if key_id not in keyring.ids]:
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
        raise StoreError(
            f"the keyring holds another key as {', '.join(wrong)} than the ledger was written with: no entry is found "
            "with it; restore the line from the backup of the keyring, and give a new key an id of its own"
        )
