"""What the cases' file holds: one row for each party of a case; a case without a known party has one row."""

from collections.abc import Sequence

from sqlalchemy import Connection, delete, select

from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from estelam.loading import BadRow, Feed, Fields, Key, Row, day, duplicates, keep_contract, one_of, upsert, words
from judiciary.store import Kind, Role, case_table, party_table

_KINDS = frozenset(Kind)
_ROLES = frozenset(Role)
_CASE = ("case_number", "kind", "filed_on", "registered_at", "tracking_id")
_PARTY = ("case_number", "national_id", "role")


def _row(fields: Fields) -> Row:
    tracking_id, national_id = fields["tracking_id"], fields["national_id"]
    if not tracking_id and not national_id:
        raise BadRow("tracking_id", "NEITHER_CHEQUE_NOR_PERSON")
    if tracking_id:
        keep_contract(pb.CheckByTrackingIdRequest(tracking_id=tracking_id), {})
    if national_id:
        keep_contract(pb.CheckByNationalIdRequest(national_id=national_id), {})
    role = one_of(fields, "role", _ROLES)
    if role and not national_id:
        raise BadRow("role", "ROLE_WITHOUT_PERSON")
    return {
        "case_number": words(fields, "case_number", at_most=32),
        "kind": one_of(fields, "kind", _KINDS),
        "filed_on": day(fields, "filed_on"),
        "registered_at": words(fields, "registered_at"),
        "tracking_id": tracking_id or None,
        "national_id": national_id,
        "role": role,
    }


def _cases(rows: Sequence[Row]) -> list[Row]:
    return list({row["case_number"]: {name: row[name] for name in _CASE} for row in rows}.values())


def _parties(rows: Sequence[Row]) -> list[Row]:
    return [{name: row[name] for name in _PARTY} for row in rows if row["national_id"]]


def _write(connection: Connection, load: int, rows: Sequence[Row]) -> None:
    upsert(case_table, connection, load, _cases(rows))
    if parties := _parties(rows):
        upsert(party_table, connection, load, parties)


def _conflicts(connection: Connection, load: int, rows: Sequence[Row]) -> dict[Key, str]:
    """A party given twice, or a case of which two rows of this file say different things."""
    conflicts = duplicates(party_table, connection, load, parties) if (parties := _parties(rows)) else {}
    columns = [case_table.c[name] for name in _CASE]
    numbers = {row["case_number"] for row in rows}
    query = select(*columns).where(case_table.c.case_number.in_(numbers), case_table.c.load_number == load)
    said = {row.case_number: tuple(row) for row in connection.execute(query)}
    for row in rows:
        says = tuple(row[name] for name in _CASE)
        if said.setdefault(row["case_number"], says) != says:
            conflicts[tuple(row[name] for name in _PARTY)] = "DIFFERS_FROM_AN_EARLIER_ROW"
    return conflicts


def _forget_former_parties(connection: Connection, load: int) -> None:
    reloaded = select(case_table.c.case_number).where(case_table.c.load_number == load)
    former = party_table.c.case_number.in_(reloaded), party_table.c.load_number != load
    connection.execute(delete(party_table).where(*former))


CASES = Feed(
    columns=(*_CASE, "national_id", "role"),
    parse=_row,
    key=_PARTY,
    write=_write,
    conflicts=_conflicts,
    finish=_forget_former_parties,
)
"""Cases; one that is already known is replaced, with its parties."""
