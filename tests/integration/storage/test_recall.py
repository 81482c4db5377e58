"""Recall on every database: lists every answer that would be different now, and no other."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest

from development.files import SAMPLES
from development.sandbox import Sandbox, load_file
from estelam.core.errors import Reason
from estelam.inquiry.v1 import answer_change_pb2 as changes_pb
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as cases_pb
from estelam.ledger import answer_changes, search
from estelam.promissory.v1 import note_inquiry_pb2 as notes_pb
from judiciary.feeds import CASES
from judiciary.methods import CHECK_BY_NATIONAL_ID, CHECK_BY_TRACKING_ID, LOOKUPS
from judiciary.recall import CaseRecallSource
from promissory.feeds import MEMBERS, NOTES
from promissory.methods import CHECK_NOTE, GET_NOTE_PARTIES, lookups
from promissory.recall import NoteRecallSource
from tests.conftest import both_engines_in_full
from tests.integration.storage.histories import CALLERS, Given, History

pytestmark = both_engines_in_full

PERSONS = ("9990000018", "9990000026", "9990000034", "99000158381", "99000554330")
CHEQUES = ("1", "01", "140000000000000001")
SERIALS = ("1404000000000017", "1404000000000025", "1404000000000033", "1404000000000041")
DAYS = (date(2020, 2, 1), date(2020, 8, 1), date(2021, 3, 20), date(2021, 3, 21), date(2024, 1, 1))
SINCE = (date(2020, 1, 1), date(2020, 3, 20), date(2021, 3, 21), date(2021, 3, 22))
LATE = {
    "case_number": "9",
    "kind": "CIVIL",
    "filed_on": DAYS[-1],
    "registered_at": "2024-01-01T10:00:00+03:30",
    "tracking_id": "",
    "role": "DRAWER",
}
ROLES = ("DRAWER", "", "HOLDER", "GUARANTOR")

SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))]


@pytest.fixture
def case_history(sandbox: Sandbox, tmp_path: Path) -> Iterator[History]:
    persons = [(CHECK_BY_NATIONAL_ID, cases_pb.CheckByNationalIdRequest(national_id=person)) for person in PERSONS]
    cheques = [(CHECK_BY_TRACKING_ID, cases_pb.CheckByTrackingIdRequest(tracking_id=cheque)) for cheque in CHEQUES]
    history = History(
        settings=sandbox.judiciary(),
        questions=LOOKUPS,
        asked=[*persons, *cheques],
        feed=CASES,
        unrelated=LATE | {"case_number": "0", "national_id": "99000791909", "role": "HOLDER"},
        versioned="registered_at",
        facts=CaseRecallSource(),
        folder=tmp_path,
    )
    with closing(history.store):
        yield history


@dataclass
class NoteHistory(History):
    """A history of notes. Whether parties are disclosed depends on the time of the inquiry."""

    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed_at: dict[str, int] = field(default_factory=dict)

    def load_notes(self, rows: Sequence[dict[str, Any]], *, replace: bool = False) -> None:
        before, new = self.known, {row["serial"]: row for row in rows}
        self.load(rows, replace=replace)
        self.known = new if replace else before | new
        self.changed_at |= {serial: self.micros for serial in new if new[serial] != before.get(serial)}

    def now(self, given: Given) -> str:
        if given.word != "DISCLOSED":
            return super().now(given)
        serial = notes_pb.GetNotePartiesRequest.FromString(given.question.request).serial
        if serial not in self.known or self.known[serial]["state"] != "ISSUED":
            return "REFUSED"
        return "INDETERMINATE" if given.at < self.changed_at[serial] else "DISCLOSED"


@pytest.fixture
def note_history(sandbox: Sandbox, tmp_path: Path) -> Iterator[NoteHistory]:
    settings = sandbox.promissory()
    load_file(settings, MEMBERS, SAMPLES / "agencies.csv")
    parts = product(SERIALS, PERSONS[:2], PERSONS[3:], (1000, 2000))
    requests = [
        notes_pb.CheckNoteRequest(serial=serial, obligor_id=obligor, beneficiary_id=holder, amount_rials=amount)
        for serial, obligor, holder, amount in parts
    ]
    history = NoteHistory(
        settings=settings,
        questions=lookups(settings),
        asked=[(CHECK_NOTE, request) for request in requests],
        feed=NOTES,
        unrelated=note(Random(0), "1404000000000058"),
        versioned="payment_place",
        facts=NoteRecallSource(),
        folder=tmp_path,
    )
    with closing(history.store):
        yield history


def case(random: Random, number: int) -> list[dict[str, Any]]:
    fields = LATE | {
        "case_number": str(number),
        "filed_on": random.choice(DAYS),
        "tracking_id": random.choice(("", *CHEQUES)),
        "sayad_id": random.choice(("", "1402000000000077")),
    }
    parties = [{"national_id": person, "role": random.choice(ROLES)} for person in random.sample(PERSONS, 2)]
    remaining = parties[: random.randint(0 if fields["tracking_id"] else 1, 2)]
    return [fields | party for party in remaining or [{"national_id": "", "role": ""}]]


def note(random: Random, serial: str) -> dict[str, Any]:
    party = {"name": "نمونه", "address": "خیابان نمونه", "postal_code": "9900000001"}
    sides = {f"{side}_{name}": value for side in ("obligor", "holder") for name, value in party.items()}
    return sides | {
        "serial": serial,
        "state": random.choice(("ISSUED", "ISSUED", "ISSUED", "SETTLED", "REVOKED")),
        "obligor_id": random.choice(PERSONS[:2]),
        "beneficiary_id": PERSONS[3],
        "holder_id": random.choice(PERSONS[3:]),
        "amount_rials": random.choice((1000, 2000)),
        "remaining_rials": 1000,
        "issued_on": "2025-04-15",
        "due_on": "",
        "payment_place": "بانک نمونه",
    }


def compare(history: History, random: Random, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare recall, and what callers receive, with repeating all inquiries; entries are searched in both ways.

    Several loads may be compared at once, and a caller receives many changes in small pages.
    """
    monkeypatch.setattr(search, "PROBED_KEYS", random.choice((0, 512)))
    monkeypatch.setattr(answer_changes, "PAGE", 3)
    different = history.different()
    last = len(history.words) - 1
    found = history.recalled(0)

    assert {each.inquiry_id: (each.then, each.now) for each in found} == different
    assert len(found) == len(different)
    since = random.randint(0, last)
    later = {each.inquiry_id for each in history.recalled(since)}
    assert history.expected(since) <= later <= set(different)
    if random.randrange(2):
        assert history.received() == different


@pytest.mark.parametrize("seed", SEEDS)
def test_case_recall_equals_reevaluation(case_history: History, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After any history of cases, recall lists exactly the answers that would be different now."""
    random, history = Random(seed), case_history
    known = {1: case(random, 1)}
    history.load(known[1])
    for _ in range(20):
        match random.randrange(7):
            case 0 | 1:
                new = {number: case(random, number) for number in random.sample(range(1, 7), random.randint(1, 3))}
                known |= new
                history.load([row for rows in new.values() for row in rows])
            case 2:
                del known[random.choice(list(known))]
                known |= {7: case(random, 7)}
                history.load([row for rows in known.values() for row in rows], replace=True)
            case 3:
                # The same cases as before: only coverage changes.
                history.load([row for rows in known.values() for row in rows], replace=True, since=random.choice(SINCE))
            case 4 | 5:
                history.ask(random.choices(history.asked, k=8), random.choice(CALLERS))
            case _:
                history.rotate()
        compare(history, random, monkeypatch)


@pytest.mark.parametrize("seed", SEEDS)
def test_note_recall_equals_reevaluation(note_history: NoteHistory, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After any history of notes, recall lists exactly the answers that would be different now."""
    random, history = Random(seed), note_history
    history.load_notes([note(random, serial) for serial in SERIALS])
    for _ in range(20):
        match random.randrange(7):
            case 0 | 1:
                history.load_notes([note(random, serial) for serial in random.sample(SERIALS, random.randint(1, 3))])
            case 2:
                remaining = random.sample(list(history.known.values()), random.randint(1, len(history.known)))
                history.load_notes(remaining, replace=True)
            case 3 | 4 | 5:
                caller = random.choice(CALLERS)
                true = [(CHECK_NOTE, true_question(row)) for row in history.known.values()]
                history.ask([*random.choices(history.asked, k=6), *true], caller)
                requests = [
                    notes_pb.GetNotePartiesRequest(serial=serial, executive_agency_id="SETAD-0001")
                    for serial in SERIALS
                ]
                history.ask([(GET_NOTE_PARTIES, each) for each in requests], caller)
            case _:
                history.rotate()
        compare(history, random, monkeypatch)


def test_lost_links_concern_certificates_only(case_history: History) -> None:
    """Where cases are linked to certificates for less, only NO about a certificate promised more than now."""
    history = case_history
    history.load([])
    history.ask(history.asked, CALLERS[0])
    history.load([], replace=True, tracking_since=date(2024, 1, 1))
    found = [history.recalled(after) for after in (0, 1)]

    lost = [("CheckByTrackingId", "NO", "UNCOVERED")] * len(CHEQUES)
    assert [lost, lost] == [[(each.method, each.then, each.now) for each in listed] for listed in found]


def test_new_links_recall_nothing(case_history: History) -> None:
    """No answer promised more than now where cases are linked to certificates since."""
    history = case_history
    history.load([], is_linked=False)
    history.ask(history.asked, CALLERS[0])
    history.load([], replace=True)

    assert len(PERSONS) == len(history.given)  # certificates got no NO
    assert [] == history.recalled(0)


def test_other_certificate_of_the_cheque(case_history: History) -> None:
    """A case about one certificate of a cheque recalls the answers about its others, when it comes and when it goes."""
    history, cheque = case_history, {"sayad_id": "1402000000000077", "national_id": "", "role": ""}
    uncovered = LATE | cheque | {"case_number": "1", "filed_on": DAYS[0], "tracking_id": CHEQUES[0]}
    covered = LATE | cheque | {"case_number": "2", "tracking_id": CHEQUES[1]}
    asked = (CHECK_BY_TRACKING_ID, cases_pb.CheckByTrackingIdRequest(tracking_id=CHEQUES[0]))
    listed = []
    for rows in ([uncovered], [uncovered, covered], [uncovered]):
        history.load(rows, replace=True)
        listed.append([(each.then, each.now) for each in history.recalled(len(history.words) - 2)])
        history.ask([asked], CALLERS[0])

    assert [[], [("NO", "YES")], [("YES", "NO")]] == listed


def test_list_waits_for_the_comparison(case_history: History) -> None:
    """Until the answers are compared with the newest load, no list is given: it might lack the change."""
    history, late = case_history, LATE | {"national_id": PERSONS[0]}
    history.load([])
    history.ask(history.asked, CALLERS[0])
    before = history.page(CALLERS[0])
    history.compare()
    compared = history.page(CALLERS[0])
    history.load([late])
    after = history.page(CALLERS[0])

    assert (Reason.CHANGES_UNKNOWN, Reason.CHANGES_UNKNOWN) == (before, after)
    assert not isinstance(compared, Reason)
    assert ([], True) == (list(compared.changes), compared.complete)
    history.compare()
    assert 1 == len(history.pages(CALLERS[0]))


def test_load_between_two_pages(case_history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that continues after another load skips and repeats nothing, and names changes back too."""
    monkeypatch.setattr(answer_changes, "PAGE", 3)
    history = case_history
    history.load([])
    history.ask([*history.asked, *history.asked], CALLERS[0])
    history.load([LATE | {"case_number": str(n), "national_id": each} for n, each in enumerate(PERSONS, 1)])
    history.compare()
    first = history.page(CALLERS[0])
    assert not isinstance(first, Reason)
    history.load([LATE | {"case_number": "1", "national_id": PERSONS[0]}], replace=True)
    history.compare()
    rest = history.pages(CALLERS[0], first.cursor)

    assert [*first.changes, *rest] == history.pages(CALLERS[0])
    yes, no = changes_pb.ANSWER_STATE_YES, changes_pb.ANSWER_STATE_NO
    assert [yes] * 10 + [no] * 8 == [change.now for change in [*first.changes, *rest]]
    assert [2] * 10 + [3] * 8 == [change.load for change in [*first.changes, *rest]]


def true_question(row: dict[str, Any]) -> notes_pb.CheckNoteRequest:
    return notes_pb.CheckNoteRequest(
        serial=row["serial"],
        obligor_id=row["obligor_id"],
        beneficiary_id=row["holder_id"],
        amount_rials=row["amount_rials"],
    )
