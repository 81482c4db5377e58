"""The checks: a correct result has no failure, and each mistake has its own."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import uuid_utils
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from conformance.case import Instance, Step
from conformance.checks import CaseReplies, Checker, SentCall
from conformance.client import CallResult
from conformance.target import Target
from estelam.core.clock import Clock
from estelam.core.errors import QuotaState, Reason, Refusal, Violation
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.receipts.tree import Frontier
from tests.conformance.fake_ministry import ASKED, CHECK_NOTE, RATE_LIMIT, Ministry, Trailers, check, refused, trailers

INVALID = Refusal(Reason.FIELD_INVALID, [Violation("serial", "string.note_serial", "must be 16 ASCII digits")])


def sent_call(**expect: Any) -> SentCall:
    step = Step.model_validate(check(**expect))
    return SentCall(step, Instance.PROMISSORY, "setad", f"/{CHECK_NOTE}", ASKED.SerializeToString())


def refused_call(**expect: Any) -> SentCall:
    """A call whose serial breaks its rule."""
    request = notes.CheckNoteRequest()
    request.CopyFrom(ASKED)
    request.serial = "1"
    return dataclasses.replace(sent_call(**expect), payload=request.SerializeToString())


def answer_result(reply: notes.CheckNoteResponse, trailer_pairs: Trailers | None = None) -> CallResult:
    return CallResult(
        "OK", reply=reply.SerializeToString(), trailers=trailers(reply) if trailer_pairs is None else trailer_pairs
    )


def refusal_result(refusal: Refusal, **how: Any) -> CallResult:
    found = refused(refusal, **how)
    name = {3: "INVALID_ARGUMENT", 8: "RESOURCE_EXHAUSTED", 14: "UNAVAILABLE", 12: "UNIMPLEMENTED"}
    return CallResult(name[refusal.spec.status], refusal.spec.en, trailers=found)


def failures(
    target: Target, call: SentCall, result: CallResult, checker: Checker | None = None
) -> list[tuple[str, str]]:
    found = (checker or Checker(target)).failures(call, result, CaseReplies(), now=Clock().now())
    return [(mismatch.expected, mismatch.actual) for mismatch in found]


def test_correct_answer(target: Target) -> None:
    """A correct answer with a valid receipt has no failure."""
    assert failures(target, sent_call(answer="YES"), answer_result(Ministry(target).reply())) == []


def test_wrong_answer(target: Target) -> None:
    """The wrong answer is a failure."""
    result = answer_result(Ministry(target).reply(answer=pb.ANSWER_NO))

    assert failures(target, sent_call(answer="YES"), result) == [("answer YES", "NO")]


def test_unspecified_answer(target: Target) -> None:
    """An unspecified answer is a failure."""
    reply = Ministry(target).reply()
    reply.ClearField("answer")

    assert ("answer YES or NO", "UNSPECIFIED") in failures(target, sent_call(), answer_result(reply))


def test_receipt_of_another_request(target: Target) -> None:
    """A receipt of another request is a failure."""
    other = notes.CheckNoteRequest()
    other.CopyFrom(ASKED)
    other.amount_rials += 1
    result = answer_result(Ministry(target).reply(other))

    assert failures(target, sent_call(), result) == [
        ("a receipt that proves the reply", "the receipt is of another request or another reply")
    ]


ENTRY_FAULTS: dict[str, Callable[[pb.Entry], object]] = {
    "caller 99001187852": lambda entry: setattr(entry, "caller", "99000316764"),
    "agency ''": lambda entry: setattr(entry, "agency", "SETAD-0001"),
    "UUID of version 7": lambda entry: setattr(entry, "inquiry_id", uuid_utils.uuid4().bytes),
    "an inquiry id of its time": lambda entry: setattr(entry, "inquiry_id", b"\xff" * 6 + b"\x7f\xff" + b"\xbf" * 8),
    "by the target's clock": lambda entry: setattr(entry, "answered_at_micros", entry.answered_at_micros - 90_000_000),
    "a keys_commitment of 32": lambda entry: setattr(entry, "keys_commitment", b""),
    "no identifier": lambda entry: setattr(entry, "notice", ASKED.serial),
    "no notice": lambda entry: setattr(entry, "notice", "{}"),
    "no refusal": lambda entry: setattr(entry, "refusal", "DATA_STALE"),
    "no annuls": lambda entry: setattr(entry, "annuls", 0),
}


@pytest.mark.parametrize("words", ENTRY_FAULTS)
def test_wrong_entry(target: Target, words: str) -> None:
    """Each wrong field of a signed entry is a failure."""
    result = answer_result(Ministry(target, change_entry=ENTRY_FAULTS[words]).reply())

    assert any(words in expected for expected, _ in failures(target, sent_call(), result))


def test_duplicate_entry(target: Target) -> None:
    """Two receipts with one entry are a failure."""
    checker, result = Checker(target), answer_result(Ministry(target).reply())

    assert failures(target, sent_call(), result, checker) == []
    assert {"a new entry in the ledger", "search keys with a salt of their own", "a random salt"} < {
        expected for expected, _ in failures(target, sent_call(), result, checker)
    }


def test_repeated_inquiry_id(target: Target) -> None:
    """An inquiry id that an earlier reply has, or one of another time where the clock is known, is a failure."""
    checker, refused_twice = Checker(target), refusal_result(INVALID)
    call = refused_call(status=["INVALID_ARGUMENT"], reason=["FIELD_INVALID"])
    old = "01749d2c-0000-7000-8000-000000000000"
    trailer_pairs = [(key, old if key == "estelam-inquiry-id" else value) for key, value in refused_twice.trailers]

    assert failures(target, call, refused_twice, checker) == []
    assert ["an inquiry id of its own"] == [expected for expected, _ in failures(target, call, refused_twice, checker)]
    other = dataclasses.replace(refused_twice, trailers=tuple(trailer_pairs))
    late = failures(target, call, other, checker)
    assert [True] == ["of its time" in expected for expected, _ in late]
    assert [] == [each for each in Checker(target).failures(call, other, CaseReplies()) if "time" in each.expected]


def test_times_of_entries(target: Target) -> None:
    """An entry that is older than an earlier entry is a failure."""
    checker, ministry = Checker(target), Ministry(target)
    first = answer_result(ministry.reply())
    ministry.change_entry = lambda entry: setattr(entry, "answered_at_micros", entry.answered_at_micros - 5_000_000)

    assert failures(target, sent_call(), first, checker) == []
    assert ["entries in the order of their times"] == [
        expected for expected, _ in failures(target, sent_call(), answer_result(ministry.reply()), checker)
    ]


def test_rewritten_ledger(target: Target) -> None:
    """A checkpoint of a tree in which earlier entries have changed is a failure, whatever its size."""
    checker, ministry = Checker(target), Ministry(target)
    for _ in range(4):
        assert failures(target, sent_call(), answer_result(ministry.reply()), checker) == []
    ministry.tree = Frontier().append([bytes([n] * 32) for n in range(5)]).frontier

    assert ["a checkpoint that is consistent with every earlier one"] == [
        expected for expected, _ in failures(target, sent_call(), answer_result(ministry.reply()), checker)
    ]


def test_shape_of_answers(target: Target) -> None:
    """A YES and a NO of one caller and method have equal trailers and lengths, in any case of the run."""
    checker, ministry = Checker(target), Ministry(target)
    yes, no = ministry.reply(), ministry.reply(answer=pb.ANSWER_NO)
    more = (*trailers(no), ("deprecation", "@1"))

    assert failures(target, sent_call(), answer_result(yes), checker) == []
    found = failures(target, sent_call(), answer_result(no, more), checker)
    assert [True] == ["the trailers of an earlier OK YES" in expected for expected, _ in found]


def test_metadata(target: Target) -> None:
    """Initial metadata, an unknown trailer, one that was not asked for, and one in another form are failures."""
    result = refusal_result(INVALID)
    faulty = dataclasses.replace(
        result,
        initial_metadata=(("x-node", "7"), ("date", "today")),
        trailers=(*result.trailers, ("x-debug", "1"), ("x-inquiry-id", "mine"), ("ratelimit", '"CheckNote";r=1;t=1')),
    )
    found = failures(target, refused_call(status=["INVALID_ARGUMENT"], reason=["FIELD_INVALID"]), faulty)

    assert ("no initial metadata", "x-node") in found
    assert [("only the trailers of errors.json", each) for each in ("x-debug: seen 1", "x-inquiry-id: seen mine")] == [
        each for each in found if each[0] == "only the trailers of errors.json"
    ]
    assert [True] == [expected.startswith("ratelimit: once,") for expected, _ in found if "ratelimit" in expected]


def test_two_trees(target: Target) -> None:
    """Two trees of one size, or the ledger of another organisation, are a failure."""
    checker, ministry = Checker(target), Ministry(target)

    assert failures(target, sent_call(), answer_result(ministry.reply()), checker) == []
    assert failures(target, sent_call(), answer_result(ministry.reply()), checker) == []
    forked = Ministry(target, tree=Frontier().append([bytes(32)]).frontier)
    assert {"a new entry in the ledger", "one tree of each size"} < {
        expected for expected, _ in failures(target, sent_call(), answer_result(forked.reply()), checker)
    }
    ministry.organization = "99000554330"
    assert ["a receipt that proves the reply"] == [
        expected for expected, _ in failures(target, sent_call(), answer_result(ministry.reply()), checker)
    ]


def test_unknown_field(target: Target) -> None:
    """A reply with an unknown field is a failure."""
    result = answer_result(Ministry(target).reply())
    more = dataclasses.replace(result, reply=(result.reply or b"") + b"\xf8\x01\x01")

    assert ("only fields of the contract in the reply", "another field") in failures(target, sent_call(), more)


def test_undecodable_reply(target: Target) -> None:
    """Bytes that are not a reply are a failure."""
    result = CallResult("OK", reply=b"\xff", trailers=RATE_LIMIT)

    assert failures(target, sent_call(), result) == [("a reply of this method", "bytes that are not one")]


@pytest.mark.parametrize("key", ["estelam-inquiry-id", "ratelimit", "ratelimit-policy"])
def test_missing_trailer(target: Target, key: str) -> None:
    """A missing trailer is a failure."""
    reply = Ministry(target).reply()
    trailer_pairs = tuple(trailer for trailer in trailers(reply) if trailer[0] != key)

    assert [key in expected for expected, _ in failures(target, sent_call(), answer_result(reply, trailer_pairs))] == [
        True
    ]


def test_trailer_of_another_inquiry(target: Target) -> None:
    """A trailer with another inquiry's id is a failure."""
    ministry = Ministry(target)
    trailer_pairs = trailers(ministry.reply())

    found = failures(target, sent_call(), answer_result(ministry.reply(), trailer_pairs))

    assert [True] == ["as in the receipt" in expected for expected, _ in found]


def test_quota_and_echo(target: Target) -> None:
    """Wrong quota trailers and a missing echo are failures."""
    step = Step.model_validate(
        {**check(quota={"limit": 20000, "remaining": 1998}, echoes=True), "metadata": [["x-inquiry-id", "mine-1"]]}
    )
    call = dataclasses.replace(sent_call(), step=step)

    found = failures(target, call, answer_result(Ministry(target).reply()))

    assert ("ratelimit: remaining 1998", 'seen "CheckNote";r=000019999;t=000000001') in found
    assert ("x-inquiry-id: mine-1", "seen none") in found
    assert not [expected for expected, _ in found if "limit 20000" in expected]


def test_same_length(target: Target) -> None:
    """Replies with one label must be equally long."""
    checker, ministry, replies = Checker(target), Ministry(target), CaseReplies()
    short, long = ministry.reply(), ministry.reply()
    trailer_pairs = (*trailers(long), ("estelam-more", "x"))
    call = sent_call(same_length="answers")

    first = list(checker.failures(call, answer_result(short), replies))
    second = list(checker.failures(call, answer_result(long, trailer_pairs), replies))

    assert [] == first
    assert any("as before" in found.expected for found in second)


def test_correct_refusal(target: Target) -> None:
    """A refusal as in the error catalogue has no failure."""
    call = refused_call(status=["INVALID_ARGUMENT"], reason=["FIELD_INVALID"], field="serial")

    assert failures(target, call, refusal_result(INVALID)) == []


def test_refusal_instead_of_answer(target: Target) -> None:
    """A refusal instead of an answer is a failure."""
    assert failures(target, sent_call(answer="NO"), refusal_result(INVALID)) == [
        ("OK NO", "INVALID_ARGUMENT FIELD_INVALID (serial)")
    ]


def test_wrong_field_or_reason(target: Target) -> None:
    """A refusal with another field, reason or text of a rule is a failure."""
    about = refused_call(status=["INVALID_ARGUMENT"], reason=["FIELD_INVALID"], field="serial")
    other = Refusal(
        Reason.FIELD_INVALID, [*INVALID.violations, Violation("amount_rials", "int64.gt", "must be greater than 0")]
    )
    worded = Refusal(Reason.FIELD_INVALID, [Violation("serial", "string.note_serial", "is wrong")])
    because = sent_call(status=["INVALID_ARGUMENT"], reason=["REQUEST_MALFORMED"])

    assert failures(target, about, refusal_result(other)) == [
        ("BadRequest with serial (string.note_serial)", "amount_rials (int64.gt), serial (string.note_serial)")
    ]
    assert failures(target, because, refusal_result(INVALID)) == [
        ("REQUEST_MALFORMED", "INVALID_ARGUMENT FIELD_INVALID (serial)")
    ]
    [(expected, actual)] = failures(target, about, refusal_result(worded))
    assert "serial: description 'must be 16 ASCII digits'" in expected
    assert "'is wrong'" in actual


def with_details(result: CallResult, change: Callable[[status_pb2.Status], object]) -> CallResult:
    status = status_pb2.Status.FromString(dict(result.trailers)["grpc-status-details-bin"])  # type: ignore[arg-type]
    change(status)
    trailer_pairs = {**dict(result.trailers), "grpc-status-details-bin": status.SerializeToString()}
    return dataclasses.replace(result, trailers=tuple(trailer_pairs.items()))


def add(status: status_pb2.Status, detail: Message) -> None:
    packed = Packed()
    packed.Pack(detail)
    status.details.append(packed)


def without(status: status_pb2.Status, kind: str) -> None:
    remaining = [detail for detail in status.details if not detail.type_url.endswith(kind)]
    del status.details[:]
    status.details.extend(remaining)


def _change_layer(status: status_pb2.Status) -> None:
    without(status, "ErrorInfo")
    add(status, error_details_pb2.ErrorInfo(reason="FIELD_INVALID", domain="estelam", metadata={"layer": "store"}))


DETAIL_FAULTS: dict[str, Callable[[status_pb2.Status], object]] = {
    "message": lambda status: setattr(status, "message", "Bad serial."),
    "LocalizedMessage in en and fa only": lambda status: add(status, error_details_pb2.LocalizedMessage(locale="fr")),
    "ErrorInfo metadata with layer": _change_layer,
    "BadRequest with serial": lambda status: without(status, "BadRequest"),
    "RetryInfo": lambda status: add(status, error_details_pb2.RetryInfo()),
    "QuotaFailure": lambda status: add(
        status, error_details_pb2.QuotaFailure(violations=[error_details_pb2.QuotaFailure.Violation()])
    ),
    "ErrorInfo of domain": lambda status: without(status, "ErrorInfo"),
    "details of google.rpc": lambda status: add(status, error_details_pb2.DebugInfo(detail="at line 1")),
    "status INVALID_ARGUMENT": lambda status: setattr(status, "code", 2),
}


@pytest.mark.parametrize("words", DETAIL_FAULTS)
def test_wrong_details(target: Target, words: str) -> None:
    """Each missing, extra or wrong detail of a refusal is one failure."""
    call = refused_call(status=["INVALID_ARGUMENT"], reason=["FIELD_INVALID"])

    found = failures(target, call, with_details(refusal_result(INVALID), DETAIL_FAULTS[words]))

    assert [words in expected for expected, _ in found] == [True]


@pytest.mark.parametrize("where", ["message", "details", "trailer"])
def test_identifier_in_refusal(target: Target, where: str) -> None:
    """An identifier of the request anywhere in a refusal is a failure."""
    call, result = sent_call(status=["INVALID_ARGUMENT"]), refusal_result(INVALID)
    if where == "message":
        result = dataclasses.replace(result, message=f"no note {ASKED.serial}")
    elif where == "details":
        leak = error_details_pb2.BadRequest.FieldViolation(field="serial", description=f"{ASKED.serial} is none")
        result = with_details(result, lambda status: add(status, error_details_pb2.BadRequest(field_violations=[leak])))
    else:
        result = dataclasses.replace(result, trailers=(*result.trailers, ("x-debug", ASKED.serial)))

    assert ("nothing of the request in the refusal or its metadata", "an identifier of the request") in failures(
        target, call, result
    )


def test_retry_pushback(target: Target) -> None:
    """The retry pushback must match the reason."""
    throttled = sent_call(status=["RESOURCE_EXHAUSTED"])
    quota = QuotaState("CheckNote", limit=20000, remaining=0, reset_seconds=1002, retry_seconds=1000.0)
    exhausted = Refusal(Reason.QUOTA_EXHAUSTED, quota=quota)
    down = Refusal(Reason.STORE_UNAVAILABLE)

    assert failures(target, throttled, refusal_result(exhausted)) == []
    assert failures(target, throttled, refusal_result(exhausted, pushback="20")) == [
        ("grpc-retry-pushback-ms: -1", "seen 20")
    ]
    assert failures(target, throttled, refusal_result(Refusal(Reason.OVERLOADED), pushback="1500")) == []
    assert len(failures(target, sent_call(status=["UNAVAILABLE"]), refusal_result(down))) == 1


QUOTA_FAULTS = {
    "subject CheckNote": QuotaState("99001187852", limit=20000, remaining=0, reset_seconds=2, retry_seconds=1.0),
    "limit 20000": QuotaState("CheckNote", limit=7, remaining=0, reset_seconds=2, retry_seconds=1.0),
    "remaining 0": QuotaState("CheckNote", limit=20000, remaining=3, reset_seconds=2, retry_seconds=1.0),
    "between 0 and the 2 s": QuotaState("CheckNote", limit=20000, remaining=0, reset_seconds=2, retry_seconds=4.0),
    "about 7 s, when there is a token": QuotaState(
        "CheckNote", limit=20000, remaining=0, reset_seconds=9, retry_seconds=1.0
    ),
}


@pytest.mark.parametrize("words", QUOTA_FAULTS)
def test_impossible_quota(target: Target, words: str) -> None:
    """A used-up quota that is not the caller's for the method, or with numbers that can't be true, is a failure."""
    call, quota = sent_call(status=["RESOURCE_EXHAUSTED"]), QUOTA_FAULTS[words]
    result = refusal_result(Refusal(Reason.QUOTA_EXHAUSTED, quota=quota), pushback=str(int(quota.retry_seconds * 1500)))

    found = failures(target, call, result)

    assert [words in expected for expected, _ in found] == [True]


def test_refusal_without_details(target: Target) -> None:
    """Another status, or a refusal without details, violates the catalogue alone: no answer was given."""
    call = refused_call(status=["INVALID_ARGUMENT"], reason=["FIELD_INVALID"])
    bare, hung = CallResult("INTERNAL", "bad serial"), CallResult("DEADLINE_EXCEEDED")

    def clauses(result: CallResult) -> set[str]:
        return {found.clause for found in Checker(target).failures(call, result, CaseReplies())}

    assert ({"P15"}, {"P15"}) == (clauses(bare), clauses(dataclasses.replace(bare, status="INVALID_ARGUMENT")))
    assert {""} == clauses(hung)


def test_unknown_method_in_either_form(target: Target) -> None:
    """An unknown method may be refused by the gRPC stack, without details, or as in the catalogue."""
    call = sent_call(status=["UNIMPLEMENTED"], reason=["METHOD_UNKNOWN"])

    assert failures(target, call, CallResult("UNIMPLEMENTED", "unknown")) == []
    assert failures(target, call, refusal_result(Refusal(Reason.METHOD_UNKNOWN), pushback="-1")) == []


def test_announced_outage(
    target: Target,
) -> None:
    """An announced outage must have a retry delay and forbid automatic retries."""
    call, out = sent_call(status=["UNAVAILABLE"], reason=["OUTAGE_ANNOUNCED"]), Reason.OUTAGE_ANNOUNCED

    assert failures(target, call, refusal_result(Refusal(out, retry_seconds=14_400.0))) == []
    assert len(failures(target, call, refusal_result(Refusal(out)))) == 1
    assert len(failures(target, call, refusal_result(Refusal(out, retry_seconds=60.0), pushback="60000"))) == 1


def test_deadline_exceeded(target: Target) -> None:
    """Only a server's own DEADLINE_EXCEEDED must have details."""
    call = sent_call(status=["DEADLINE_EXCEEDED"], reason=["ANSWER_LATE"])

    assert failures(target, call, CallResult("DEADLINE_EXCEEDED")) == []
    assert len(failures(target, call, CallResult("DEADLINE_EXCEEDED", trailers=(("server", "node 7"),)))) == 1


def test_closed_connection(target: Target) -> None:
    """A connection closed without a response matches CLOSED, a status does not."""
    closed = CallResult("UNAVAILABLE", "failed to connect to all addresses", closed=True)

    assert failures(target, sent_call(status=["CLOSED"]), closed) == []
    assert len(failures(target, sent_call(status=["CLOSED"]), CallResult("UNAVAILABLE", "we are down"))) == 1


def test_counts(target: Target) -> None:
    """A wrong number of outcomes of concurrent calls is a failure."""
    ministry = Ministry(target)
    result = [
        answer_result(ministry.reply()),
        answer_result(ministry.reply(answer=pb.ANSWER_NO)),
        refusal_result(INVALID),
    ]
    checker = Checker(target)

    assert list(checker.check_counts(sent_call(counts={"OK": 2, "YES": 1, "NO": 1, "FIELD_INVALID": 1}), result)) == []
    assert list(checker.check_counts(sent_call(counts={"REFUSED": 1}), result)) == []
    assert list(checker.check_counts(sent_call(counts={"YES": 2}), result)) == [("2 of 3 calls end with YES", "1", "")]


@pytest.mark.parametrize(("reply", "found"), [(b"\x08\x01", []), (b"\x08\x02", [("health SERVING", "NOT_SERVING")])])
def test_health(target: Target, reply: bytes, found: list[tuple[str, str]]) -> None:
    """A health status other than the expected one is a failure."""
    step = Step.model_validate({"health": "", "expect": {"health": "SERVING"}})
    call = dataclasses.replace(sent_call(), step=step)

    assert failures(target, call, CallResult("OK", reply=reply)) == found
