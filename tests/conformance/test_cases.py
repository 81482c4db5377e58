"""The cases: complete, consistent with the contract and the fixtures, and titled in both languages."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import protovalidate
import pytest
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2

from conformance import case_loader, contract, fixtures
from conformance.case import Case, Instance, Lie, Stage, Step, WireFault
from conformance.fixtures.grants import TABLE
from conformance.profile import Profile
from estelam.core import validation
from estelam.core.errors import ERROR_CATALOGUE, Reason, Refusal
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as courts
from estelam.promissory.v1 import note_inquiry_pb2 as ministry
from estelam.setad.v1 import note_verification_pb2 as adapter

CASES = case_loader.read()
# What no caller can cause: a clock that was set back, an internal error, and an outage that the provider announced.
# The others need instances that the kit does not ask for: a service with lists of revoked certificates, and one whose
# feed does not declare its link to certificates.
NOT_CAUSED_BY_CALLERS = {
    Reason.CLOCK_BEHIND,
    Reason.SERVICE_FAILED,
    Reason.OUTAGE_ANNOUNCED,
    Reason.CERTIFICATE_REVOKED,
    Reason.REVOCATION_UNKNOWN,
    Reason.TRACKING_UNDECLARED,
    # Of ListChangedAnswers, which the cases do not ask: it is ours, and no other implementation needs it.
    Reason.CURSOR_UNKNOWN,
    Reason.CHANGES_UNKNOWN,
}
METHODS = ("CheckNote", "GetNoteParties", "CheckByNationalId", "CheckByTrackingId", "VerifyNote")
REQUESTS = (
    ministry.CheckNoteRequest,
    ministry.GetNotePartiesRequest,
    courts.CheckByNationalIdRequest,
    courts.CheckByTrackingIdRequest,
    adapter.VerifyNoteRequest,
)
EACH_SERVICE = (
    *("callers.granted", "callers.refused", "callers.authorize-before-validate", "callers.unusable"),
    *("callers.handshake", "callers.no-certificate", "callers.lookalike", "callers.other-attributes"),
    *("callers.spoofed-header", "callers.denied.", "callers.denied-during-run", "callers.not-yet-valid"),
    *("callers.grant-ends", "callers.grant-begins", "callers.grant-in-future"),
    *("fields.unknown", "fields.malformed", "fields.empty", "fields.size", "fields.no-values-in-refusal"),
    *("health.serving", "health.not-serving", "health.unknown-service"),
    *("metadata.echoed.", "metadata.echoed-with-a-refusal", "metadata.all-three", "metadata.ignored"),
    *("metadata.malformed", "metadata.duplicate", "metadata.before-request", "metadata.required."),
    *("quota.trailers", "quota.no-costs-more", "quota.last-token", "quota.of-the-organisation"),
    *("quota.refused-requests", "quota.concurrent", "quota.refill", "quota.large"),
    *("wire.unknown-method", "wire.fault", "wire.deadline", "wire.short-deadlines", "wire.new-connections"),
)
PERSON = {"string.person_id.form", "string.person_id.national_number", "string.person_id.legal_person"}
RULES = {
    "serial": {"string.note_serial"},
    "obligor_id": PERSON,
    "beneficiary_id": PERSON,
    "national_id": PERSON,
    "amount_rials": {"int64.gt"},
    "executive_agency_id": {"string.agency_id"},
    "tracking_id": {"string.tracking_id"},
}
# The lengths or amounts on both sides of every limit.
ACCEPTED = {
    "serial": {16},
    "obligor_id": {10, 11, 12},
    "beneficiary_id": {10, 11, 12},
    "national_id": {10, 11, 12},
    "amount_rials": {1, 2**63 - 1},
    "executive_agency_id": {1, 32},
    "tracking_id": {1, 32},
}
REFUSED = {
    "serial": {15, 17},
    "obligor_id": {9, 13},
    "beneficiary_id": {9, 13},
    "national_id": {0, 9, 13},
    "amount_rials": {0, -1},
    "executive_agency_id": {0, 33},
    "tracking_id": {0, 33},
}


class SentRequest(NamedTuple):
    """A step that calls a method of the contract, and its request."""

    case: Case
    step: Step
    message: Message
    note: Mapping[str, str]
    """The row of its note at that step; empty if there is none."""
    cases: Sequence[Mapping[str, str]]
    """The rows of the court cases at that step."""

    @property
    def is_answered(self) -> bool:
        """Whether the step expects an answer."""
        return self.step.expect.status == ("OK",)


def sent_requests() -> Iterator[SentRequest]:
    for case in CASES:
        data = {name: fixtures.rows(name) for name in fixtures.KEYS}
        for step in case.steps:
            if step.change is not None:
                key, change = fixtures.KEYS[step.change.data], fixtures.changed(step.change)
                kept = [row for row in data[step.change.data] if row[key] != step.change.key]
                data[step.change.data] = [*kept, *change["rows"]]
            notes = {row["serial"]: row for row in data["notes"]}
            path = contract.path_of(step.call or "", (step.target or case.target).service)
            kind = contract.request_type(path)
            if kind is None or step.fault:
                continue
            try:
                message = kind.FromString(contract.encode(step, path))
                yield SentRequest(case, step, message, notes.get(getattr(message, "serial", ""), {}), data["cases"])
            except DecodeError:
                continue


def broken_fields(message: Message) -> set[str]:
    """Return the fields that violate a rule of the contract."""
    try:
        validation.validate(message)
    except Refusal as refusal:
        return {found.field for found in refusal.violations}
    return set()


def size(value: str | int) -> int | None:
    """Return the amount, or the length of a text of which only the length can be invalid; else None."""
    if isinstance(value, int):
        return value
    return len(value) if re.fullmatch("[0-9]*|[0-9A-Za-z-]{32,}", value, re.ASCII) else None


def test_titles_are_unique() -> None:
    """There are enough cases, each with unique titles."""
    english = Counter(case.title.en for case in CASES)
    persian = Counter(case.title.fa for case in CASES)

    assert len(CASES) >= 150
    assert [] == [title for title, times in (english + persian).items() if times > 1]


def test_every_clause_has_cases() -> None:
    """Every clause and guarantee has cases."""
    assert set(case_loader.clauses()) == {case.clause for case in CASES}


def test_every_reason_is_expected() -> None:
    """Every reason that a caller can cause is expected by a case."""
    expected = {reason for case in CASES for step in case.steps for reason in step.expect.reason}

    assert set(Reason) - NOT_CAUSED_BY_CALLERS == expected


def test_reasons_match_statuses() -> None:
    """Every expected reason's status is allowed by its step."""
    odd = [
        (case.id, reason)
        for case in CASES
        for step in case.steps
        for reason in step.expect.reason
        if code_pb2.Code.Name(ERROR_CATALOGUE[reason].status) not in step.expect.status
    ]

    assert [] == odd


def test_every_rule_is_violated() -> None:
    """Every rule of every field is violated by a case."""
    broken = {
        (each.message.DESCRIPTOR.name, each.step.expect.field, found.proto.rule_id)
        for each in sent_requests()
        if each.step.expect.reason == (Reason.FIELD_INVALID,) and each.step.expect.field
        for found in protovalidate.collect_violations(each.message)
    }

    whole = {
        (kind.DESCRIPTOR.name, field.name, rule)
        for kind in REQUESTS
        for field in kind.DESCRIPTOR.fields
        for rule in RULES[field.name]
    }
    assert whole == broken


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.DESCRIPTOR.name)
def test_boundaries(kind: type[Message]) -> None:
    """Every length and amount limit is tested on both sides."""
    taken: set[tuple[str, int | None]] = set()
    refused: set[tuple[str, int | None]] = set()
    for each in sent_requests():
        if type(each.message) is not kind:
            continue
        if each.is_answered:
            taken |= {(field.name, size(getattr(each.message, field.name))) for field in kind.DESCRIPTOR.fields}
        elif each.step.expect.field in RULES:
            refused.add((each.step.expect.field, size(getattr(each.message, each.step.expect.field))))

    fields = [field.name for field in kind.DESCRIPTOR.fields]
    assert set() == {(name, at) for name in fields for at in ACCEPTED[name]} - taken
    assert set() == {(name, at) for name in fields for at in REFUSED[name]} - refused


def test_expectations_match_the_contract() -> None:
    """Expected violations are those of the contract's rules."""
    for each in sent_requests():
        fields = broken_fields(each.message)
        if each.step.expect.reason == (Reason.FIELD_INVALID,):
            assert {each.step.expect.field} == fields or (fields and not each.step.expect.field), each.case.id
        elif each.is_answered:
            assert set() == fields, each.case.id


def test_profiles() -> None:
    """Every profile has cases, and those of core test every method."""
    core = {step.call for case in CASES if case.profile is Profile.CORE for step in case.steps}

    assert set(Profile) == {case.profile for case in CASES}
    assert set(METHODS) <= core


def test_answers_match_the_fixtures() -> None:
    """Every expected answer follows from the fixtures."""
    since = str(fixtures.COVERED_SINCE)

    def is_yes(message: object, note: Mapping[str, str], rows: Sequence[Mapping[str, str]]) -> bool:
        cases = [row for row in rows if row["filed_on"] >= since]
        drawers = {row["national_id"] for row in cases if row["role"] in {"DRAWER", ""}} - {""}
        sayad_ids = {row["sayad_id"] for row in cases} - {""}
        cheques = {row["tracking_id"] for row in cases} - {""}
        cheques |= {row["tracking_id"] for row in rows if row["sayad_id"] in sayad_ids}
        if isinstance(message, courts.CheckByNationalIdRequest):
            return message.national_id in drawers
        if isinstance(message, courts.CheckByTrackingIdRequest):
            return message.tracking_id in cheques
        assert isinstance(message, ministry.CheckNoteRequest | adapter.VerifyNoteRequest)
        facts = (message.obligor_id, message.beneficiary_id, str(message.amount_rials), "ISSUED")
        return facts == tuple(note.get(key) for key in ("obligor_id", "holder_id", "amount_rials", "state"))

    wrong = [
        each.case.id
        for each in sent_requests()
        if each.step.expect.answer
        and (each.step.expect.answer == "YES") is not is_yes(each.message, each.note, each.cases)
    ]

    assert [] == wrong


def test_parties_match_the_fixtures() -> None:
    """Every expected party is the fixtures'."""
    sides = {"obligor": "obligor", "beneficiary": "holder"}
    parties = [
        (each.note, side, party)
        for each in sent_requests()
        if each.step.request
        for side, party in each.step.expect.reply.items()
    ]

    for note, side, party in parties:
        fields = {key: note[f"{sides[side]}_{key}"] for key in ("id", "address", "postal_code")}
        stated = {key: value for key, value in fields.items() if value}
        assert stated | {"full_name": note[f"{sides[side]}_name"], "kind": party["kind"]} == party
    assert len(parties) >= 10


def test_every_caller_and_method() -> None:
    """Every caller is tested with every method."""
    cells = [
        (case.caller, case.steps[0].call)
        for case in CASES
        if case.id.startswith(("callers.granted.", "callers.refused."))
    ]

    assert len(cells) == len(set(cells)) == len({caller for caller, _ in cells}) * len(METHODS)
    assert set(METHODS) == {method for _, method in cells}


def test_every_fault_stage_and_instance() -> None:
    """Every fault, lie, stage and instance has a case."""
    steps = [(case, step) for case in CASES for step in case.steps]

    assert set(WireFault) == {step.fault for _, step in steps if step.fault}
    assert set(Lie) == {lie for _, step in steps for lie in (step.ministry or {}).values()}
    assert set(Stage) == {step.at for _, step in steps}
    assert set(Instance) == {step.target or case.target for case, step in steps}


def test_scarce_quotas() -> None:
    """A caller with a small quota is used by one case only of each method."""
    scarce = {caller.certificate for caller in TABLE if caller.burst < 100}
    users = Counter(
        (name, path)
        for case in CASES
        for name, path in {
            (step.caller or case.caller, contract.path_of(step.call, case.target.service))
            for step in case.steps
            if step.call is not None
        }
        if name in scarce
    )

    assert {1} == set(users.values())
    assert scarce == {name for name, _ in users}


@pytest.mark.parametrize("rule", EACH_SERVICE)
def test_each_service_alone(rule: str) -> None:
    """Each rule of the shared steps of a call is tested on each service."""
    assert {"promissory", "judiciary", "setad"} == {case.target.service for case in CASES if case.id.startswith(rule)}


def test_title_characters() -> None:
    """Titles use the characters of their language."""
    odd = [case.id for case in CASES if not case.title.en.isascii()]
    odd += [case.id for case in CASES if re.search("[يكة]", case.title.fa) or not re.search("[آ-ی]", case.title.fa)]

    assert [] == odd
