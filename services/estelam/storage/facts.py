"""Tables that the facts of every service have: coverage, loads, former subjects, and runs of recall.

They are apart from `estelam.loading`, which needs much more than the readers of these tables do.
"""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Date, Index, Integer, MetaData, Table, Text

from estelam.storage.base import FACTS

FACTS_METADATA = MetaData(schema=FACTS)
CODE = Text().with_variant(Text(collation="C"), "postgresql")
"""Type of an identifier or a code word: compared and ordered by its bytes, whatever the locale of the database."""

# One row, derived from the loads of the required feeds. `since`: the first date from which the facts are complete.
# `as_of`: the instant up to which all required feeds are loaded. `tracking_since`: the first date from which cases are
# linked to the certificates of their cheques. `feeds`: the names of the required feeds, separated by spaces.
coverage_table = Table(
    "coverage",
    FACTS_METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("since", Date, nullable=False),
    Column("as_of_micros", BigInteger, nullable=False),
    Column("tracking_since", Date),
    Column("feeds", Text, nullable=False),
)

# Every committed load, in one sequence for all feeds. Rows of the facts carry the number of the load that changed them
# last.
load_table = Table(
    "load",
    FACTS_METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("feed", Text, nullable=False),
    # Its number in the feed.
    Column("feed_number", Integer, nullable=False),
    Column("file", Text, nullable=False),
    # The SHA-256 of the decompressed content.
    Column("sha256", Text, nullable=False),
    # The digest of its rows, by which they are recognized in another form (`estelam.loading.rows_digest`).
    Column("rows_digest", Text, nullable=False),
    # The instant at which the source cut the file from its register.
    Column("cut_at_micros", BigInteger, nullable=False),
    # Whether the file held all rows of its feed, so that stored rows it lacked were removed.
    Column("whole", Boolean, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("added", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("unchanged", BigInteger, nullable=False),
    Column("removed", BigInteger, nullable=False),
    Column("loaded_at_micros", BigInteger, nullable=False),
    # The feed's own declarations as they stand after the load: the first date from which it is complete, and the first
    # from which it links cases to certificates. NULL: it has declared none.
    Column("complete_since", Date),
    Column("tracking_since", Date),
    # The columns that files of the feed may lack and have had so far, separated by spaces.
    Column("optional_columns", Text, nullable=False),
    # How the file treated the stored parties of its cases. NULL: it was no file of cases.
    Column("parties", Text),
    # The first covered date of the store after the load.
    Column("covered_since", Date, nullable=False),
    # The feed whose records in the file became records of the file's feed. NULL: of none.
    Column("taken_feed", Text),
)

# Subjects of rows that a load changed or removed: earlier answers about them may differ from today's.
former_subject_table = Table(
    "former_subject",
    FACTS_METADATA,
    Column("load_number", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("value", Text, nullable=False),
    Index("former_subject_load", "load_number"),
)

# Records that a whole file no longer had: a file of another feed that was cut earlier must not bring them back.
removed_record_table = Table(
    "removed_record",
    FACTS_METADATA,
    Column("load_number", Integer, primary_key=True, autoincrement=False),
    # The value of the first key column of the feed.
    Column("record", CODE, primary_key=True),
)

# Every run of recall, which adds its row before it shows any answer. The service notes it in the ledger.
recall_run_table = Table(
    "recall_run",
    FACTS_METADATA,
    # Also identifies the run: unlike a count, it is not given twice where the facts are restored from a backup.
    Column("run_at_micros", BigInteger, primary_key=True, autoincrement=False),
    # The last load that was left out, and the newest one.
    Column("after_load", Integer, nullable=False),
    Column("newest_load", Integer, nullable=False),
    # The number of answers listed.
    Column("answers", BigInteger, nullable=False),
    # To the year 9999: a time that can't be written would keep the service from noting any run.
    CheckConstraint("run_at_micros BETWEEN 0 AND 253402300799999999", name="recall_run_at"),
)
