"""`estelam judiciary bulk-check-cheques`: CheckByTrackingId for every row of a bank's certificates of non-payment."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from estelam.cli.bulk.command import check_list
from estelam.cli.bulk.question import COVERAGE, NO, UNANSWERED, YES, Answer, Question, Row
from estelam.core import dates
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from judiciary import three_years
from judiciary.methods import CHECK_BY_TRACKING_ID

ISSUED_ON = "certificate_issued_on"

# Whether an answer settles, as of `data_as_of`, if a claim was filed; values of the column `standing`.
CONCLUSIVE, DATE_UNKNOWN = "CONCLUSIVE", "CERTIFICATE_DATE_UNKNOWN"
BEFORE_COVERAGE, AFTER_COVERAGE = "CERTIFICATE_BEFORE_COVERAGE", "CERTIFICATE_AFTER_COVERAGE"
TRACKING_ID_DOUBTFUL = "TRACKING_ID_DOUBTFUL"
LIFTING_DUE = "LIFTING_DUE"
"""The value of the column `lifting` if the three years have passed and the NO is conclusive; else it is empty."""


def _describe(row: Row, answer: Answer | None) -> Mapping[str, Any]:
    last_day, rule = three_years.last_day(row.day) if row.day else (None, None)
    standing = _standing(row, answer) if answer else UNANSWERED
    described = {"standing": standing, ISSUED_ON: row.day, "three_years_end": last_day, "three_years_rule": rule}
    if answer is None:
        return described
    # A claim filed within the three years is known only if the data reaches beyond them.
    passed = last_day and answer.data_as_of and last_day < dates.today(answer.data_as_of)
    due = answer.answer == NO and standing == CONCLUSIVE and passed
    return described | answer.coverage() | {"lifting": LIFTING_DUE if due else ""}


def _standing(row: Row, answer: Answer) -> str:
    if row.maybe_rounded:
        return TRACKING_ID_DOUBTFUL
    if answer.answer == YES:
        return CONCLUSIVE
    if row.day is None or answer.covered_since is None or answer.data_as_of is None:
        return DATE_UNKNOWN
    # A claim can be filed from the certificate's date on, so a NO is conclusive only if that date is covered.
    if row.day < answer.covered_since:
        return BEFORE_COVERAGE
    return CONCLUSIVE if row.day <= dates.today(answer.data_as_of) else AFTER_COVERAGE


CHEQUES = Question(
    service="judiciary",
    method=CHECK_BY_TRACKING_ID.name,
    request=pb.CheckByTrackingIdRequest,
    reply=pb.CheckByTrackingIdResponse,
    date_column=ISSUED_ON,
    columns=("standing", ISSUED_ON, "three_years_end", "three_years_rule", "lifting", *COVERAGE),
    describe=_describe,
    counted=("standing", "lifting"),
    founded=("lifting",),
)

bulk_check = partial(check_list, CHEQUES)
