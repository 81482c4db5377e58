"""What YES means of a case, and what a NO is judged by."""

from collections.abc import Iterator

import pytest

from estelam.client.channel import ClientIdentity
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from estelam.judiciary.v1.cheque_case_inquiry_pb2_grpc import ChequeCaseInquiryServiceStub
from judiciary.feeds import CASES
from tests.conftest import Start, both_engines, judiciary_opening, plain_channel
from tests.support.service import RunningService
from tools.env.sandbox import Sandbox, load_file

pytestmark = both_engines

HEADER = "case_number,kind,filed_on,registered_at,tracking_id,national_id,role\n"


@pytest.fixture(scope="module")
def stub(shared: Sandbox, judiciary: RunningService) -> Iterator[ChequeCaseInquiryServiceStub]:
    with plain_channel(judiciary.address, ClientIdentity.named(shared.pki, "cbi")) as channel:
        yield ChequeCaseInquiryServiceStub(channel)


def person(stub: ChequeCaseInquiryServiceStub, national_id: str) -> pb.CheckByNationalIdResponse:
    return stub.CheckByNationalId(pb.CheckByNationalIdRequest(national_id=national_id), timeout=5)


def cheque(stub: ChequeCaseInquiryServiceStub, tracking_id: str) -> pb.CheckByTrackingIdResponse:
    return stub.CheckByTrackingId(pb.CheckByTrackingIdRequest(tracking_id=tracking_id), timeout=5)


def test_the_drawer_in_a_case_is_yes(stub: ChequeCaseInquiryServiceStub) -> None:
    assert person(stub, "9990000050").answer == ANSWER_YES


def test_who_is_named_without_a_role_may_be_the_drawer_so_the_doubt_is_yes(stub: ChequeCaseInquiryServiceStub) -> None:
    assert person(stub, "9990000093").answer == ANSWER_YES


@pytest.mark.parametrize("role", ["HOLDER", "ENDORSER", "GUARANTOR"])
def test_another_role_than_the_drawers_is_no(loaded: Sandbox, start: Start, role: str) -> None:
    file = loaded.folder / "one.csv"
    file.write_text(f"{HEADER}9,CIVIL,2024-01-01,2024-01-01T10:00:00+03:30,,99000791909,{role}\n", "utf-8")
    load_file(loaded.judiciary(), CASES, file)
    service = start(judiciary_opening(loaded))

    with plain_channel(service.address, ClientIdentity.named(loaded.pki, "cbi")) as channel:
        assert person(ChequeCaseInquiryServiceStub(channel), "99000791909").answer == ANSWER_NO


@pytest.mark.parametrize("kind", ["CIVIL", "CRIMINAL"])
def test_civil_and_criminal_claims_count_alike(loaded: Sandbox, start: Start, kind: str) -> None:
    file = loaded.folder / "one.csv"
    file.write_text(f"{HEADER}9,{kind},2021-03-21,2024-01-01T10:00:00+03:30,777,99000791909,DRAWER\n", "utf-8")
    load_file(loaded.judiciary(), CASES, file)
    service = start(judiciary_opening(loaded))

    with plain_channel(service.address, ClientIdentity.named(loaded.pki, "cbi")) as channel:
        asked = ChequeCaseInquiryServiceStub(channel)

        assert person(asked, "99000791909").answer == ANSWER_YES
        assert cheque(asked, "777").answer == ANSWER_YES


def test_a_cheque_in_a_case_is_yes(stub: ChequeCaseInquiryServiceStub) -> None:
    assert cheque(stub, "140000000000000001").answer == ANSWER_YES


@pytest.mark.parametrize("tracking_id", ["14000000000000001", "0140000000000000001", "1"])
def test_a_tracking_id_is_compared_whole_leading_zeros_included(
    stub: ChequeCaseInquiryServiceStub, tracking_id: str
) -> None:
    assert cheque(stub, tracking_id).answer == ANSWER_NO


def test_a_case_filed_before_the_coverage_makes_no_yes(stub: ChequeCaseInquiryServiceStub) -> None:
    assert person(stub, "9990000085").answer == ANSWER_NO
    assert cheque(stub, "139900000000000001").answer == ANSWER_NO


def test_no_case_at_all_is_no(stub: ChequeCaseInquiryServiceStub) -> None:
    assert person(stub, "99000791909").answer == ANSWER_NO


def test_every_answer_states_the_coverage_it_was_judged_by(stub: ChequeCaseInquiryServiceStub) -> None:
    for reply in (person(stub, "9990000050"), person(stub, "99000791909"), cheque(stub, "1")):
        since = reply.coverage.since

        assert (since.year, since.month, since.day) == (2021, 3, 21)
        assert reply.coverage.as_of.seconds > 0
