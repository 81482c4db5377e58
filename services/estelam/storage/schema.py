"""Whether a store has the newest schema: without Alembic, which a service does not need to import."""

from collections.abc import Mapping
from functools import cache
from importlib import resources

from sqlalchemy import Text, column, select, table

from estelam.storage.base import FACTS, LEDGER, StoreError
from estelam.storage.store import Store

ENVIRONMENT = "estelam.storage:migrations"


def check_schema(store: Store, scripts: str) -> None:
    """Check that both halves of *store* have the newest schema.

    Args:
        store: The store.
        scripts: The service's own chain of migrations, for the facts, as "package:folder".

    Raises:
        StoreError: one has not, or the store can't be opened.
    """
    try:
        with store.transaction() as connection:
            for schema, location in chains(scripts).items():
                revision = select(column("version_num", Text)).select_from(table("alembic_version", schema=schema))
                if connection.scalars(revision).all() != [newest_revision(location)]:
                    raise StoreError("the store's schema is not current; run: estelam migrate")
    except StoreError:
        raise
    except Exception as error:
        raise StoreError("the store can't be opened; run: estelam migrate") from error


def chains(scripts: str) -> Mapping[str, str]:
    """Return the chain of migrations of each half, as "package:folder", where that of the facts is *scripts*."""
    return {LEDGER: ENVIRONMENT, FACTS: scripts}


@cache
def newest_revision(location: str) -> str:
    """Return NNNN of the last file versions/NNNN_name.py in the chain *location* ("package:folder")."""
    package, _, folder = location.partition(":")
    names = (file.name for file in resources.files(package).joinpath(folder, "versions").iterdir())
    return max(name.partition("_")[0] for name in names if name.endswith(".py") and name[0].isdigit())
