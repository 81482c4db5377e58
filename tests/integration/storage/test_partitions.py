"""PostgreSQL: the entries are partitioned by index, and each next partition exists before it is needed."""

from contextlib import closing

import pytest

from development.sandbox import Sandbox
from estelam.core.model import person_subject
from estelam.ledger import partitions, search
from estelam.storage.store import AccessMode, Store
from tests.integration.storage.test_ledger import Writer

on_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True, scope="session")


def names(store: Store) -> list[str]:
    with store.transaction() as connection:
        query = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'ledger.entry'::regclass ORDER BY 1"
        return list(connection.exec_driver_sql(query).scalars())


@on_postgresql
def test_partitions_are_created_ahead(sandbox: Sandbox) -> None:
    """A commit that begins a partition creates the next one; what is in different partitions is found together."""
    writer = Writer(sandbox)
    with closing(writer.store):
        before = names(writer.store)
        writer.begin_at(partitions.ENTRIES - 2)
        receipts = writer.write(*range(5))
        after = names(writer.store)
        with writer.store.transaction() as connection:
            found = search.entries_about(connection, writer.keyring, person_subject("9990000018"))
            query = 'SELECT count(*) FROM ledger.entry GROUP BY tableoid ORDER BY min("index")'
            counts = connection.exec_driver_sql(query).scalars().all()

    assert ["ledger.entry_000000", "ledger.entry_000001"] == before
    assert [*before, "ledger.entry_000002"] == after
    assert [2, 3] == counts
    assert [receipt.index for receipt in receipts] == [each.index for each in found]


@on_postgresql
def test_partitions_have_plain_indexes(sandbox: Sandbox) -> None:
    """Each partition has an index of each subject, and a search uses them, not a scan."""
    writer = Writer(sandbox)
    with closing(writer.store):
        writer.write(*range(500))
        with writer.store.transaction() as connection:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            plan = (
                connection.exec_driver_sql("EXPLAIN SELECT leaf FROM ledger.entry WHERE subject_1 = 7").scalars().all()
            )

    assert sum("subject_1_idx" in line and "Index" in line for line in plan) == 2


@on_postgresql
def test_long_reader_does_not_delay_a_partition(sandbox: Sandbox) -> None:
    """A reader in a long transaction keeps no commit from creating a partition."""
    writer = Writer(sandbox)
    with closing(writer.store), closing(Store(sandbox.promissory().store, ledger=AccessMode.READ)) as reader:
        writer.begin_at(partitions.ENTRIES - 2)
        with reader.transaction() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM ledger.entry")
            writer.write(*range(5))

            assert "ledger.entry_000002" in names(writer.store)
