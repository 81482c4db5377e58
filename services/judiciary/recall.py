"""Recall for cases: which persons and cheques are affected by changed cases, and what the answers would be now."""

from collections.abc import Iterator, Sequence
from datetime import date

from sqlalchemy import ColumnElement, Connection, and_, func, literal, or_, select, union

from estelam.core.keys import HmacKeyring
from estelam.core.model import Subject
from estelam.core.subjects import SubjectKind
from estelam.ledger.recall import ROWS_AT_ONCE, IsBefore, PastAnswer, RecallOutcome
from estelam.storage import coverage
from estelam.storage.coverage import Coverage
from estelam.storage.facts import former_subject_table, load_table
from judiciary import cases, repository
from judiciary.methods import CHECK_BY_NATIONAL_ID
from judiciary.repository import case_table

PERSON, TRACKING = SubjectKind.PERSON, SubjectKind.TRACKING
CHEQUE = "cheque"
"""Kind of a former subject that no inquiry asks about: the Sayad id of a cheque, which joins its certificates."""


class CaseRecallSource:
    """Implements `estelam.ledger.recall.RecallSource` for cases."""

    def changed(self, connection: Connection, after: int) -> Iterator[Subject]:
        """Yield persons and certificates of changed cases, as they are and were, and of cases whose coverage changed.

        A certificate is affected by the cases of all certificates of its cheque.
        """
        case, former = case_table.c, former_subject_table.c
        affected = or_(case.load_number > after, _coverage_changed(connection, after))
        was_named = former.load_number > after
        cheques = union(
            select(case.sayad_id).where(affected, case.sayad_id.is_not(None)),
            select(former.value).where(was_named, former.kind == CHEQUE),
        )
        query = union(
            select(literal(PERSON).label("kind"), case.national_id.label("value")).where(affected),
            select(literal(TRACKING), case.tracking_id).where(affected, case.tracking_id.is_not(None)),
            select(literal(TRACKING), case.tracking_id).where(
                case.sayad_id.in_(cheques), case.tracking_id.is_not(None)
            ),
            select(former.kind, former.value).where(was_named, former.kind != CHEQUE),
        )
        with connection.execute(query, execution_options={"yield_per": ROWS_AT_ONCE}) as found:
            for kind, value in found:
                yield Subject(kind, value)

    def reevaluate(
        self, connection: Connection, _keyring: HmacKeyring, asked: Sequence[PastAnswer], _is_before: IsBefore
    ) -> Sequence[RecallOutcome]:
        """Return what each past answer would be now: YES if a case within coverage names the subject, else NO."""
        since = cases.since(coverage.read_coverage(connection))
        values = {kind: {subject.value for subject, _ in asked if subject.kind == kind} for kind in (PERSON, TRACKING)}
        found: dict[str, set[str]] = {
            PERSON: repository.drawers_with_case(connection, values[PERSON], since),
            TRACKING: repository.cheques_with_case(connection, values[TRACKING], since),
        }
        return [RecallOutcome.YES if subject.value in found[subject.kind] else RecallOutcome.NO for subject, _ in asked]

    def stated(self, method: str, declared: Coverage) -> Coverage:
        """Return the coverage without `tracking_since`; for a certificate, from when cases are linked to theirs."""
        since = declared.since if method == CHECK_BY_NATIONAL_ID.name else cases.linked_since(declared) or date.max
        return Coverage(since, declared.as_of)


def _coverage_changed(connection: Connection, after: int) -> ColumnElement[bool]:
    """Return the condition that a filing date was covered for some, not all, answers given since load *after*."""
    loads = load_table.c
    range_query = select(func.min(loads.covered_since), func.max(loads.covered_since)).where(
        loads.number >= max(after, 1)
    )
    earliest, latest = connection.execute(range_query).one()
    return and_(case_table.c.filed_on >= earliest, case_table.c.filed_on < latest)
