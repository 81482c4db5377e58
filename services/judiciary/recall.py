"""What late or corrected cases change: about whom and which cheques, and what would be answered now."""

from collections.abc import Iterator, Sequence

from sqlalchemy import ColumnElement, Connection, and_, func, literal, or_, select, union

from estelam.core.keys import HmacKeyring
from estelam.core.model import Subject
from estelam.ledger.recall import ROWS_AT_ONCE, PastAnswer, RecallOutcome
from estelam.storage import coverage
from estelam.storage.facts import former_subject_table, load_table
from judiciary import cases, repository
from judiciary.repository import case_table

PERSON, TRACKING = "person", "tracking"


class CaseRecallSource:
    """Cases, as `estelam.ledger.recall.Facts`."""

    def changed(self, connection: Connection, after: int) -> Iterator[Subject]:
        """Everyone and every cheque that a changed case names or named, or that coverage came to or left."""
        case, former = case_table.c, former_subject_table.c
        touched = or_(case.load_number > after, _passed_by_coverage(connection, after))
        query = union(
            select(literal(PERSON).label("kind"), case.national_id.label("value")).where(touched),
            select(literal(TRACKING), case.tracking_id).where(touched, case.tracking_id.is_not(None)),
            select(former.kind, former.value).where(former.load_number > after),
        )
        with connection.execute(query, execution_options={"yield_per": ROWS_AT_ONCE}) as found:
            for kind, value in found:
                yield Subject(kind, value)

    def reevaluate(
        self, connection: Connection, _keyring: HmacKeyring, asked: Sequence[PastAnswer]
    ) -> Sequence[RecallOutcome]:
        """The question is the subject itself: YES where a case within today's coverage names it, else NO."""
        since = cases.since(coverage.read_coverage(connection))
        values = {kind: {subject.value for subject, _ in asked if subject.kind == kind} for kind in (PERSON, TRACKING)}
        found = {
            PERSON: repository.drawers_with_case(connection, values[PERSON], since),
            TRACKING: repository.cheques_with_case(connection, values[TRACKING], since),
        }
        return [RecallOutcome.YES if subject.value in found[subject.kind] else RecallOutcome.NO for subject, _ in asked]


def _passed_by_coverage(connection: Connection, after: int) -> ColumnElement[bool]:
    """Whether a case was filed on a day that counted for some answer given since, and for another did not."""
    loads = load_table.c
    reach = select(func.min(loads.covered_since), func.max(loads.covered_since)).where(loads.number >= max(after, 1))
    earliest, latest = connection.execute(reach).one()
    return and_(case_table.c.filed_on >= earliest, case_table.c.filed_on < latest)
