"""Commands of `estelam judiciary`: serve, recall, and inquire about cases."""

from functools import partial
from typing import Any

from estelam.cli import output
from estelam.cli.coverage_facts import coverage_facts
from estelam.cli.inquire import answer, ask, receipt_facts
from estelam.cli.inquiry_options import Options
from estelam.cli.recall import recall_answers
from estelam.cli.serve import run
from estelam.core import normalize
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
    with output.user_errors(as_json=options.as_json, code=output.EXIT_UNAVAILABLE):
        return {**receipt_facts(reply.receipt), **coverage_facts(reply)}
