"""Histories of loads, inquiries and rotated keys, and what recall must find: the result of repeating all inquiries."""

import csv
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import uuid_utils
from google.protobuf.message import Message
from sqlalchemy import Connection
from uuid_utils import UUID

from estelam.core.clock import Clock, to_datetime
from estelam.core.errors import Reason, Refusal
from estelam.core.keys import HmacKeyring, SigningKey, verifying_keys
from estelam.core.model import Answer, Caller, Inquiry, LookupResult, Method
from estelam.core.parties import Parties
from estelam.core.settings import StoreSettings
from estelam.inquiry.v1 import answer_change_pb2 as changes_pb
from estelam.ledger import comparisons, recall
from estelam.ledger.confirmations import ProvenCommits
from estelam.ledger.recall import Recalled, RecallSource
from estelam.ledger.verified_rows import VerifiedRows
from estelam.ledger.writer import LedgerWriter
from estelam.loading.feed import Declaration, Feed, Policy
from estelam.loading.load import load
from estelam.pipeline.changed_answers import LIST_CHANGED_ANSWERS, list_changed_answers
from estelam.pipeline.recorder import InquiryRecorder, Lookup, LookupContext
from estelam.storage import coverage
from estelam.storage.store import AccessMode, Store

HOUR = 3_600_000_000
_STATE = "ANSWER_STATE_"
CALLERS = ("99001187852", "99000712713")


class Question(NamedTuple):
    """A method and a request."""

    method: str
    request: bytes

    @classmethod
    def of(cls, inquiry: Inquiry) -> "Question":
        return cls(inquiry.method.name, inquiry.request.SerializeToString(deterministic=True))


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that a caller received."""

    question: Question
    word: str
    loads: int
    """The number of loads before it."""
    at: int


@dataclass
class History:
    """A store with its loads and inquiries, and a clock that advances two hours with each step."""

    settings: StoreSettings
    questions: Mapping[Method, Lookup]
    asked: Sequence[tuple[Method, Message]]
    """Every request whose answer does not depend on caller or time."""
    feed: Feed
    unrelated: Mapping[str, Any]
    """A row of no question; each file has it in another version, because no file is loaded twice."""
    versioned: str
    """The column of its versions."""
    facts: RecallSource
    folder: Path
    given: dict[str, Given] = field(default_factory=dict)
    covered: list[date] = field(default_factory=list)
    """After each load, the first covered date."""
    words: list[dict[Question, str]] = field(default_factory=list)
    """After each load, the answer to each request: by inquiry, not by recall."""
    keys: int = 1
    micros: int = 1_790_000_000_000_000

    def __post_init__(self) -> None:
        self.clock = Clock(micros=lambda: self.micros)
        self.store = Store(self.settings.store, ledger=AccessMode.WRITE)
        self.words.append(self._words())

    def rotate(self) -> None:
        """Use a new HMAC key from now on."""
        self.keys += 1

    @property
    def keyring(self) -> HmacKeyring:
        return HmacKeyring({f"k{number}": bytes([number]) * 32 for number in range(1, self.keys + 1)})

    def load(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        since: date | None = None,
        tracking_since: date | None = None,
        is_linked: bool = True,
        replace: bool = False,
    ) -> None:
        """Load *rows*; cases are linked to certificates from *tracking_since* (None: the first date), or never."""
        links_since = tracking_since or (self.feed.first_date if self.feed.is_dated else None)
        self.micros += 2 * HOUR
        path = self.folder / "rows.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self.feed.columns)
            writer.writeheader()
            writer.writerows([{**self.unrelated, self.versioned: f"version {self.micros}"}, *rows])
        whole = replace or len(self.words) == 1
        with closing(Store(self.settings.store, facts=AccessMode.WRITE)) as store:
            loaded = load(
                store,
                self.feed,
                path,
                declared=Declaration(
                    feed=self.feed.name,
                    cut_at=self.clock.now(),
                    whole=whole,
                    complete_since=since,
                    tracking_since=links_since if is_linked else None,
                    parties=Parties.REPLACED if self.feed.is_dated else None,
                ),
                policy=Policy(self.settings.feeds, change_limit=1),
                rejects=self.folder / "rejects.csv",
                clock=self.clock,
                progress=lambda _bytes: None,
            )
        assert not loaded.rejected
        self.words.append(self._words())

    def ask(self, asked: Sequence[tuple[Method, Message]], caller: str) -> None:
        self.micros += 2 * HOUR
        inquiries = [Inquiry(_id(), method, Caller(caller), 0.0, request=each) for method, each in asked]
        for inquiry, answer in zip(inquiries, self._recorder().answer_batch(inquiries), strict=True):
            if isinstance(answer, Answer):
                self.given[str(inquiry.id)] = Given(
                    Question.of(inquiry), answer.outcome, len(self.words) - 1, self.micros
                )

    def recalled(self, after: int) -> list[Recalled]:
        with recall.settled_snapshot(self.store, 0) as snapshot:
            assert after == recall.load_before(snapshot, after, self.clock.now())
            rows = VerifiedRows.of(snapshot.connection, verifying_keys(self.settings.signing_certificates))
            found = list(recall.recall(snapshot, self.keyring, self.facts, after, rows))
        return list({each.index: each for each in reversed(found)}.values())

    def compare(self) -> None:
        """Note the loads, and compare the answers with the newest one."""
        self._recorder().note_facts()
        with closing(Store(self.settings.store)) as reader:
            comparisons.compare(reader, self._write, self.keyring, self.facts, self._ledger().verified_rows)

    def page(self, caller: str, cursor: str = "") -> changes_pb.ListChangedAnswersResponse | Reason:
        """Return the changes that *caller* receives after *cursor*, or the reason why not."""
        request = changes_pb.ListChangedAnswersRequest(cursor=cursor)
        inquiry = Inquiry(_id(), LIST_CHANGED_ANSWERS, Caller(caller), 0.0, request=request)
        (answer,) = self._recorder().answer_batch([inquiry])
        if isinstance(answer, Refusal):
            return answer.reason
        return changes_pb.ListChangedAnswersResponse.FromString(answer.reply)

    def pages(self, caller: str, cursor: str = "") -> list[changes_pb.ChangedAnswer]:
        """Return all changes that *caller* receives after *cursor*."""
        found: list[changes_pb.ChangedAnswer] = []
        while not isinstance(reply := self.page(caller, cursor), Reason):
            assert 0 == reply.first_index
            found += reply.changes
            if reply.complete:
                return found
            cursor = reply.cursor
        raise AssertionError(reply)

    def received(self) -> dict[str, tuple[str, str]]:
        """Return, once the newest load is compared, every answer that its caller receives as different now."""
        self.compare()
        found: dict[str, tuple[str, str]] = {}
        for change in (change for caller in CALLERS for change in self.pages(caller)):
            then, now = (changes_pb.AnswerState.Name(state) for state in (change.then, change.now))
            found[change.inquiry_id] = then.removeprefix(_STATE), now.removeprefix(_STATE)
        return {inquiry: (then, now) for inquiry, (then, now) in found.items() if then != now}

    def _write(self, work: Callable[[Connection], None]) -> None:
        with self.store.transaction() as connection:
            work(connection)

    def _recorder(self) -> InquiryRecorder:
        lookups = {**self.questions, LIST_CHANGED_ANSWERS: list_changed_answers}
        return InquiryRecorder(
            store=self.store,
            ledger=self._ledger(),
            keyring=self.keyring,
            lookups={method.name: lookup for method, lookup in lookups.items()},
            feeds=self.settings.feeds,
            max_staleness=timedelta(days=365),
            clock=self.clock,
            last_sealed=to_datetime(0),
        )

    def different(self) -> dict[str, tuple[str, str]]:
        """Return every answer that differs from repeating its inquiry: the earlier and the present answer."""
        now = {inquiry: self.now(given) for inquiry, given in self.given.items()}
        return {
            inquiry: (given.word, now[inquiry]) for inquiry, given in self.given.items() if given.word != now[inquiry]
        }

    def now(self, given: Given) -> str:
        """Return the present answer to the inquiry of *given*."""
        now = self.words[-1][given.question]
        lost = given.word == now == "NO" and self._stated(given, given.loads) < self._stated(given, -1)
        return "UNCOVERED" if lost else now

    def _stated(self, given: Given, loads: int) -> date:
        """Return the first covered date that the inquiry of *given* would state after so many loads."""
        covered, linked = self.covered[loads], self.feed.first_date
        return max(covered, linked) if linked and given.question.method.endswith("ByTrackingId") else covered

    def expected(self, after: int) -> set[str]:
        """Return those of `different` that changed by a load after load *after*."""
        then = self.words[after]
        found = {inquiry: self.given[inquiry] for inquiry in self.different()}
        return {
            inquiry
            for inquiry, given in found.items()
            if given.loads >= after
            or (
                self._stated(given, given.loads) >= self._stated(given, after)
                if self.now(given) == "UNCOVERED"
                else then.get(given.question, self.now(given)) != self.now(given)
            )
        }

    def _ledger(self) -> LedgerWriter:
        signer = SigningKey.load(self.settings.signing_key, self.settings.signing_certificates)
        return LedgerWriter(self.settings.SECTION, keyring=self.keyring, signer=signer, clock=self.clock)

    def _words(self) -> dict[Question, str]:
        with self.store.transaction() as connection:
            covered = coverage.read_coverage(connection)
            self.covered.append(covered.since if covered else date.max)
            now = covered.as_of if covered else to_datetime(self.micros)
            reading = LookupContext(
                connection,
                lambda: covered,
                self.keyring,
                now,
                timedelta(days=1),
                to_datetime(0),
                ProvenCommits(self._ledger().verify),
            )
            words: dict[Question, str] = {}
            for method in {method for method, _ in self.asked}:
                look_up = self.questions[method]
                inquiries = [
                    Inquiry(_id(), method, Caller(CALLERS[0]), 0.0, request=request)
                    for found, request in self.asked
                    if found is method
                ]
                for inquiry, finding in zip(inquiries, look_up(reading, inquiries), strict=True):
                    word = finding.outcome if isinstance(finding, LookupResult) else "REFUSED"
                    words[Question.of(inquiry)] = str(word)
        return words


def _id() -> UUID:
    return uuid_utils.uuid7()
