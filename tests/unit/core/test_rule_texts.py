"""Texts of rules: each rule that a request can violate has one in Persian and English."""

import re
from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pool import Default

from buf.validate import validate_pb2
from estelam.core.errors import Reason, Refusal, Violation
from estelam.core.rule_texts import RULE_TEXTS, UNKNOWN_RULE, RuleText
from estelam.data_model.model import load
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as _judiciary  # noqa: F401 - registers its messages
from estelam.setad.v1 import note_verification_pb2 as _setad  # noqa: F401 - registers its messages, and the ministry's

OWN = {
    *("field.empty", "field.unknown", "field.repeated", "field.text", "field.digits", "amount.form", "amount.large"),
    *("metadata.form", "metadata.nonce", "metadata.required", "case.form", "agency.form", "agency.member"),
}
"""The rules that are not the contract's."""


def rules_of(field: FieldDescriptor) -> Iterator[str]:
    """Yield the id of each rule of *field*, as protovalidate reports its violation."""
    rules = field.GetOptions().Extensions[validate_pb2.field]
    for option, value in rules.ListFields():
        if option.message_type is None:
            yield option.name
        elif option.name == "cel":
            yield from (each.id for each in value)
        else:
            for rule, _ in value.ListFields():
                predefined = rule.GetOptions().Extensions[validate_pb2.predefined].cel
                yield from (each.id for each in predefined) if rule.is_extension else [f"{option.name}.{rule.name}"]


REQUESTS = [Default().FindMessageTypeByName(method.request) for method in load().methods]
FIELDS = [field for request in REQUESTS for field in request.fields]


def test_every_rule_has_a_text() -> None:
    """Every rule of every request of every method has a text, and no text is of a rule that is none."""
    rules = {rule for field in FIELDS for rule in rules_of(field)}

    assert {"string.person_id.form", "int64.gt"} <= rules
    assert rules | OWN == RULE_TEXTS.keys()


def test_requests_have_field_rules_only() -> None:
    """No request has a rule about several fields, whose violation would name no field."""
    assert [request.full_name for request in REQUESTS if request.GetOptions().HasExtension(validate_pb2.message)] == []


def test_amounts_are_greater_than_zero() -> None:
    """The text of int64.gt says 0, so the rule does everywhere."""
    bounds = {
        field.GetOptions().Extensions[validate_pb2.field].int64.gt for field in FIELDS if field.name == "amount_rials"
    }

    assert bounds == {0}


@pytest.mark.parametrize("text", [*RULE_TEXTS.values(), UNKNOWN_RULE], ids=[*RULE_TEXTS, "unknown"])
def test_text_is_in_both_languages(text: RuleText) -> None:
    """A text is plain English and Persian, without Latin digits in Persian and without a full stop at its end."""
    assert text.en.isascii()
    assert re.search("[\u0600-\u06ff]", text.fa)
    assert not re.search("[0-9]", text.fa.replace("UTF-8", ""))
    assert not (text.en + text.fa).endswith(".")
    assert not text.en.endswith(".")


def test_unknown_rule() -> None:
    """A rule of another implementation has the general text, in a line as in a reply."""
    violation = Violation("serial", "string.other", "must be other")

    assert UNKNOWN_RULE == violation.text
    assert Refusal(Reason.FIELD_INVALID, [violation]).summary() == (
        f"FIELD_INVALID: serial must be other / {UNKNOWN_RULE.fa}"
    )
