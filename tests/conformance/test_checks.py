"""The judge: a reply that is right has no complaint, and each way of being wrong has its own."""

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
import uuid_utils
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from conformance.case import Instance, Step
from conformance.checks import Asked, Judge, Lengths
from conformance.client import Seen
from conformance.target import Target
from estelam.core.clock import Clock
from estelam.core.errors import QuotaState, Reason, Refusal, Violation
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from tests.conformance.fake_ministry import ASKED, CHECK_NOTE, Ministry, Trailers, check, refused, trailers

INVALID = Refusal(Reason.FIELD_INVALID, [Violation("serial", "string.note_serial", "must be 16 ASCII digits")])


def asked(**expect: Any) -> Asked:
    step = Step.model_validate(check(**expect))
    return Asked(step, Instance.PROMISSORY, "setad", f"/{CHECK_NOTE}", ASKED.SerializeToString())


def answered(reply: notes.CheckNoteResponse, told: Trailers | None = None) -> Seen:
    return Seen("OK", reply=reply.SerializeToString(), trailers=trailers(reply) if told is None else told)


def declined(refusal: Refusal, **how: Any) -> Seen:
    found = refused(refusal, **how)
    name = {3: "INVALID_ARGUMENT", 8: "RESOURCE_EXHAUSTED", 14: "UNAVAILABLE", 12: "UNIMPLEMENTED"}
    return Seen(name[refusal.spec.status], refusal.spec.en, trailers=found)


def complaints(target: Target, question: Asked, seen: Seen, judge: Judge | None = None) -> list[tuple[str, str]]:
    return list((judge or Judge(target)).complaints(question, seen, Lengths(), now=Clock().now()))


def test_a_proven_answer_is_as_it_must_be(target: Target) -> None:
    assert complaints(target, asked(answer="YES"), answered(Ministry(target).reply())) == []


def test_the_other_answer_is_not(target: Target) -> None:
    seen = answered(Ministry(target).reply(answer=pb.ANSWER_NO))

    assert complaints(target, asked(answer="YES"), seen) == [("answer YES", "NO")]


def test_an_absent_answer_is_none(target: Target) -> None:
    reply = Ministry(target).reply()
    reply.ClearField("answer")

    assert ("answer YES or NO", "UNSPECIFIED") in complaints(target, asked(), answered(reply))


def test_a_receipt_of_another_request_proves_nothing(target: Target) -> None:
    other = notes.CheckNoteRequest()
    other.CopyFrom(ASKED)
    other.amount_rials += 1
    seen = answered(Ministry(target).reply(other))

    assert complaints(target, asked(), seen) == [
        ("a receipt that proves the reply", "the receipt is of another request or another reply")
    ]


ENTRY_FAULTS: dict[str, Callable[[pb.Entry], object]] = {
    "caller 99001187852": lambda entry: setattr(entry, "caller", "99000316764"),
    "agency ''": lambda entry: setattr(entry, "agency", "SETAD-0001"),
    "UUID of version 7": lambda entry: setattr(entry, "inquiry_id", uuid_utils.uuid4().bytes),
    "by the steered clock": lambda entry: setattr(entry, "answered_at_micros", entry.answered_at_micros - 90_000_000),
    "3 subject(s)": lambda entry: entry.subjects.pop(),
    "a question of 32": lambda entry: setattr(entry, "question", b""),
    "nothing of x-operator": lambda entry: setattr(entry, "operator", bytes(32)),
    "no identifier": lambda entry: setattr(entry, "subject_key_id", ASKED.serial),
    "keyed hashes": lambda entry: entry.subjects.__setitem__(0, _sha256(ASKED.serial)),
}


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@pytest.mark.parametrize("words", ENTRY_FAULTS)
def test_an_entry_that_is_signed_and_wrong_is_found(target: Target, words: str) -> None:
    seen = answered(Ministry(target, spoil_entry=ENTRY_FAULTS[words]).reply())

    assert [words in expected for expected, _ in complaints(target, asked(), seen)] == [True]


def test_one_entry_given_out_twice_is_found(target: Target) -> None:
    judge, seen = Judge(target), answered(Ministry(target).reply())

    assert complaints(target, asked(), seen, judge) == []
    assert complaints(target, asked(), seen, judge) == [
        ("an entry of its own in the ledger", "entry 1 was given out before")
    ]


def test_a_chain_of_blocks_that_is_broken_is_found(target: Target) -> None:
    judge, ministry = Judge(target), Ministry(target)

    assert complaints(target, asked(), answered(ministry.reply()), judge) == []
    assert complaints(target, asked(), answered(ministry.reply()), judge) == []
    ministry.previous = bytes(32)
    assert ["blocks that are chained by their hashes"] == [
        expected for expected, _ in complaints(target, asked(), answered(ministry.reply()), judge)
    ]


def test_a_field_that_the_contract_does_not_have_is_found(target: Target) -> None:
    seen = answered(Ministry(target).reply())
    more = dataclasses.replace(seen, reply=(seen.reply or b"") + b"\xf8\x01\x01")

    assert ("only fields of the contract in the reply", "another field") in complaints(target, asked(), more)


def test_bytes_that_are_no_reply_are_no_answer(target: Target) -> None:
    seen = Seen("OK", reply=b"\xff")

    assert complaints(target, asked(), seen) == [("a reply of this method", "bytes that are none")]


@pytest.mark.parametrize("key", ["estelam-inquiry-id", "ratelimit", "ratelimit-policy"])
def test_a_trailer_that_is_missing_is_missed(target: Target, key: str) -> None:
    reply = Ministry(target).reply()
    told = tuple(trailer for trailer in trailers(reply) if trailer[0] != key)

    assert [key in expected for expected, _ in complaints(target, asked(), answered(reply, told))] == [True]


def test_a_trailer_that_names_another_inquiry_is_found(target: Target) -> None:
    ministry = Ministry(target)
    told = trailers(ministry.reply())

    assert ("the receipt's inquiry_id in the trailer estelam-inquiry-id", "another") in complaints(
        target, asked(), answered(ministry.reply(), told)
    )


def test_the_quota_and_the_callers_own_id_are_held_against_what_is_said(target: Target) -> None:
    step = Step.model_validate(
        {**check(quota={"limit": 2000, "remaining": 1998}, echoes=True), "metadata": [["x-inquiry-id", "mine-1"]]}
    )
    question = dataclasses.replace(asked(), step=step)

    found = complaints(target, question, answered(Ministry(target).reply()))

    assert ("quota remaining 1998 in trailer ratelimit", "'\"CheckNote\";r=000001999;t=000000001'") in found
    assert ("the caller's own x-inquiry-id among the trailers", "''") in found
    assert not [expected for expected, _ in found if "limit 2000" in expected]


def test_replies_of_one_word_are_equally_long(target: Target) -> None:
    judge, ministry, lengths = Judge(target), Ministry(target), Lengths()
    short, long = ministry.reply(), ministry.reply()
    told = (*trailers(long), ("estelam-more", "x"))
    question = asked(same_length="answers")

    first = list(judge.complaints(question, answered(short), lengths))
    second = list(judge.complaints(question, answered(long, told), lengths))

    assert ([], 1) == (first, len(second))
    assert "as those before" in second[0][0]


def test_a_refusal_in_the_tables_words_is_as_it_must_be(target: Target) -> None:
    question = asked(status=["INVALID_ARGUMENT"], reason=["FIELD_INVALID"], field="serial")

    assert complaints(target, question, declined(INVALID)) == []


def test_a_refusal_is_no_answer(target: Target) -> None:
    assert complaints(target, asked(answer="NO"), declined(INVALID)) == [
        ("OK NO", "INVALID_ARGUMENT FIELD_INVALID (serial)")
    ]


def test_a_refusal_about_another_field_or_for_another_reason_is_found(target: Target) -> None:
    about = asked(status=["INVALID_ARGUMENT"], reason=["FIELD_INVALID"], field="amount_rials")
    because = asked(status=["INVALID_ARGUMENT"], reason=["REQUEST_MALFORMED"])

    assert complaints(target, about, declined(INVALID)) == [("BadRequest about amount_rials", "fields ['serial']")]
    assert complaints(target, because, declined(INVALID)) == [
        ("REQUEST_MALFORMED", "INVALID_ARGUMENT FIELD_INVALID (serial)")
    ]


def spoilt(seen: Seen, spoil: Callable[[status_pb2.Status], object]) -> Seen:
    status = status_pb2.Status.FromString(dict(seen.trailers)["grpc-status-details-bin"])  # type: ignore[arg-type]
    spoil(status)
    told = {**dict(seen.trailers), "grpc-status-details-bin": status.SerializeToString()}
    return dataclasses.replace(seen, trailers=tuple(told.items()))


def add(status: status_pb2.Status, detail: Message) -> None:
    packed = Packed()
    packed.Pack(detail)
    status.details.append(packed)


def without(status: status_pb2.Status, kind: str) -> None:
    kept = [detail for detail in status.details if not detail.type_url.endswith(kind)]
    del status.details[:]
    status.details.extend(kept)


def _relayer(status: status_pb2.Status) -> None:
    without(status, "ErrorInfo")
    add(status, error_details_pb2.ErrorInfo(reason="FIELD_INVALID", domain="estelam", metadata={"layer": "store"}))


DETAIL_FAULTS: dict[str, Callable[[status_pb2.Status], object]] = {
    "message": lambda status: setattr(status, "message", "Bad serial."),
    "LocalizedMessage": lambda status: without(status, "LocalizedMessage"),
    "ErrorInfo of layer": _relayer,
    "a BadRequest": lambda status: without(status, "BadRequest"),
    "RetryInfo": lambda status: add(status, error_details_pb2.RetryInfo()),
    "QuotaFailure": lambda status: add(
        status, error_details_pb2.QuotaFailure(violations=[error_details_pb2.QuotaFailure.Violation()])
    ),
    "ErrorInfo of domain": lambda status: without(status, "ErrorInfo"),
    "details of google.rpc": lambda status: add(status, error_details_pb2.DebugInfo(detail="at line 1")),
    "status INVALID_ARGUMENT": lambda status: setattr(status, "code", 2),
}


@pytest.mark.parametrize("words", DETAIL_FAULTS)
def test_a_refusal_with_a_detail_too_few_too_many_or_wrong_is_found(target: Target, words: str) -> None:
    question = asked(status=["INVALID_ARGUMENT"], reason=["FIELD_INVALID"])

    found = complaints(target, question, spoilt(declined(INVALID), DETAIL_FAULTS[words]))

    assert [words in expected for expected, _ in found] == [True]


@pytest.mark.parametrize("where", ["message", "details", "trailer"])
def test_an_identifier_in_a_refusal_is_found(target: Target, where: str) -> None:
    question, seen = asked(status=["INVALID_ARGUMENT"]), declined(INVALID)
    if where == "message":
        seen = dataclasses.replace(seen, message=f"no note {ASKED.serial}")
    elif where == "details":
        leak = error_details_pb2.BadRequest.FieldViolation(field="serial", description=f"{ASKED.serial} is none")
        seen = spoilt(seen, lambda status: add(status, error_details_pb2.BadRequest(field_violations=[leak])))
    else:
        seen = dataclasses.replace(seen, trailers=(*seen.trailers, ("x-debug", ASKED.serial)))

    assert ("nothing of the request in the refusal", "an identifier of the request") in complaints(
        target, question, seen
    )


def test_what_a_client_may_do_by_itself_is_said_as_the_reason_has_it(target: Target) -> None:
    crowded = asked(status=["RESOURCE_EXHAUSTED"])
    quota = QuotaState("CheckNote", limit=5, remaining=0, reset_seconds=5000, retry_seconds=1000.0)
    exhausted = Refusal(Reason.QUOTA_EXHAUSTED, quota=quota)
    down = Refusal(Reason.STORE_UNAVAILABLE)

    assert complaints(target, crowded, declined(exhausted)) == []
    assert len(complaints(target, crowded, declined(exhausted, pushback="20"))) == 1
    assert complaints(target, crowded, declined(Refusal(Reason.OVERLOADED), pushback="1500")) == []
    assert len(complaints(target, asked(status=["UNAVAILABLE"]), declined(down))) == 1


def test_an_announced_outage_says_how_long_it_lasts_still_and_that_no_client_asks_again_by_itself(
    target: Target,
) -> None:
    question, out = asked(status=["UNAVAILABLE"], reason=["OUTAGE_ANNOUNCED"]), Reason.OUTAGE_ANNOUNCED

    assert complaints(target, question, declined(Refusal(out, retry_seconds=14_400.0))) == []
    assert len(complaints(target, question, declined(Refusal(out)))) == 1
    assert len(complaints(target, question, declined(Refusal(out, retry_seconds=60.0), pushback="60000"))) == 1


def test_a_deadline_that_passes_here_owes_no_words_and_a_servers_own_does(target: Target) -> None:
    question = asked(status=["DEADLINE_EXCEEDED"], reason=["ANSWER_LATE"])

    assert complaints(target, question, Seen("DEADLINE_EXCEEDED")) == []
    assert len(complaints(target, question, Seen("DEADLINE_EXCEEDED", trailers=(("x-node", "7"),)))) == 1


def test_a_connection_that_ended_without_a_word_is_closed(target: Target) -> None:
    closed = Seen("UNAVAILABLE", "failed to connect to all addresses", closed=True)

    assert complaints(target, asked(status=["CLOSED"]), closed) == []
    assert len(complaints(target, asked(status=["CLOSED"]), Seen("UNAVAILABLE", "we are down"))) == 1


def test_of_calls_at_once_so_many_end_as_told(target: Target) -> None:
    ministry = Ministry(target)
    seen = [answered(ministry.reply()), answered(ministry.reply(answer=pb.ANSWER_NO)), declined(INVALID)]
    judge = Judge(target)

    assert list(judge.counted(asked(counts={"OK": 2, "YES": 1, "NO": 1, "FIELD_INVALID": 1}), seen)) == []
    assert list(judge.counted(asked(counts={"YES": 2}), seen)) == [("2 of 3 calls end with YES", "1")]


@pytest.mark.parametrize(("reply", "found"), [(b"\x08\x01", []), (b"\x08\x02", [("health SERVING", "NOT_SERVING")])])
def test_health_is_what_is_said(target: Target, reply: bytes, found: list[tuple[str, str]]) -> None:
    step = Step.model_validate({"health": "", "expect": {"health": "SERVING"}})
    question = dataclasses.replace(asked(), step=step)

    assert complaints(target, question, Seen("OK", reply=reply)) == found
