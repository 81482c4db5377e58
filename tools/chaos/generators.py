"""Random loads and requests for each service over few people, notes and cases, so that they often meet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from google.protobuf.message import Message

from estelam.core.model import Method
from estelam.core.settings import StoreSettings
from estelam.inquiry.v1 import inquiry_pb2
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as cases_pb
from estelam.loading.feed import Feed
from estelam.pipeline.recorder import Lookup
from estelam.promissory.v1 import note_inquiry_pb2 as notes_pb
from judiciary import feeds as judiciary_load
from judiciary import methods as judiciary
from promissory import feeds as promissory_load
from promissory import methods as promissory
from promissory.settings import PromissorySettings
from tools.chaos.oracle import CASE_FEEDS, MEMBERS, NOTE_FEEDS, Answer, CasesOracle, NotesOracle, Row

PEOPLE = ("9990000018", "9990000026", "99000554330", "999441044163")
SERIALS = ("1405000000000001", "1405000000000002", "1405000000000003")
AMOUNTS = ("1", "1000000", "9223372036854775807")
STATES = ("ISSUED", "ISSUED", "ISSUED", "ISSUED", "UNSIGNED", "GRADUALLY_SETTLED", "SETTLED", "PROTESTED", "REVOKED")
AGENCIES = ("BUYER-1", "BUYER-2", "BUYER-3")
CALLERS = ("99001187852", "99000316764")
CASE_NUMBERS = ("140001", "140002", "140003", "140004")
TRACKING_IDS = ("140000000000000001", "140000000000000002", "1", "139900000000000001")
SAYAD_IDS = ("", "", "1400000000000001", "1400000000000002")
ROLES = ("DRAWER", "DRAWER", "HOLDER", "ENDORSER", "GUARANTOR", "")
# Around both dates with which coverage may begin.
FILED = ("2019-06-01", "2020-03-19", "2020-03-20", "2021-03-20", "2021-03-21", "2024-06-01")
SINCE = (None, None, None, date(2020, 3, 20), date(2021, 3, 21), date(2024, 6, 1))


class Load(NamedTuple):
    """The rows of a file to load, and the date from which it declares its feed complete."""

    kind: str
    rows: list[Row]
    sound: bool = True
    """Whether every row is valid; otherwise the load must change nothing."""
    since: date | None = None
    tracking_since: date | None = None
    """The date from which it declares its cases linked to certificates."""


class RandomRequest(NamedTuple):
    """One inquiry: method, caller and its fields."""

    method: Method
    caller: str
    fields: Row


@dataclass(frozen=True, slots=True)
class Model:
    """The random events of one service's histories."""

    name: str
    oracle: Callable[[], NotesOracle | CasesOracle]
    feeds: Mapping[str, Feed]
    """The feeds by name; the names of one kind's feeds are those that coverage needs, or the kind's own."""
    questions: Callable[[StoreSettings], Mapping[Method, Lookup]]
    """The look-up of each method."""
    replies: Mapping[str, type[Message]]
    load: Callable[[Random], Load]
    ask: Callable[[Random, Any], RandomRequest]
    """Makes a request that is often about something that the oracle knows."""


def request(question: RandomRequest) -> Message:
    """*question* as a request message."""
    kind = question.method.request
    numbers = {name: int(value) if name == "amount_rials" else value for name, value in question.fields.items()}
    return kind(**numbers)


def past_dates(row: Row) -> list[str]:
    """The dates of *row* that no valid file states in the future."""
    return [row[name] for name in ("filed_on", "issued_on") if name in row]


def outcome_of(reply: Any) -> Answer:
    """*reply* in the oracle's terms."""
    if isinstance(reply, notes_pb.GetNotePartiesResponse):
        parties = (reply.obligor, reply.beneficiary)
        return Answer("DISCLOSED", [[party.id, party.full_name, party.address, party.postal_code] for party in parties])
    detail = None
    if isinstance(reply, cases_pb.CheckByNationalIdResponse | cases_pb.CheckByTrackingIdResponse):
        detail = _coverage(reply) if reply.HasField("coverage") else None
    return Answer(inquiry_pb2.Answer.Name(reply.answer).removeprefix("ANSWER_"), detail)


def _coverage(reply: Any) -> tuple[date | None, datetime]:
    since = reply.coverage.since if reply.coverage.HasField("since") else None
    through = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=reply.coverage.as_of.ToMicroseconds())
    return since and date(since.year, since.month, since.day), through


def _notes(random: Random) -> Load:
    if random.random() < 0.25:
        members = random.sample(AGENCIES[:2], random.randint(1, 2))
        return Load(MEMBERS, [{"agency_id": agency, "name": f"a buyer {random.randint(0, 999)}"} for agency in members])
    serials = random.sample(SERIALS, random.randint(1, len(SERIALS)))
    return _sometimes_invalid(random, Load("notes", [_note(random, serial) for serial in serials]), "obligor_id")


def _note(random: Random, serial: str) -> Row:
    amount = random.choice(AMOUNTS)
    note = {"serial": serial, "state": random.choice(STATES), "amount_rials": amount}
    for side in ("obligor", "holder"):
        version = random.randint(0, 99)
        note |= {f"{side}_id": random.choice(PEOPLE[:3]), f"{side}_name": f"somebody {version}"}
        note |= {f"{side}_address": f"some street {version}", f"{side}_postal_code": f"99000000{version:02d}"}
    note |= {"beneficiary_id": random.choice(PEOPLE), "remaining_rials": random.choice(("0", amount))}
    return note | {"issued_on": "2026-01-01", "due_on": random.choice(("", "2027-01-01")), "payment_place": "a bank"}


def _about_notes(random: Random, known: NotesOracle) -> RandomRequest:
    caller, serial = random.choice(CALLERS), random.choice(SERIALS)
    if random.random() < 0.3:
        if known.confirmed_at and random.random() < 0.7:
            caller, serial, *_ = random.choice(list(known.confirmed_at))
        fields = {"serial": serial, "executive_agency_id": random.choice(AGENCIES)}
        return RandomRequest(promissory.GET_NOTE_PARTIES, caller, fields)
    people = {"obligor_id": random.choice(PEOPLE[:3]), "beneficiary_id": random.choice(PEOPLE[:3])}
    fields = {"serial": serial, **people, "amount_rials": random.choice(AMOUNTS)}
    if (note := known.notes.get(serial)) and random.random() < 0.8:
        genuine = {"obligor_id": note["obligor_id"], "beneficiary_id": note["holder_id"]}
        genuine |= {"amount_rials": note["amount_rials"]}
        wrong = {name: fields[name] for name in genuine if random.random() < 0.1}
        fields |= genuine | wrong
    return RandomRequest(promissory.CHECK_NOTE, caller, fields)


def _cases(random: Random) -> Load:
    numbers = random.sample(CASE_NUMBERS, random.randint(1, len(CASE_NUMBERS)))
    rows = [row for number in numbers for row in _case(random, number)]
    random.shuffle(rows)
    return _sometimes_invalid(
        random, Load("cases", rows, since=random.choice(SINCE), tracking_since=random.choice(SINCE)), "national_id"
    )


def _case(random: Random, number: str) -> list[Row]:
    case = {"case_number": number, "kind": random.choice(("CIVIL", "CRIMINAL")), "filed_on": random.choice(FILED)}
    case |= {"registered_at": "2024-06-01T09:00:00+03:30"}
    parties = random.sample(PEOPLE, random.randint(0, 3))
    tracking_id = random.choice(TRACKING_IDS) if not parties or random.random() < 0.7 else ""
    case |= {"tracking_id": tracking_id, "sayad_id": random.choice(SAYAD_IDS)}
    if not parties:
        return [{**case, "national_id": "", "role": ""}]
    return [{**case, "national_id": person, "role": random.choice(ROLES)} for person in parties]


def _about_cases(random: Random, _known: CasesOracle) -> RandomRequest:
    caller = random.choice(CALLERS)
    if random.random() < 0.5:
        return RandomRequest(judiciary.CHECK_BY_NATIONAL_ID, caller, {"national_id": random.choice(PEOPLE)})
    return RandomRequest(judiciary.CHECK_BY_TRACKING_ID, caller, {"tracking_id": random.choice(TRACKING_IDS)})


def _sometimes_invalid(random: Random, load: Load, person: str) -> Load:
    """*load*, sometimes with an invalid row: a wrong check digit or a duplicate."""
    if random.random() > 0.15:
        return load
    row = random.choice(load.rows)
    bad = row if random.random() < 0.5 else {**row, person: "9990000019"}
    place = random.randint(0, len(load.rows))
    return load._replace(rows=[*load.rows[:place], bad, *load.rows[place:]], sound=False)


def _promissory_questions(settings: StoreSettings) -> Mapping[Method, Lookup]:
    if not isinstance(settings, PromissorySettings):
        raise TypeError("the promissory service has settings of its own")
    return promissory.lookups(settings)


MODELS = {
    "promissory": Model(
        "promissory",
        NotesOracle,
        dict.fromkeys(NOTE_FEEDS, promissory_load.NOTES) | {MEMBERS: promissory_load.MEMBERS},
        _promissory_questions,
        {"CheckNote": notes_pb.CheckNoteResponse, "GetNoteParties": notes_pb.GetNotePartiesResponse},
        _notes,
        _about_notes,
    ),
    "judiciary": Model(
        "judiciary",
        CasesOracle,
        dict.fromkeys(CASE_FEEDS, judiciary_load.CASES),
        lambda _settings: judiciary.LOOKUPS,
        {
            "CheckByNationalId": cases_pb.CheckByNationalIdResponse,
            "CheckByTrackingId": cases_pb.CheckByTrackingIdResponse,
        },
        _cases,
        _about_cases,
    ),
}
