"""Synthetic cases, generated at millions of rows per second. All persons are invented.

Every value has a fixed width, so that rows are built as columns of bytes, a hundred thousand at a time. The cheque and
the person of a case follow from its number by a permutation: adjacent rows are far apart in the index, and a client
knows which ids are in the file without reading it.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb

COLUMNS = ("case_number", "kind", "filed_on", "registered_at", "tracking_id", "national_id", "role")
MOST = 50_000_000
# Far more than fits in a store's page cache.
QUESTIONS = 20_000

_CHUNK = 100_000
_CHEQUES = 10**11
_PERSONS = 5_000_000
_FIRST_DAY, _DAYS = date(2021, 3, 21), 2_000
_CHEQUE_STEP, _PERSON_STEP, _DAY_STEP = 61_803_398_873, 3_090_169, 1_237

Numbers = npt.NDArray[np.int64]
Text = npt.NDArray[np.uint8]


def write(path: Path, cases: int) -> None:
    """Write the first *cases* to *path* in the loader's format."""
    if cases > MOST:
        raise ValueError(f"at most {MOST:,} cases have distinct ids")
    with path.open("wb") as file:
        file.write(f"{','.join(COLUMNS)}\n".encode("ascii"))
        for first in range(0, cases, _CHUNK):
            file.write(_rows(np.arange(first, min(first + _CHUNK, cases))).tobytes())


def write_changes(path: Path, cases: int, changes: int, minute: int) -> None:
    """Write *changes* of the first *cases*, evenly spread, to *path*: they are registered at another *minute*."""
    with path.open("wb") as file:
        file.write(f"{','.join(COLUMNS)}\n".encode("ascii"))
        places = np.arange(changes)
        # In each stretch at another place: numbers that all end in zeros look as if a spreadsheet had rounded them.
        for number in places * (step := cases // changes) + places % step:
            file.write(_rows(np.array([number])).tobytes().replace(b"T09:30", f"T09:{minute:02}".encode("ascii")))


def by_tracking_id(cases: int, questions: int = QUESTIONS) -> list[bytes]:
    """Serialized requests for *cases* loaded cases, alternating between a recorded and an unrecorded cheque."""
    known = np.linspace(0, cases - 1, questions // 2, dtype=np.int64)
    ids = [_tracking_ids(numbers) for numbers in (known, known + MOST)]
    return [pb.CheckByTrackingIdRequest(tracking_id=text).SerializeToString() for text in _by_turns(*ids)]


def by_national_id(cases: int, questions: int = QUESTIONS) -> list[bytes]:
    """The same for persons."""
    known = np.linspace(0, cases - 1, questions // 2, dtype=np.int64)
    strangers = np.minimum(
        _persons(known) + _PERSONS, 2 * _PERSONS - 2
    )  # The last would be ten nines, which is not a valid id.
    ids = [_national_ids(persons) for persons in (_persons(known), strangers)]
    return [pb.CheckByNationalIdRequest(national_id=text).SerializeToString() for text in _by_turns(*ids)]


def tracking_ids(cases: int, count: int) -> list[str]:
    """*count* distinct tracking ids, half of them of loaded cases if there are enough."""
    known = np.arange(min(cases, count // 2))
    texts = _tracking_ids(np.concatenate([known, np.arange(MOST, MOST + count - len(known))]))
    order = np.random.default_rng(1).permutation(count)
    return [text.tobytes().decode("ascii") for text in texts[order]]


def _by_turns(first: Text, second: Text) -> Iterator[str]:
    for pair in zip(first, second, strict=True):
        yield from (text.tobytes().decode("ascii") for text in pair)


def _rows(numbers: Numbers) -> Text:
    days = _DAY_TEXTS[numbers * _DAY_STEP % _DAYS]
    kind = ("CIVIL", "CRIMINAL")[numbers[0] // _CHUNK % 2]
    columns: tuple[Text | str, ...] = (
        _digits(1_400_000_000_000_000 + numbers, 16),
        f",{kind},",
        days,
        ",",
        days,
        "T09:30:00+03:30,",
        _tracking_ids(numbers),
        ",",
        _national_ids(_persons(numbers)),
        ",DRAWER\n",
    )
    return np.hstack([_same(column, len(numbers)) if isinstance(column, str) else column for column in columns])


def _persons(numbers: Numbers) -> Numbers:
    return numbers * _PERSON_STEP % _PERSONS


def _tracking_ids(numbers: Numbers) -> Text:
    return _digits(140_000_000_000_000_000 + numbers * _CHEQUE_STEP % _CHEQUES, 18)


def _national_ids(persons: Numbers) -> Text:
    nine = _digits(990_000_000 + persons, 9)
    rest = (nine - ord("0")).astype(np.int64) @ np.arange(10, 1, -1) % 11
    return np.hstack([nine, _digits(np.where(rest < 2, rest, 11 - rest), 1)])


def _digits(numbers: Numbers, width: int) -> Text:
    text = np.empty((len(numbers), width), np.uint8)
    for place in range(width - 1, -1, -1):
        numbers, text[:, place] = np.divmod(numbers, 10)
    return text + np.uint8(ord("0"))


def _same(text: str, rows: int) -> Any:
    return np.broadcast_to(np.frombuffer(text.encode("ascii"), np.uint8), (rows, len(text)))


_DAY_TEXTS = np.array(
    [list((_FIRST_DAY + timedelta(day)).isoformat().encode("ascii")) for day in range(_DAYS)], np.uint8
)
