"""Rules of the identifiers in the contract, compared with an independent implementation of their formulas."""

import random

import protovalidate
import pytest

from estelam.judiciary.v1.cheque_case_inquiry_pb2 import CheckByNationalIdRequest, CheckByTrackingIdRequest
from estelam.promissory.v1.note_inquiry_pb2 import CheckNoteRequest, GetNotePartiesRequest

NATIONAL = [
    "9990000050",
    "9990000141",
    "9990000069",
    "9990000018",
    "9990000077",
    "9990000026",
    "9990000085",
    "9990000034",
    "9990000093",
    "9990000042",
    "9990000131",
]
LEGAL = [
    "99000554330",
    "99000158381",
    "99001187852",
    "99000712713",
    "99000316764",
    "99000079195",
    "99001504616",
    "99000633527",
    "99000237578",
    "99000791909",
    "99000395950",
    "14007043965",
]
FOREIGN = ["999000000001", "000000000000"]
BAD_NATIONAL = [
    "9990000051",
    "0000000000",
    "1111111111",
    "2222222222",
    "3333333333",
    "4444444444",
    "5555555555",
    "6666666666",
    "7777777777",
    "8888888888",
    "9999999999",
    "1234567890",
]
BAD_LEGAL = ["99000554331", "33333333333", "00000000000", "11111111111", "99000000000", "123001000"]
BAD_FORM = [
    "",
    "999000001",
    "9990000000018",
    "۹۹۹۰۰۰۰۰۱۸",
    "٩٩٩٠٠٠٠٠١٨",
    "۹۹۰۰۰۵۵۴۳۳۰",
    "9990000018\n",
    " 9990000018",
    "999000001²",
    "999-000001-8",
    "999000001d",
    "+9990000018",
]


def valid_national(text: str) -> bool:
    rest = sum(int(text[i]) * (10 - i) for i in range(9)) % 11
    return int(text[9]) == (rest if rest < 2 else 11 - rest) and len(set(text)) > 1


def valid_legal(text: str) -> bool:
    digits = [int(digit) for digit in text]
    weights = [29, 27, 23, 19, 17] * 2
    rest = sum((digits[i] + digits[9] + 2) * weights[i] for i in range(10)) % 11
    return digits[10] == (0 if rest == 10 else rest) and any(digits[3:9]) and len(set(text)) > 1


def broken_rules(person_id: str) -> list[str]:
    return [
        found.proto.rule_id
        for found in protovalidate.collect_violations(CheckByNationalIdRequest(national_id=person_id))
    ]


@pytest.mark.parametrize("person_id", [*NATIONAL, *LEGAL, *FOREIGN])
def test_valid_person_id(person_id: str) -> None:
    """A valid id of each kind of person is accepted."""
    assert broken_rules(person_id) == []


@pytest.mark.parametrize("person_id", BAD_NATIONAL)
def test_bad_national_number(person_id: str) -> None:
    """A national number with a wrong check digit or equal digits is refused."""
    assert broken_rules(person_id) == ["string.person_id.national_number"]


@pytest.mark.parametrize("person_id", BAD_LEGAL[:-1])
def test_bad_legal_id(person_id: str) -> None:
    """A legal id with a wrong check digit or equal digits is refused."""
    assert broken_rules(person_id) == ["string.person_id.legal_person"]


@pytest.mark.parametrize("person_id", [*BAD_FORM, BAD_LEGAL[-1]])
def test_bad_form(person_id: str) -> None:
    """A person id other than 10 to 12 ASCII digits is refused for its form."""
    assert broken_rules(person_id) == ["string.person_id.form"]


def test_check_digits_of_random_ids() -> None:
    """The contract's check digits agree with the formulas on 10,000 random ids."""
    rng = random.Random(1400)
    wrong = [
        text
        for length, is_valid in ((10, valid_national), (11, valid_legal))
        for text in ("".join(rng.choices("0123456789", k=length)) for _ in range(5000))
        if is_valid(text) == bool(broken_rules(text))
    ]

    assert wrong == []


@pytest.mark.parametrize("text", ["1", "0" * 32, "0123456789"])
def test_valid_tracking_id(text: str) -> None:
    """A tracking id is 1 to 32 digits."""
    assert protovalidate.collect_violations(CheckByTrackingIdRequest(tracking_id=text)) == []


@pytest.mark.parametrize("text", ["", "0" * 33, "12a", "۱۲۳", "1 2", "1\n"])
def test_bad_tracking_id(text: str) -> None:
    """Anything else is refused as a tracking id."""
    assert len(protovalidate.collect_violations(CheckByTrackingIdRequest(tracking_id=text))) == 1


@pytest.mark.parametrize("text", ["", "1" * 15, "1" * 17, "۱" * 16, "1" * 15 + "a"])
def test_bad_serial(text: str) -> None:
    """A serial other than 16 ASCII digits is refused."""
    request = GetNotePartiesRequest(serial=text, executive_agency_id="SETAD-0001")

    assert [found.proto.rule_id for found in protovalidate.collect_violations(request)] == ["string.note_serial"]


@pytest.mark.parametrize("text", ["", "a" * 33, "setad_1", "ستاد", "a b"])
def test_bad_agency_id(text: str) -> None:
    """An agency id other than 1 to 32 letters, digits and hyphens is refused."""
    request = GetNotePartiesRequest(serial="1" * 16, executive_agency_id=text)

    assert [found.proto.rule_id for found in protovalidate.collect_violations(request)] == ["string.agency_id"]


@pytest.mark.parametrize(("amount", "broken"), [(-1, 1), (0, 1), (1, 0), (2**63 - 1, 0)])
def test_amount(amount: int, broken: int) -> None:
    """An amount is at least 1 rial."""
    request = CheckNoteRequest(serial="1" * 16, obligor_id=NATIONAL[0], beneficiary_id=LEGAL[0], amount_rials=amount)

    assert broken == len(protovalidate.collect_violations(request))
