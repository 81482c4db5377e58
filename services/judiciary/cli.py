"""`estelam judiciary`: serve, load cases, and inquire about them."""

from datetime import date
from typing import Annotated, Any

import typer

from estelam.cli import extras, output
from estelam.cli.inquire import Options, answer, ask, inquiry, receipt_facts
from estelam.cli.load_options import File, Rejects, Replace, Since, Through
from estelam.cli.recall import SETTLE_SECONDS, ChangedSince, Form, Out, Settle, recall_answers
from estelam.cli.recall_export import Format
from estelam.cli.serve import Listen, PortFile, Workers, run
from estelam.core import dates, normalize
from estelam.core.settings import load_settings
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from judiciary import service
from judiciary.bulk.cli import bulk_check
from judiciary.cases import FIRST_DATE
from judiciary.methods import CHECK_BY_NATIONAL_ID, CHECK_BY_TRACKING_ID
from judiciary.recall import CaseRecallSource
from judiciary.settings import JudiciarySettings

app = typer.Typer(no_args_is_help=True)

# A NO by national id is often read as "no case at all".
_MEANING_BY_NATIONAL_ID = {
    ANSWER_YES: "پرونده‌ای هست که این شخص در آن صادرکننده چک یا بدون سمت است"
    " / a case in which this person is the drawer, or named without a role",
    ANSWER_NO: "پرونده‌ای نیست که این شخص در آن صادرکننده چک یا بدون سمت باشد"
    " / no case in which this person is the drawer, or named without a role",
}


@app.command()
def serve(
    listen: Listen = None, port_file: PortFile = None, workers: Workers = 1, as_json: output.AsJson = False
) -> None:
    """Serve until SIGTERM; on SIGHUP restart the workers one by one."""
    run(JudiciarySettings, service.main, listen=listen, port_file=port_file, workers=workers, as_json=as_json)


@app.command("load-cases")
def load_cases(
    file: File,
    since: Since = None,
    through: Through = None,
    rejects: Rejects = None,
    replace: Replace = False,
    as_json: output.AsJson = False,
) -> None:
    """Load a file of cases and its coverage: all of it, or nothing."""
    with extras.required("loading", as_json=as_json):
        from estelam.cli.load import declaration, load_file  # noqa: PLC0415 - needs the extra
        from judiciary.feeds import CASES  # noqa: PLC0415 - needs the extra

    claimed = declaration(since, through, as_json=as_json)
    with output.user_errors(as_json=as_json):
        settings = load_settings(JudiciarySettings)
    load_file(
        settings,
        CASES,
        file,
        claimed=claimed,
        first_date=FIRST_DATE,
        rejects=rejects,
        as_json=as_json,
        replace=replace,
    )


@app.command("recall")
def recall(
    since: ChangedSince,
    form: Form = Format.TABLE,
    out: Out = None,
    settle: Settle = SETTLE_SECONDS,
    as_json: output.AsJson = False,
) -> None:
    """List the answers already given that late or corrected cases would change."""
    with output.user_errors(as_json=as_json):
        settings = load_settings(JudiciarySettings)
    recall_answers(settings, CaseRecallSource(), since=since, form=form, out=out, settle=settle, as_json=as_json)


@app.command("check-person")
@inquiry("judiciary", "cbi")
def check_person(
    national_id: Annotated[str, typer.Option(help="The drawer's national id.")],
    options: Options,
) -> None:
    """Ask whether a case names this person as drawer, or without a role (R3.1.1).

    Exit 0: YES; 10: NO; any other code: no answer.
    """
    request = pb.CheckByNationalIdRequest(national_id=normalize.normalize_digits(national_id))
    reply = ask(CHECK_BY_NATIONAL_ID.name, request, options)
    answer(reply, {"meaning": _MEANING_BY_NATIONAL_ID.get(reply.answer), **_facts(reply)}, options)


@app.command("check-cheque")
@inquiry("judiciary", "cbi")
def check_cheque(
    tracking_id: Annotated[str, typer.Option(help="The tracking code of the certificate of non-payment.")],
    options: Options,
) -> None:
    """Ask whether a case was filed about this cheque (R3.1.2). Exit 0: YES; 10: NO; any other code: no answer."""
    request = pb.CheckByTrackingIdRequest(tracking_id=normalize.normalize_digits(tracking_id))
    reply = ask(CHECK_BY_TRACKING_ID.name, request, options)
    answer(reply, _facts(reply), options)


app.command("bulk-check")(bulk_check)


def _facts(reply: pb.CheckByNationalIdResponse | pb.CheckByTrackingIdResponse) -> dict[str, Any]:
    facts = receipt_facts(reply.receipt)
    if reply.HasField("coverage"):
        coverage = reply.coverage
        since = date(coverage.since.year, coverage.since.month, coverage.since.day)
        facts["covered_since"] = dates.format_both(since)
        facts["data_as_of"] = coverage.as_of.ToJsonString()
    return facts
