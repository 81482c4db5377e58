"""Answers of the judiciary service: which cases mean YES, and the coverage of a NO."""

from collections.abc import Iterator
from datetime import date

import pytest

from development.sandbox import Sandbox, load_file
from estelam.client.channel import ClientIdentity
from estelam.core.dates import from_wire
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from estelam.judiciary.v1.cheque_case_inquiry_pb2_grpc import ChequeCaseInquiryServiceStub
from judiciary.feeds import CASES
from tests.conftest import Start, both_engines_in_full, judiciary_opening, plain_channel
from tests.support.service import RunningService

pytestmark = both_engines_in_full

HEADER = "case_number,kind,filed_on,registered_at,tracking_id,sayad_id,national_id,role\n"


@pytest.fixture(scope="module")
def stub(shared: Sandbox, judiciary: RunningService) -> Iterator[ChequeCaseInquiryServiceStub]:
    with plain_channel(judiciary.address, ClientIdentity.named(shared.pki, "cbi")) as channel:
        yield ChequeCaseInquiryServiceStub(channel)


def check_person(stub: ChequeCaseInquiryServiceStub, national_id: str) -> pb.CheckByNationalIdResponse:
    return stub.CheckByNationalId(pb.CheckByNationalIdRequest(national_id=national_id), timeout=5)


def check_cheque(stub: ChequeCaseInquiryServiceStub, tracking_id: str) -> pb.CheckByTrackingIdResponse:
    return stub.CheckByTrackingId(pb.CheckByTrackingIdRequest(tracking_id=tracking_id), timeout=5)


def test_drawer(stub: ChequeCaseInquiryServiceStub) -> None:
    """The drawer of a case is YES."""
    assert check_person(stub, "9990000050").answer == ANSWER_YES


def test_person_without_role(stub: ChequeCaseInquiryServiceStub) -> None:
    """A person named without a role is YES, because they may be the drawer."""
    assert check_person(stub, "9990000093").answer == ANSWER_YES


@pytest.mark.parametrize("role", ["HOLDER", "ENDORSER", "GUARANTOR"])
def test_other_roles(loaded: Sandbox, start: Start, role: str) -> None:
    """A person with a role other than drawer is NO."""
    file = loaded.folder / "one.csv"
    file.write_text(f"{HEADER}9,CIVIL,2024-01-01,2024-01-01T10:00:00+03:30,,,99000791909,{role}\n", "utf-8")
    load_file(loaded.judiciary(), CASES, file)
    service = start(judiciary_opening(loaded))

    with plain_channel(service.address, ClientIdentity.named(loaded.pki, "cbi")) as channel:
        assert check_person(ChequeCaseInquiryServiceStub(channel), "99000791909").answer == ANSWER_NO


@pytest.mark.parametrize("kind", ["CIVIL", "CRIMINAL"])
def test_kinds_of_case(loaded: Sandbox, start: Start, kind: str) -> None:
    """Civil and criminal cases both count."""
    file = loaded.folder / "one.csv"
    file.write_text(f"{HEADER}9,{kind},2021-03-21,2024-01-01T10:00:00+03:30,777,,99000791909,DRAWER\n", "utf-8")
    load_file(loaded.judiciary(), CASES, file)
    service = start(judiciary_opening(loaded))

    with plain_channel(service.address, ClientIdentity.named(loaded.pki, "cbi")) as channel:
        stub = ChequeCaseInquiryServiceStub(channel)

        assert check_person(stub, "99000791909").answer == ANSWER_YES
        assert check_cheque(stub, "777").answer == ANSWER_YES


def test_cheque(stub: ChequeCaseInquiryServiceStub) -> None:
    """The cheque of a case is YES."""
    assert check_cheque(stub, "140000000000000001").answer == ANSWER_YES


@pytest.mark.parametrize(
    ("sayad_ids", "answer"),
    [(("1402000000000077", "1402000000000077"), ANSWER_YES), (("1402000000000077", "1402000000000078"), ANSWER_NO)],
    ids=["same-cheque", "other-cheque"],
)
def test_other_certificate_of_same_cheque(
    loaded: Sandbox, start: Start, sayad_ids: tuple[str, str], answer: int
) -> None:
    """A case about one certificate of a cheque is YES for its other certificates, which its Sayad id joins."""
    before, within = "2020-08-10,2020-08-10T10:00:00+03:30", "2024-01-01,2024-01-01T10:00:00+03:30"
    file = loaded.folder / "one.csv"
    file.write_text(
        f"case_number,kind,filed_on,registered_at,tracking_id,sayad_id,national_id,role\n"
        f"8,CIVIL,{before},777,{sayad_ids[0]},,\n9,CIVIL,{within},778,{sayad_ids[1]},,\n",
        "utf-8",
    )
    load_file(loaded.judiciary(), CASES, file)
    service = start(judiciary_opening(loaded))

    with plain_channel(service.address, ClientIdentity.named(loaded.pki, "cbi")) as channel:
        stub = ChequeCaseInquiryServiceStub(channel)

        assert check_cheque(stub, "778").answer == ANSWER_YES
        assert check_cheque(stub, "777").answer == answer


@pytest.mark.parametrize("tracking_id", ["14000000000000001", "0140000000000000001", "1"])
def test_tracking_id_is_exact(stub: ChequeCaseInquiryServiceStub, tracking_id: str) -> None:
    """Tracking ids are compared as a whole, including leading zeros."""
    assert check_cheque(stub, tracking_id).answer == ANSWER_NO


def test_case_before_coverage(stub: ChequeCaseInquiryServiceStub) -> None:
    """A case filed before the beginning of coverage does not count."""
    assert check_person(stub, "9990000085").answer == ANSWER_NO
    assert check_cheque(stub, "139900000000000001").answer == ANSWER_NO


@pytest.mark.parametrize(("linked", "since"), [("2022-03-21", "2022-03-21"), ("2020-03-20", "2021-03-21")])
def test_coverage_of_tracking_ids(loaded: Sandbox, start: Start, linked: str, since: str) -> None:
    """Coverage of a tracking id begins when cases are both complete and linked; a YES may rest on an earlier case."""
    file = loaded.folder / "one.csv"
    file.write_text(f"{HEADER}9,CIVIL,2021-04-01,2021-04-01T10:00:00+03:30,777,,99000791909,DRAWER\n", "utf-8")
    load_file(loaded.judiciary(), CASES, file, whole=True, tracking_since=date.fromisoformat(linked))
    service = start(judiciary_opening(loaded))

    with plain_channel(service.address, ClientIdentity.named(loaded.pki, "cbi")) as channel:
        stub = ChequeCaseInquiryServiceStub(channel)
        by_cheque = [check_cheque(stub, "777"), check_cheque(stub, "1")]
        by_person = check_person(stub, "99000791909")

    assert [ANSWER_YES, ANSWER_NO] == [reply.answer for reply in by_cheque]
    assert [date.fromisoformat(since)] * 2 == [from_wire(reply.coverage.since) for reply in by_cheque]
    assert date(2021, 3, 21) == from_wire(by_person.coverage.since)


def test_no_case(stub: ChequeCaseInquiryServiceStub) -> None:
    """A person without a case is NO."""
    assert check_person(stub, "99000791909").answer == ANSWER_NO


def test_coverage(stub: ChequeCaseInquiryServiceStub) -> None:
    """Every answer states its coverage."""
    for reply in (check_person(stub, "9990000050"), check_person(stub, "99000791909"), check_cheque(stub, "1")):
        since = reply.coverage.since

        assert (since.year, since.month, since.day) == (2021, 3, 21)
        assert reply.coverage.as_of.seconds > 0
