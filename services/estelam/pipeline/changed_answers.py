"""The method by which callers learn which of their answers changed data has changed; every recording service has it."""

from collections.abc import Sequence

from estelam.core.errors import Reason, Refusal
from estelam.core.model import Inquiry, LookupResult, Method
from estelam.inquiry.v1 import answer_change_pb2 as pb
from estelam.ledger import answer_changes
from estelam.ledger.answer_changes import UnknownCursorError
from estelam.pipeline.recorder import LookupContext

SERVICE = pb.DESCRIPTOR.services_by_name["AnswerChangeService"].full_name
LIST_CHANGED_ANSWERS = Method(f"{SERVICE}/ListChangedAnswers", pb.ListChangedAnswersRequest, lambda _request: ())


def list_changed_answers(context: LookupContext, inquiries: Sequence[Inquiry]) -> list[LookupResult | Refusal]:
    """List the caller's changed answers, if all were compared with the newest data, and that covers today.

    Also an empty list is refused otherwise: it would claim that no answer has changed.
    """
    connection = context.connection
    read_compared = answer_changes.start_compared(connection)
    pages = [
        answer_changes.start_page(connection, inquiry.caller.organization_id, inquiry.request.cursor)
        for inquiry in inquiries
    ]
    compared, covered, permit = read_compared(), context.coverage, context.permit_or_refusal()
    results: list[LookupResult | Refusal] = []
    for read_page in pages:
        try:
            page = read_page()
        except UnknownCursorError:
            results.append(Refusal(Reason.CURSOR_UNKNOWN))
            continue
        if isinstance(permit, Refusal) or covered is None:
            results.append(permit if isinstance(permit, Refusal) else Refusal(Reason.COVERAGE_UNDECLARED))
        elif compared is None:
            results.append(Refusal(Reason.CHANGES_UNKNOWN))
        else:
            reply = pb.ListChangedAnswersResponse(
                changes=page.changes,
                cursor=page.cursor,
                complete=page.is_last,
                first_index=compared.first_index,
                through_index=compared.through_index,
            )
            reply.as_of.FromDatetime(covered.as_of)
            results.append(LookupResult.listed(reply, permit))
    return results
