"""The privileges of the roles that use a store on PostgreSQL beside its owner; `estelam migrate` grants them.

A migration that creates a table anew drops what was granted on it, and a new table has no grants. So each migration
grants everything again, in its own transaction.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from psycopg.errors import UndefinedObject
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from estelam.storage.base import StoreError


class Role(StrEnum):
    """A use of a store by a role that is not its owner; its setting is the value with `_role`."""

    SERVING = "serving"
    """Reads facts and appends to the ledger, and can neither change nor delete entries."""
    MONITORING = "monitoring"
    """Reads the ledger, which names no person, and the freshness of the data, and nothing else."""
    RECALL = "recall"
    """Reads facts and ledger, and stores that recall was run, and can change nothing."""


_USE_BOTH = ("USAGE ON SCHEMA facts, ledger", "SELECT ON ALL TABLES IN SCHEMA facts, ledger")
_GRANTS: Mapping[Role, Sequence[str]] = {
    Role.SERVING: (
        *_USE_BOTH,
        "INSERT ON ledger.entry, ledger.checkpoint, ledger.node, ledger.key_use, ledger.fact_note, ledger.annulment",
        "INSERT ON ledger.cosignature, ledger.answer_change, ledger.answer_comparison, ledger.change_notice",
        "INSERT, DELETE ON ledger.confirmation",
        "EXECUTE ON FUNCTION ledger.add_partitions()",
        # Each batch locks this table to serialize writes, which needs a privilege; it has none on its rows.
        "MAINTAIN ON ledger.alembic_version",
    ),
    Role.MONITORING: (
        "USAGE ON SCHEMA facts, ledger",
        "SELECT ON ledger.entry, ledger.checkpoint, ledger.node, ledger.annulment, ledger.archive, facts.coverage",
    ),
    Role.RECALL: (*_USE_BOTH, "INSERT ON facts.recall_run"),
}


def grant(connection: Connection, roles: Mapping[Role, str]) -> None:
    """Grant to each of *roles*, names of roles of the database by their use, the privileges of its use.

    Raises:
        StoreError: the database has no such role.
    """
    quote = connection.dialect.identifier_preparer.quote_identifier
    for use, name in roles.items():
        try:
            for privileges in _GRANTS[use]:
                connection.exec_driver_sql(f"GRANT {privileges} TO {quote(name)}")
        except DBAPIError as error:
            if isinstance(error.orig, UndefinedObject):
                raise StoreError(f"{use}_role: the database has no role {name}; create it: createuser {name}") from None
            raise
