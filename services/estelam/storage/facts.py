"""What loads leave on record beside the facts: their own list, and whom the facts no longer mention.

Apart from loading itself, which stands on far more than whoever only reads these.
"""

from sqlalchemy import BigInteger, Column, Date, Integer, Table, Text

from estelam.storage.coverage import FACTS

# Every load that was committed. Rows carry the number of the load that changed them last.
load_table = Table(
    "load",
    FACTS,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("file", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("loaded_at_micros", BigInteger, nullable=False),
    # The first date that counts after it. None: made before loads remembered this and what they took away.
    Column("covered_since", Date),
)

# What rows that a load changed or removed used to mention: whoever asked about it may have been told otherwise.
former_subject_table = Table(
    "former_subject",
    FACTS,
    Column("load_number", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("value", Text, nullable=False),
)
