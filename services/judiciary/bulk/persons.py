"""`estelam judiciary bulk-check-persons`: CheckByNationalId for every row of a list of persons."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from estelam.cli.bulk.command import check_list
from estelam.cli.bulk.question import COVERAGE, NO, YES, Answer, Question, Row
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from judiciary.meaning import MEANING_BY_NATIONAL_ID
from judiciary.methods import CHECK_BY_NATIONAL_ID

_MEANINGS = {YES: MEANING_BY_NATIONAL_ID[ANSWER_YES], NO: MEANING_BY_NATIONAL_ID[ANSWER_NO]}


def _describe(_row: Row, answer: Answer | None) -> Mapping[str, Any]:
    return {"meaning": _MEANINGS[answer.answer], **answer.coverage()} if answer else {}


PERSONS = Question(
    service="judiciary",
    method=CHECK_BY_NATIONAL_ID.name,
    request=pb.CheckByNationalIdRequest,
    reply=pb.CheckByNationalIdResponse,
    columns=("meaning", *COVERAGE),
    describe=_describe,
)

bulk_check = partial(check_list, PERSONS)
