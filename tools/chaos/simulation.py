"""Scenario: random histories of loads, inquiries, faults and crashes; every answer is compared with the oracle's."""

import multiprocessing
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import NamedTuple

from development import sandbox as suite
from estelam.core.clock import to_datetime
from estelam.core.dates import latest_past_date
from estelam.core.errors import Refusal
from estelam.core.model import Answer as RecordedAnswer
from estelam.core.parties import Parties
from estelam.core.settings import StoreSettings
from estelam.loading.errors import LoadError
from estelam.loading.feed import Declaration, Feed
from estelam.receipts import receipt
from estelam.receipts.problems import InvalidReceipt
from estelam.telemetry import logs
from tools.chaos.generators import MODELS, Load, Model, RandomRequest, outcome_of, past_dates, request
from tools.chaos.oracle import Answer, CasesOracle, File, NotesOracle, OracleClock, Row
from tools.chaos.scenario import Result, Scenario, Task
from tools.chaos.simulated_service import Interruption, SimulatedCrash, SimulatedService, SimulatedTime, State

STEPS = 20
BEGINS_COVERED = 0.7
"""The share of histories that begin with a whole file of each required feed."""
SECONDS = (0.001, 60, 3600, 6 * 3600, 23.9 * 3600, 24 * 3600, 72 * 3600)
TEN_YEARS = 3653 * 86400
STEPS_OF_THE_CLOCK = (0, 0, 3600, -3600, TEN_YEARS, -TEN_YEARS)
MAX_BATCH = 5
# A small batch and a load reach about this many points at which they can be interrupted.
REPEATED = 0.1
"""The share of files with the rows of an earlier one."""
BATCH_POINTS, LOAD_POINTS = 12, 30
CHUNK = 12


class Delivery(NamedTuple):
    """A file to load, and whether all its rows are valid."""

    file: File
    sound: bool


class History:
    """The history of one service from an empty store on, with its expected answers."""

    def __init__(self, world: Model, settings: StoreSettings, seed: int) -> None:
        self.world = world
        self.random = Random(f"{world.name} {seed}")
        self.time = SimulatedTime()
        self.life = SimulatedService(world, settings, self.time)
        self.oracle: NotesOracle | CasesOracle = world.oracle()
        self.result = Result(rounds=1)
        self._name = f"{world.name}, seed {seed}"
        self._keys = self.life.keys
        self._loads = self._entries = self._rotations = self._ahead = 0
        self._last_sealed: datetime | None = None
        self._watch = self._begins()

    def run(self) -> Result:
        """Run the history and check the final state."""
        steps = {
            self.asks: 8,
            self.loads: 6,
            self.waits: 4,
            self.is_set: 2,
            self.stops: 1,
            self.rotates: 1,
            self.crashes_idle: 1,
            self.crashes_during_inquiries: 2,
            self.crashes_during_load: 3,
            self.fails_during_inquiries: 1,
            self.fails_during_load: 1,
            self.answers_during_load: 3,
        }
        if self.random.random() < BEGINS_COVERED:
            for feed in self.oracle.required:
                self._load(self._delivery(feed), None)
        for step in (self.loads, *self.random.choices(list(steps), list(steps.values()), k=STEPS)):
            step()
        self.asks()
        expected = State(loads=self._loads, noted_loads=self._loads, inquiries=self._entries)
        self._must(expected == self.life.state(), "the store has lost or gained something")
        self.life.close()
        return self.result

    def asks(self) -> None:
        """A small batch of inquiries."""
        questions = self._questions()
        self._compare(questions, self.life.ask(questions))

    def loads(self) -> None:
        """A file is loaded, or refused for an invalid row."""
        self._load(self._delivery(), None)

    def waits(self) -> None:
        """Time passes."""
        self.time.passes(self.random.choice(SECONDS))

    def is_set(self) -> None:
        """The machine's clock is set forward, back, or correct."""
        before, self._ahead = self._ahead, self.random.choice(STEPS_OF_THE_CLOCK)
        self.time.micros += (self._ahead - before) * 1_000_000

    def stops(self) -> None:
        """The service is stopped in order and restarted."""
        self.life.reopen()
        self._watch = self._begins()

    def rotates(self) -> None:
        """Subjects are hashed with a new key from now on."""
        self._rotations += 1
        self.life.rotate_subject_key(f"r{self._rotations}")
        self._watch = self._begins()

    def crashes_idle(self) -> None:
        """The service is killed while idle."""
        self.life.restart(self.life.snapshot(self.life.lengths()))
        self._watch = self._begins()
        self.asks()

    def crashes_during_inquiries(self) -> None:
        """The service is killed before it replies; whether it had committed is checked afterwards."""
        questions = self._questions()
        with self._crash(BATCH_POINTS) as crash:
            self.life.ask(questions, crash)
        loads, _, entries = self.life.state()
        self._must(loads == self._loads, "a crash during inquiries changed the facts")
        self._must(entries in {self._entries, self._entries + len(questions)}, "a crash left half a batch")
        if entries > self._entries:
            self._remember(questions, [self._expected(question) for question in questions])
        self._watch = self._begins()
        self.asks()

    def crashes_during_load(self) -> None:
        """The loader is killed: its file is loaded completely or not at all."""
        delivery = self._delivery()
        with self._crash(LOAD_POINTS) as crash:
            self._begin(delivery, crash)
        loads, _, entries = self.life.state()
        self._must(entries == self._entries, "a crash while loading changed the ledger")
        self._must(loads in {self._loads, self._loads + delivery.sound}, "a crash left half a load")
        if loads > self._loads:
            self._apply(delivery)
        self._watch = self._begins()
        self.asks()

    def fails_during_inquiries(self) -> None:
        """The store fails once: the batch gets no answers, and the refusals are recorded."""
        questions = self._questions()
        fault = Interruption(self.random.randint(1, BATCH_POINTS), _fail)
        answers = self.life.ask(questions, fault)
        if fault.happened:
            self._sealed(questions)
            self._match(questions, answers, [Answer("STORE_UNAVAILABLE")] * len(questions))
        else:
            self._compare(questions, answers)

    def fails_during_load(self) -> None:
        """The store fails once: the file is not loaded."""
        self._load(self._delivery(), Interruption(self.random.randint(1, LOAD_POINTS), _fail))

    def answers_during_load(self) -> None:
        """Inquiries during a load are answered from the data before it."""
        self._load(self._delivery(), Interruption(self.random.randint(1, LOAD_POINTS), self.asks))

    def _questions(self) -> list[RandomRequest]:
        return [self.world.ask(self.random, self.oracle) for _ in range(self.random.randint(1, MAX_BATCH))]

    def _delivery(self, first_of: str | None = None) -> Delivery:
        """Make a random file; of the feed *first_of*, its first whole one."""
        if self.oracle.files and not first_of and self.random.random() < REPEATED:
            return self._repeated_delivery()
        loads = iter(lambda: self.world.load(self.random), None)
        load = next(each for each in loads if first_of is None or self.world.feeds[first_of].name == each.kind)
        names = [name for name, feed in self.world.feeds.items() if feed.name == load.kind]
        name = first_of or self.random.choice(names)
        others = [each for each in names if each != name]
        taken = self.random.choice(others) if others and not first_of and self.random.random() < 0.3 else None
        kind = self.world.feeds[name]
        whole = kind.full_snapshot or bool(first_of) or self.random.random() < 0.4
        file = File(
            name,
            self._rows_of_feed(load, kind, (name, taken)),
            self.time.now - timedelta(hours=self.random.choice((0, 0, 0, 0, 0, 1, 12, 24))),
            whole,
            kind.is_dated and not whole and self.random.random() < 0.5,
            load.since,
            load.tracking_since,
            taken,
        )
        return self._checked(file, sound=load.sound)

    def _repeated_delivery(self) -> Delivery:
        """Make a new file of the rows of one of the last files, in any order, as a spreadsheet saves them."""
        old = self.random.choice(self.oracle.files[-3:])
        whole = old.whole or self.random.random() < 0.3
        file = old._replace(
            rows=self.random.sample(old.rows, len(old.rows)),
            cut_at=self.time.now,
            whole=whole,
            replaces_parties=old.replaces_parties and not whole,
            taken_feed=None,
            numbered=self.random.random() < 0.5,
        )
        return self._checked(file, sound=True)

    def _checked(self, file: File, *, sound: bool) -> Delivery:
        """Return the delivery of *file*, whose rows are *sound* but for their dates and records."""
        latest = str(latest_past_date(self.time.now))
        dates_are_past = all(day <= latest for row in file.rows for day in past_dates(row))
        return Delivery(file, sound and dates_are_past and not self.oracle.rejects(file, self.time.now))

    def _rows_of_feed(self, load: Load, kind: Feed, feeds: Collection[str | None]) -> list[Row]:
        """Return the rows of *load*, mostly without those of records that other feeds have delivered."""
        owned = [row for row in load.rows if self.oracle.feed_of.get(row[kind.key[0]]) in {*feeds, None}]
        return owned if owned and load.sound and self.random.random() < 0.8 else load.rows

    def _begin(self, delivery: Delivery, interruption: Interruption | None) -> bool:
        """Load a file; returns whether it was loaded."""
        file = delivery.file
        repeated = self.oracle.repeats(file)
        refused = not repeated and self.oracle.refuses(file, self.time.now)
        next_number = 1 + sum(old.feed == file.feed for old in self.oracle.files)
        declared = Declaration(
            feed=file.feed,
            number=next_number if file.numbered else None,
            cut_at=file.cut_at,
            whole=file.whole,
            complete_since=file.since,
            tracking_since=file.tracking_since,
            parties=Parties.REPLACED if file.replaces_parties else None,
        )
        try:
            loaded = self.life.load(
                self.world.feeds[file.feed], file.rows, declared, interruption, taken_feed=file.taken_feed
            )
        except (LoadError, OSError):
            broken = interruption is not None and interruption.happened
            self._must(refused or broken, "a file could not be loaded")
            return False
        # A row that is rejected today is not read, so that the rows may not be recognized.
        self._must(not refused or loaded.rejected > 0, "a file was taken that is late, known or takes coverage back")
        self._must(loaded.already_loaded == repeated, "a file was loaded twice")
        self._must(repeated or (loaded.rejected == 0) == delivery.sound, "a bad row was taken, or a good one refused")
        return delivery.sound and not repeated

    def _load(self, delivery: Delivery, interruption: Interruption | None) -> None:
        if self._begin(delivery, interruption):
            self._apply(delivery)

    def _apply(self, delivery: Delivery) -> None:
        self._loads += 1
        self.oracle.load(delivery.file)

    @contextmanager
    def _crash(self, points: int) -> Iterator[Interruption]:
        """Kill the process at a random point within the block, and restart it afterwards."""
        before = self.life.lengths()
        after: list[Path] = []

        def kill() -> None:
            torn = {name: self.random.randint(before.get(name, 0), now) for name, now in self.life.lengths().items()}
            after.append(self.life.snapshot(torn if self.random.random() < 0.5 else self.life.lengths()))
            raise SimulatedCrash

        try:
            yield Interruption(self.random.randint(1, points), kill, at_end=True)
        except SimulatedCrash:
            self.life.restart(after[0])

    @property
    def _now(self) -> datetime:
        """The service's view of the current time."""
        return self._watch.now(self.time.now, self.time.monotonic)

    def _begins(self) -> OracleClock:
        return OracleClock(self.time.now, self.time.monotonic, self._last_sealed)

    def _expected(self, question: RandomRequest) -> Answer:
        method = question.method.short_name
        answer = self.oracle.answer(method, question.caller, question.fields, self._now)
        timed = method == "GetNoteParties" or (answer.outcome not in {"YES", "STORE_UNAVAILABLE"})
        return Answer("CLOCK_BEHIND") if timed and self._watch.behind(self._now) else answer

    def _compare(self, questions: Sequence[RandomRequest], answers: Sequence[RecordedAnswer | Refusal]) -> None:
        expected = [self._expected(question) for question in questions]
        self._match(questions, answers, expected)
        self._remember(questions, expected)

    def _remember(self, questions: Sequence[RandomRequest], answers: Sequence[Answer]) -> None:
        """Record answers in the oracle, after the whole batch: inquiries of a batch do not affect each other."""
        self._sealed(questions)
        for question, answer in zip(questions, answers, strict=True):
            self.oracle.remember(question.method.short_name, question.caller, question.fields, answer, self._now)

    def _sealed(self, questions: Sequence[RandomRequest]) -> None:
        self._entries += len(questions)
        self._last_sealed = max(self._last_sealed or self._now, self._now)

    def _match(
        self,
        questions: Sequence[RandomRequest],
        answers: Sequence[RecordedAnswer | Refusal],
        expected: Sequence[Answer],
    ) -> None:
        for question, answer, right in zip(questions, answers, expected, strict=True):
            given = self._given(question, answer)
            self.result.checked += 1
            self._must(given == right, f"{question.method.short_name} was {given.outcome}, and is {right.outcome}")

    def _given(self, question: RandomRequest, answer: RecordedAnswer | Refusal) -> Answer:
        if isinstance(answer, Refusal):
            return Answer(answer.reason.value)
        reply = self.world.replies[question.method.short_name].FromString(answer.reply)
        try:
            proven = receipt.verify(question.method.name, request(question), reply, self._keys)
        except InvalidReceipt:
            return Answer("INVALID")
        self._must(to_datetime(proven.entry.answered_at_micros) == self._now, "an answer has another time")
        return outcome_of(reply)

    def _must(self, holds: bool, text: str) -> None:  # noqa: FBT001 - as assert takes it
        if not holds:
            self.result.losses.append(f"{self._name}: {text}")


def _fail() -> None:
    raise OSError("the disk is gone")


def run_histories(folder: Path, seeds: Sequence[int]) -> Result:
    """Run one history per seed, alternating between both services."""
    sandbox = suite.Sandbox(folder)
    templates = (sandbox.promissory(), sandbox.judiciary())
    total = Result()
    for seed in seeds:
        template = templates[seed % 2]
        deployment = folder / f"history-{os.getpid()}"
        shutil.copytree(folder / template.SECTION, deployment / "store")
        keys = shutil.move(deployment / "store" / "subjects.keys", deployment)
        own = template.model_copy(
            update={
                "store": f"sqlite:///{deployment / 'store'}",
                "hmac_keyring": Path(keys),
                "feeds": MODELS[template.SECTION].oracle().required,
            }
        )
        try:
            total.add(History(MODELS[template.SECTION], own, seed).run())
        except Exception as error:  # noqa: BLE001 - any error is a loss, and the other histories continue
            total.add(Result(1, losses=[f"{template.SECTION}, seed {seed}: failed with {type(error).__name__}"]))
        shutil.rmtree(deployment)
    return total


def run(task: Task) -> Result:
    """Run *task.rounds* histories on all cores."""
    sandbox = suite.create_sandbox(task.folder)
    seeds = range(task.seed * 10**6, task.seed * 10**6 + task.rounds)
    shares = [seeds[start : start + CHUNK] for start in range(0, task.rounds, CHUNK)]
    total = Result()
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(mp_context=spawned, initializer=logs.configure_logging, initargs=("critical",)) as pool:
        for future in as_completed([pool.submit(run_histories, sandbox.folder, share) for share in shares]):
            total.add(future.result())
            task.progress(future.result().rounds)
    return total


SCENARIO = Scenario("histories", "loads, inquiries and crashes at random, against an oracle", 24, 20_000, run)
