"""Messages that the predicates made of the contract's rules accept are those that protovalidate accepts."""

from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from buf.validate import validate_pb2
from estelam.core import cel, field_rules
from estelam.core.errors import Refusal
from estelam.core.field_rules import compile_predicate
from estelam.core.validation import parse_request, violations
from estelam.judiciary.v1.cheque_case_inquiry_pb2 import CheckByNationalIdRequest, CheckByTrackingIdRequest
from estelam.promissory.v1.note_inquiry_pb2 import CheckNoteRequest, GetNotePartiesRequest, Party
from estelam.setad.v1.note_verification_pb2 import VerifyNoteRequest
from tools.env.identifiers import legal_id, natural_id

REQUESTS: list[type[Message]] = [
    CheckNoteRequest,
    GetNotePartiesRequest,
    CheckByNationalIdRequest,
    CheckByTrackingIdRequest,
    VerifyNoteRequest,
]

digits = st.text("0123456789", max_size=34)
numbers = st.integers(0, 10**9 - 1)
texts = st.one_of(
    digits,
    digits.map(lambda text: f"{text}\n"),
    st.integers(10, 12).flatmap(lambda size: st.text("0123456789", min_size=size, max_size=size)),
    st.text("0123456789", min_size=16, max_size=16),
    numbers.map(natural_id),
    numbers.map(legal_id),
    st.builds(lambda digit, size: digit * size, st.sampled_from("0123456789"), st.integers(9, 13)),
    st.text("0123456789-aZ٣۹ \n", max_size=33),
    st.text(max_size=12),
)


def messages(kind: type[Message]) -> st.SearchStrategy[Message]:
    """Messages of *kind*, many of them valid or nearly so."""
    fields: dict[str, Any] = {
        field.name: st.integers(-2, 2) | st.integers(-(2**63), 2**63 - 1) if field.type == field.TYPE_INT64 else texts
        for field in kind.DESCRIPTOR.fields
    }
    return st.builds(kind, **fields)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(REQUESTS).flatmap(messages))
def test_verdict_is_that_of_protovalidate(message: Message) -> None:
    """A message is accepted exactly if protovalidate finds no violation."""
    assert compile_predicate(type(message))(message) == (not violations(message))


@settings(deadline=None, max_examples=150)
@given(texts)
def test_identifiers(text: str) -> None:
    """Each identifier alone is accepted exactly if protovalidate finds no violation."""
    for message in (CheckByNationalIdRequest(national_id=text), CheckByTrackingIdRequest(tracking_id=text)):
        assert compile_predicate(type(message))(message) == (not violations(message))


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.DESCRIPTOR.name)
def test_every_request_has_a_predicate(kind: type[Message]) -> None:
    """The rules of every request are supported, so that valid ones need no protovalidate."""
    given_by_kind: dict[str, Any] = {
        "serial": "1" * 16,
        "obligor_id": natural_id(1),
        "beneficiary_id": legal_id(1400012345),
        "amount_rials": 1,
        "executive_agency_id": "a-1",
        "national_id": natural_id(2),
        "tracking_id": "7",
    }
    message = kind(**{field.name: given_by_kind[field.name] for field in kind.DESCRIPTOR.fields})

    assert compile_predicate(kind)(message)


def test_unsupported_rules_accept_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a rule is not supported, no message is accepted, and protovalidate decides about each."""

    def fail(*_arguments: object) -> str:
        raise cel.UnsupportedExpressionError

    valid, invalid = CheckByTrackingIdRequest(tracking_id="7"), CheckByTrackingIdRequest(tracking_id="x")
    monkeypatch.setattr(cel, "parse", fail)
    monkeypatch.setattr("estelam.core.validation._predicate", compile_predicate)

    assert not compile_predicate(CheckByTrackingIdRequest)(valid)
    assert parse_request(CheckByTrackingIdRequest, valid.SerializeToString()) == valid
    with pytest.raises(Refusal):
        parse_request(CheckByTrackingIdRequest, invalid.SerializeToString())


def test_fields_that_may_be_absent_are_unsupported() -> None:
    """A message with a field whose rules depend on its presence is never accepted."""
    message = validate_pb2.Rule(id="x")

    assert not compile_predicate(type(message))(message)


def test_message_without_rules() -> None:
    """A message that has no rules is accepted, whatever it holds."""
    assert compile_predicate(Party)(Party(id="x"))


@pytest.mark.parametrize(
    "expression", ["this - 1 == 0", "this.matches('[0-9]')", "this.matches('^a|b$')", "this.matches('^[0-9]+$')"]
)
def test_what_python_reads_otherwise_is_unsupported(expression: str) -> None:
    """Expressions to which Python might give another meaning than CEL are refused."""
    with pytest.raises(cel.UnsupportedExpressionError):
        cel.parse(expression, field_rules._Python())
