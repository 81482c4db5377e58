"""A recording service without gRPC in this process, which can be interrupted at any statement and reopened."""

import csv
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import uuid_utils
from sqlalchemy import event, func, select

from estelam.core.clock import Clock, monotonic_wall_clock, to_datetime
from estelam.core.errors import Refusal
from estelam.core.keys import HmacKeyring, SigningKey, new_keyring_line, verifying_keys
from estelam.core.model import Answer, Caller, Inquiry
from estelam.core.settings import StoreSettings
from estelam.ledger import verify
from estelam.ledger.tables import NoteKind, fact_note_table, last_checkpoint_time
from estelam.ledger.writer import LedgerWriter
from estelam.loading.feed import Declaration, Feed, LoadResult, Policy
from estelam.loading.load import load
from estelam.pipeline.recorder import InquiryRecorder
from estelam.storage import statements
from estelam.storage.facts import load_table
from estelam.storage.store import AccessMode, Store
from tools.chaos.generators import Model, RandomRequest, request
from tools.chaos.oracle import Row

JOURNALS = ("facts.db-wal", "ledger.db-wal")


class SimulatedCrash(BaseException):  # not an Exception: no code may catch a crash
    """A simulated end of the process."""


@dataclass(slots=True)
class SimulatedTime:
    """A clock that advances under the test's control."""

    micros: int = 1_790_000_000_000_000
    monotonic: float = 1000.0

    @property
    def clock(self) -> Clock:
        """The clock that the service uses."""
        return Clock(micros=lambda: self.micros, monotonic=lambda: self.monotonic)

    @property
    def now(self) -> datetime:
        """The current time."""
        return to_datetime(self.micros)

    def passes(self, seconds: float) -> None:
        """Advance the clock."""
        self.micros += int(seconds * 1e6)
        self.monotonic += seconds


class State(NamedTuple):
    """What a store holds."""

    loads: int
    noted_loads: int
    """Those that the ledger has an entry of."""
    inquiries: int
    """The entries of the ledger that note neither a load nor a run of recall."""


@dataclass(slots=True)
class Interruption:
    """An action that happens once, just before statement or commit number *at* of a transaction."""

    at: int
    happens: Callable[[], None]
    at_end: bool = False
    """If there are fewer points: act after the commit, before anybody sees the result."""
    seen: int = 0

    @property
    def happened(self) -> bool:
        """Whether the action has happened."""
        return self.seen >= self.at

    def reach(self, *_: Any) -> None:
        """Count one point and act if it is number *at*."""
        self.seen += 1
        if self.seen == self.at:
            self.happens()

    def end(self) -> None:
        """The end of the transaction is reached."""
        if self.at_end and not self.happened:
            self.seen = self.at
            self.happens()


@dataclass(slots=True)
class SimulatedService:
    """The store of one service, with the service and the loader that use it."""

    world: Model
    settings: StoreSettings
    time: SimulatedTime
    store: Store = field(init=False)
    registrar: InquiryRecorder = field(init=False)
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder = Path(self.settings.store.removeprefix("sqlite:///"))
        self._open()

    @property
    def keys(self) -> Any:
        """The keys that receipts and checkpoints are verified with."""
        return verifying_keys(self.settings.signing_certificates)

    def _open(self) -> None:
        keyring = HmacKeyring.load(self.settings.hmac_keyring)
        clock = monotonic_wall_clock(self.time.clock)
        self.store = Store(f"sqlite:///{self.folder}", ledger=AccessMode.WRITE)
        with self.store.transaction() as connection:
            last_sealed = last_checkpoint_time(connection)
        self.registrar = InquiryRecorder(
            store=self.store,
            ledger=LedgerWriter(
                self.settings.SECTION,
                keyring=keyring,
                signer=SigningKey.load(self.settings.signing_key, self.settings.signing_certificates),
                clock=clock,
            ),
            keyring=keyring,
            lookups={method.name: lookup for method, lookup in self.world.questions(self.settings).items()},
            feeds=self.settings.feeds,
            max_staleness=self.settings.max_staleness,
            clock=clock,
            last_sealed=last_sealed,
        )

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def reopen(self) -> None:
        """Close and reopen."""
        self.close()
        self._open()

    def lengths(self) -> dict[str, int]:
        """The size of each journal file in bytes."""
        found = {name: self.folder / name for name in JOURNALS}
        return {name: path.stat().st_size for name, path in found.items() if path.exists()}

    def snapshot(self, lengths: Mapping[str, int]) -> Path:
        """Copy the files as a SIGKILL leaves them: nothing closed, nothing flushed.

        Journals are cut to *lengths* bytes: the kill may have come during a write.
        """
        after = self.folder.with_name(f"{self.folder.name}-")
        after.mkdir()
        for name in ("facts.db", "ledger.db", *lengths):
            shutil.copyfile(self.folder / name, after / name)
        for name, length in lengths.items():
            with (after / name).open("r+b") as journal:
                journal.truncate(length)
        return after

    def restart(self, after: Path) -> None:
        """Restart from a snapshot and discard the present state."""
        before, self.folder = self.folder, after
        self.store.close()
        shutil.rmtree(before)
        self._open()

    def state(self) -> State:
        """Verify the ledger; returns what the store holds."""
        with self.store.transaction() as connection:
            loads = connection.execute(select(func.count()).select_from(load_table)).scalar_one()
            noted = Counter(connection.execute(select(fact_note_table.c.kind)).scalars())
            heads = list(verify.verify_ledger(connection, self.keys))
        return State(loads, noted[NoteKind.LOAD], (heads[-1].size if heads else 0) - noted.total())

    def rotate_subject_key(self, name: str) -> None:
        """Hash subjects with a new key from now on."""
        path = self.settings.hmac_keyring
        path.write_text(path.read_text("ascii") + new_keyring_line(name), "ascii")
        self.reopen()

    def ask(
        self, questions: Sequence[RandomRequest], interruption: Interruption | None = None
    ) -> list[Answer | Refusal]:
        """Answer *questions* in one transaction."""
        inquiries = [
            Inquiry(
                uuid_utils.uuid7(),
                question.method,
                Caller(question.caller),
                self.time.monotonic,
                request=request(question),
            )
            for question in questions
        ]
        with interrupted(self.store, interruption):
            answers = self.registrar.answer_batch(inquiries)
            if interruption is not None:
                interruption.end()
        return answers

    def load(
        self,
        feed: Feed,
        rows: Sequence[Row],
        declared: Declaration,
        interruption: Interruption | None,
        *,
        taken_feed: str | None,
    ) -> LoadResult:
        """Load *rows* from a file, as the load command does."""
        path = self.folder / "rows.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, feed.columns)
            writer.writeheader()
            writer.writerows(rows)
        with (
            closing(Store(f"sqlite:///{self.folder}", facts=AccessMode.WRITE)) as store,
            interrupted(store, interruption),
        ):
            try:
                loaded = load(
                    store,
                    feed,
                    path,
                    declared=declared,
                    policy=Policy(self.settings.feeds, change_limit=1, taken_feed=taken_feed),
                    rejects=self.folder / "rejects.csv",
                    clock=self.time.clock,
                    progress=lambda _bytes: None,
                )
            finally:
                # A crash may also follow a refused load.
                if interruption is not None:
                    interruption.end()
        return loaded


@contextmanager
def interrupted(store: Store, interruption: Interruption | None) -> Iterator[None]:
    """Apply *interruption* to the statements of *store* during the block."""
    if interruption is None:
        yield
        return
    engine, reach, execute = store.engine, interruption.reach, statements.execute

    def reach_and_execute(*arguments: Any, **options: Any) -> statements.RowReader:
        reach()
        return execute(*arguments, **options)

    for name in ("before_cursor_execute", "commit"):
        event.listen(engine, name, reach)
    try:
        with mock.patch.object(statements, "execute", reach_and_execute):
            yield
    finally:
        for name in ("before_cursor_execute", "commit"):
            event.remove(engine, name, reach)
