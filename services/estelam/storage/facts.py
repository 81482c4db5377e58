"""Tables that the facts of every service have: coverage, loads, and former subjects.

They are apart from `estelam.loading`, which needs much more than the readers of these tables do.
"""

from sqlalchemy import BigInteger, Column, Date, Integer, MetaData, Table, Text

from estelam.storage.base import FACTS

FACTS_METADATA = MetaData(schema=FACTS)
CODE = Text().with_variant(Text(collation="C"), "postgresql")
"""Type of an identifier or a code word: compared and ordered by its bytes, whatever the locale of the database."""

# One row. `since`: the first date from which the facts are complete. `through`: the feed is loaded up to this instant.
coverage_table = Table(
    "coverage",
    FACTS_METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("since", Date, nullable=False),
    Column("through_micros", BigInteger, nullable=False),
)

# Every committed load. Rows of the facts carry the number of the load that changed them last.
load_table = Table(
    "load",
    FACTS_METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("file", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("loaded_at_micros", BigInteger, nullable=False),
    # The first covered date after the load. NULL: the load is older than this column and `former_subject`.
    Column("covered_since", Date),
)

# Subjects of rows that a load changed or removed: earlier answers about them may differ from today's.
former_subject_table = Table(
    "former_subject",
    FACTS_METADATA,
    Column("load_number", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("value", Text, nullable=False),
)
