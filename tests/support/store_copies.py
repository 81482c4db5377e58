"""Backups of a store, on either engine."""

import shutil
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import make_url

from estelam.core.addresses import beside
from tools.env.postgres import PostgresCluster


def forget_checkpoints(url: str) -> None:
    """Remove the checkpoints beside the store at *url*, if it is on SQLite, as a restored host has none."""
    for ending in ("checkpoint", "checkpoint.last"):
        if path := beside(url, ending):
            path.unlink(missing_ok=True)


def back_up(url: str, folder: Path, cluster: PostgresCluster | None) -> Callable[[], None]:
    """Copy the store at *url*, to *folder* or to another database of *cluster*; return what restores the copy."""
    if cluster is None:
        store = Path(url.removeprefix("sqlite:///"))
        shutil.copytree(store, folder)

        def restore_files() -> None:
            shutil.rmtree(store)
            shutil.copytree(folder, store)

        return restore_files
    name = str(make_url(url).database)
    copy = cluster.database(name)

    def restore_database() -> None:
        with cluster.connect() as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {copy}")

    return restore_database
