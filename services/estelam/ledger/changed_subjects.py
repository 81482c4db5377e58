"""The subjects that loads changed, on disk, to be compared with every entry of a ledger in one pass."""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from estelam.core.keys import HmacKeyring
from estelam.core.model import Subject
from estelam.ledger.tables import index_key

_MARKS = 1 << 24
ROWS_AT_ONCE = 10_000


class ChangedSubjects:
    """Subjects by their index keys under every HMAC key, in a temporary file that is removed with this object."""

    def __init__(self, keyring: HmacKeyring) -> None:
        self._keyring = keyring
        self._database = sqlite3.connect("")
        self._database.execute("CREATE TABLE changed (key INTEGER, kind TEXT, value TEXT)")
        # A filter in memory: it admits every stored key, and of 100,000 stored ones only one in 170 others.
        self._marks = bytearray(_MARKS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def fill(self, subjects: Iterable[Subject]) -> int:
        """Add *subjects*; return the number of index keys. Call it once."""
        insert = "INSERT INTO changed VALUES (?, ?, ?)"
        self._database.executemany(insert, map(self._marked, self._rows(subjects)))
        self._database.execute("CREATE INDEX changed_key ON changed (key)")
        return int(self._database.execute("SELECT count(*) FROM changed").fetchone()[0])

    def keys(self) -> list[int]:
        """Return all index keys."""
        return [key for (key,) in self._database.execute("SELECT key FROM changed")]

    def places(self, rows: Sequence[tuple[int, int]]) -> list[int]:
        """Return the places of those *rows* (place, index key) whose key is of a subject, in order."""
        marks = self._marks
        likely = [row for row in rows if marks[row[1] % _MARKS]]
        found = self.subjects({key for _, key in likely}) if likely else {}
        return [place for place, key in likely if key in found]

    def subjects(self, keys: Iterable[int]) -> Mapping[int, list[Subject]]:
        """Return the subjects of each of *keys* that has one."""
        query = "SELECT key, kind, value FROM changed WHERE key IN (SELECT value FROM json_each(?))"
        found: dict[int, list[Subject]] = {}
        for key, kind, value in self._database.execute(query, (json.dumps(list(keys)),)):
            found.setdefault(key, []).append(Subject(kind, value))
        return found

    def _rows(self, subjects: Iterable[Subject]) -> Iterable[tuple[int, str, str]]:
        for subject in subjects:
            for keyed in self._keyring.hashes_under_all_keys(subject):
                yield index_key(keyed), subject.kind, subject.value

    def _marked(self, row: tuple[int, str, str]) -> tuple[int, str, str]:
        self._marks[row[0] % _MARKS] = 1
        return row
