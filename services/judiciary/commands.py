"""Commands of `estelam judiciary`: serve, recall, and inquire about cases."""

from datetime import UTC, date
from functools import partial
from typing import Any

from google.type.date_pb2 import Date

from estelam.cli import output
from estelam.cli.inquire import answer, ask, receipt_facts
from estelam.cli.inquiry_options import Options
from estelam.cli.recall import recall_answers
from estelam.cli.serve import run
from estelam.core import dates, normalize
from estelam.core.dates import DateError
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from judiciary import service
from judiciary.meaning import MEANING_BY_NATIONAL_ID
from judiciary.methods import CHECK_BY_NATIONAL_ID, CHECK_BY_TRACKING_ID
from judiciary.recall import CaseRecallSource
from judiciary.settings import JudiciarySettings

serve = partial(run, JudiciarySettings, service.main)
recall = partial(recall_answers, JudiciarySettings, CaseRecallSource())


def check_person(national_id: str, options: Options) -> None:
    """Call CheckByNationalId and print its reply."""
    request = pb.CheckByNationalIdRequest(national_id=normalize.normalize_digits(national_id))
    reply = ask(CHECK_BY_NATIONAL_ID.name, request, options)
    answer(reply, {"meaning": MEANING_BY_NATIONAL_ID.get(reply.answer), **_facts(reply, options)}, options)


def check_cheque(tracking_id: str, options: Options) -> None:
    """Call CheckByTrackingId and print its reply."""
    request = pb.CheckByTrackingIdRequest(tracking_id=normalize.normalize_digits(tracking_id))
    reply = ask(CHECK_BY_TRACKING_ID.name, request, options)
    answer(reply, _facts(reply, options), options)


def _facts(reply: pb.CheckByNationalIdResponse | pb.CheckByTrackingIdResponse, options: Options) -> dict[str, Any]:
    facts = receipt_facts(reply.receipt)
    if reply.HasField("coverage"):
        coverage = reply.coverage
        if coverage.HasField("since"):
            facts["covered_since"] = _day(coverage.since, options)
        facts["data_as_of"] = coverage.as_of.ToDatetime(UTC)
    return facts


def _day(day: Date, options: Options) -> date:
    try:
        return dates.from_wire(day)
    except DateError as error:
        message = f"the reply's coverage.since {error}"
        output.exit_error(message, as_json=options.as_json, code=output.EXIT_UNAVAILABLE)
