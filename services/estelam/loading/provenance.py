"""Position of a file in its feed, and the coverage that follows from the loads of the required feeds.

The numbers of a feed have no gap, its cut-offs never go back, and no file is loaded twice: so a file that is late, is
delivered again or was cut from an older register can't overwrite newer rows.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, delete, exists, func, insert, or_, select, true

from estelam.core.clock import CLOCK_TOLERANCE, to_datetime, to_micros
from estelam.core.dates import format_both, format_second
from estelam.core.parties import Parties
from estelam.loading.errors import LoadError
from estelam.loading.feed import Claims, Declaration, Feed, Policy
from estelam.storage.coverage import Coverage, read_coverage
from estelam.storage.facts import coverage_table, load_table

Load = Row[Any]
"""A row of facts.load."""
_SHOWN_RECORDS = 3
"""Records that a message names."""


class FileContent(NamedTuple):
    """What a load records of the content of its file."""

    sha256: str
    """The SHA-256 of the decompressed content."""
    rows_digest: str
    """The digest of the rows, whatever their form and order."""
    rows: int
    """The number of rows."""


def check_declaration(feed: Feed, declared: Declaration, required_feeds: Sequence[str], now: datetime) -> None:
    """Check what can be checked of *declared* without the store, where coverage needs *required_feeds*.

    Raises:
        LoadError: it declares what a file of *feed* can't be, a feed of another kind or one not in the settings, or
            data from after *now*.
    """
    if declared.feed not in (known := feed.names(required_feeds)):
        raise LoadError(
            f"the feed {declared.feed} takes no file of {feed.name}: expected {' or '.join(known) or 'none'}; "
            "the setting feeds names the feeds"
        )
    if declared.cut_at > now + CLOCK_TOLERANCE:
        raise LoadError(
            f"the cut-off {format_second(declared.cut_at)} is in the future: give the instant of the source's data"
        )
    if not feed.is_dated and (declared.complete_since or declared.tracking_since or declared.parties):
        raise LoadError(f"a file of {feed.name} declares no first date and no parties")
    if feed.full_snapshot and not declared.whole:
        raise LoadError(f"a file of {feed.name} is always whole")
    if declared.whole and declared.parties is Parties.MERGED:
        raise LoadError(
            "a whole file names all parties of its cases: declare parties as replaced, or the file as delta"
        )


def find_load(connection: Connection, feed: Feed, declared: Declaration, sha256: str) -> Load | None:
    """Return the earlier load of this very file: the same number in the feed, content and declarations."""
    number = load_table.c.feed_number == declared.number if declared.number else true()
    query = select(load_table).where(load_table.c.feed == declared.feed, load_table.c.sha256 == sha256, number)
    loads = connection.execute(query.order_by(load_table.c.number.desc())).all()
    return next((load for load in loads if not _differences(connection, load, feed, declared, sha256)), None)


def _differences(connection: Connection, load: Load, feed: Feed, declared: Declaration, sha256: str) -> list[str]:
    """Return in what the earlier *load* differs from one of the same number that is declared so."""
    before = _claims_of(_newest(connection, load_table.c.feed == load.feed, load_table.c.number < load.number))
    said = _with_declared(before, feed, declared)
    was = (load.sha256, load.cut_at_micros, load.whole, *_claims_of(load), load.parties)
    now = (sha256, to_micros(declared.cut_at), declared.whole, *said, feed.parties(declared))
    names = ("content", "cut-off", "kind", *Claims._fields, "parties")
    return [name for name, old, new in zip(names, was, now, strict=True) if old != new]


def next_number(connection: Connection, feed: Feed, declared: Declaration, sha256: str, now: datetime) -> int:
    """Return the number of a new file in its feed.

    A cut-off that lies in the future, because it was loaded while a clock was wrong, is corrected by a whole file.

    Raises:
        LoadError: it is not the next file: its number or cut-off is out of order.
    """
    last = _newest(connection, load_table.c.feed == declared.feed)
    expected = last.feed_number + 1 if last else None
    if declared.number is not None and declared.number != expected:
        _check_number(connection, feed, declared, sha256, expected)
    before = to_datetime(last.cut_at_micros) if last else None
    if last and before and declared.cut_at < before and not (declared.whole and before > now + CLOCK_TOLERANCE):
        raise LoadError(
            f"the cut-off {format_second(declared.cut_at)} is before that of {_name(last)}, {format_second(before)}: "
            "the file is older than what is loaded"
        )
    return declared.number or expected or 1


def check_repeated(
    connection: Connection,
    feed: Feed,
    declared: Declaration,
    policy: Policy,
    content: FileContent,
) -> None:
    """Check that a file with this *content* was not loaded before, unless it may be loaded again.

    Older rows would bring an older state back, and rows that are not new would make the data seem newer than it is. Any
    number of files may be empty. A file may have the rows of the last file of the feed whose records it takes over.

    Raises:
        LoadError: a file with the same rows, in whatever form and order, or with the same content was loaded before.
    """
    load, taken_feed = load_table.c, policy.taken_feed
    # The content too: another release may have normalized the same rows otherwise.
    same = or_(load.rows_digest == content.rows_digest, load.sha256 == content.sha256)
    taken = _newest(connection, load.feed == taken_feed, load.rows > 0)
    counts = load.feed != taken_feed if taken and taken.rows_digest == content.rows_digest else true()
    known = _newest(connection, same, load.rows > 0, counts)
    if known and not policy.allow_known_content and not _may_follow(connection, known, feed, declared):
        cut_at = format_second(to_datetime(known.cut_at_micros))
        unchanged = (
            "if nothing has changed since then, load a file of changes that has no rows below its header, with the new "
            "cut-off; "
        )
        raise LoadError(
            f"the rows of this file were already loaded as {_name(known)}, cut off at {cut_at}, and another cut-off "
            "does not make them newer: if the source has a newer file, load that one; "
            f"{'' if feed.full_snapshot else unchanged}if they are to hold now, load it with --allow-known-file"
        )


def _may_follow(connection: Connection, known: Load, feed: Feed, declared: Declaration) -> bool:
    """Return whether a file with the rows of the *known* load may be loaded after it.

    No file with rows has been loaded for the feed since then, and either the file corrects what was declared of the
    rows: that they are all of the feed's, that they replace the parties of their cases, or other dates. Or they are all
    of the feed's again, and its source says so by the next number: nothing has changed.
    """
    last = _newest(connection, load_table.c.feed == declared.feed, load_table.c.rows > 0)
    if last is None or last.number != known.number:
        return False
    stands = claims_before(connection, declared)
    replaces = feed.parties(declared) is Parties.REPLACED and known.parties == Parties.MERGED
    is_whole = declared.whole and (declared.number is not None or not known.whole)
    return is_whole or replaces or _with_declared(stands, feed, declared) != stands


def _check_number(connection: Connection, feed: Feed, declared: Declaration, sha256: str, expected: int | None) -> None:
    number = declared.number or 0
    if expected is None:
        if number == 1 or declared.whole:
            return
        raise LoadError(
            f"nothing of the feed {declared.feed} is loaded: expected number 1 or a whole file, not changes {number}"
        )
    if number > expected:
        raise LoadError(f"number {number} of the feed {declared.feed} is out of order: expected number {expected}")
    same = _newest(connection, load_table.c.feed == declared.feed, load_table.c.feed_number == number)
    how = "comes too late"
    if same:
        how = f"was loaded with another {', '.join(_differences(connection, same, feed, declared, sha256))}"
    raise LoadError(f"number {number} of the feed {declared.feed} {how}: expected number {expected}")


def check_take_over(connection: Connection, feed: Feed, declared: Declaration, before: Claims, taken_feed: str) -> None:
    """Check that a file of *feed*, which has declared *before*, may take over records of *taken_feed*.

    Raises:
        LoadError: nothing of that feed is loaded, it is of another kind or the file's own; the file is older than what
            that feed has delivered; or it does not say from which dates on the records of both feeds are complete.
    """
    loaded = set(connection.execute(select(load_table.c.feed).distinct()).scalars())
    known = sorted(loaded - {declared.feed} - feed.other_kinds)
    if taken_feed not in known:
        raise LoadError(f"--take-over {taken_feed}: the feeds it may name are {', '.join(known) or 'none'}")
    last = _newest(connection, load_table.c.feed == taken_feed)
    cut_at = to_datetime(last.cut_at_micros) if last else None
    if last and cut_at and declared.cut_at < cut_at:
        raise LoadError(
            f"--take-over {taken_feed}: the cut-off {format_second(declared.cut_at)} is before that of {_name(last)}, "
            f"{format_second(cut_at)}: the file is older than the records that it would take over"
        )
    _check_claims_for_both(feed, declared, before, _claims_of(last), taken_feed)


def _check_claims_for_both(feed: Feed, declared: Declaration, before: Claims, taken: Claims, taken_feed: str) -> None:
    """Raise LoadError if an earlier declaration would come to hold for records of *taken_feed*, which has not made it.

    A whole file always declares the dates of cases: what its feed has declared before is not about these records.
    """
    said = Claims(declared.complete_since, declared.tracking_since)
    stand = _with_declared(before, feed, declared)
    for name, new, own, stands, other in zip(said._fields, said, before, stand, taken, strict=True):
        if new or (declared.whole and not feed.is_dated):
            continue
        widens = stands and (other is None or stands < other)
        if widens or (declared.whole and (stands or other)):
            remedy = f"the file must declare {name}" if feed.is_dated else "load a whole file of the feed"
            raise LoadError(
                f"--take-over {taken_feed}: {remedy}, as it holds for the records of both feeds; so far "
                f"{declared.feed} has declared {_day(own)}, and {taken_feed} {_day(other)}"
            )


def check_dropped_feeds(connection: Connection, feed: Feed, required_feeds: Sequence[str]) -> None:
    """Check that the coverage of *required_feeds* stands for every feed of the recorded loads, this one included.

    A feed that the settings no longer name has ended when a whole file of another one has taken over all its records:
    that file declares the dates from which the records of both are complete.

    Raises:
        LoadError: a feed was taken out of the settings, and none has taken over all its records since its last file.
    """
    newest = select(load_table.c.feed, func.max(load_table.c.number).label("number")).group_by(load_table.c.feed)
    last = newest.where(load_table.c.feed.not_in((*required_feeds, *feed.full_snapshot_kinds))).subquery()
    taken = exists().where(
        load_table.c.taken_feed == last.c.feed, load_table.c.whole, load_table.c.number > last.c.number
    )
    loads = select(load_table.c.number).where(load_table.c.feed == last.c.feed)
    keeps = exists().where(feed.table.c.load_number.in_(loads))
    if dropped := connection.execute(select(last.c.feed).where(or_(~taken, keeps))).scalars().all():
        names, kept = ", ".join(sorted(dropped)), _kept_records(connection, feed, dropped)
        raise LoadError(
            f"the setting feeds no longer names {names}, {kept}; name it again, or, if it has ended, first load whole "
            "files of other feeds that together have all its records, with --take-over"
        )


def _kept_records(connection: Connection, feed: Feed, dropped: Sequence[str]) -> str:
    """Return how many records the *dropped* feeds have, and the first of them unless inquiries ask about their ids."""
    record = feed.table.c[feed.key[0]]
    loads = select(load_table.c.number).where(load_table.c.feed.in_(dropped))
    kept = select(record).where(feed.table.c.load_number.in_(loads)).distinct()
    count = connection.execute(select(func.count()).select_from(kept.subquery())).scalar_one()
    if not count:
        return "after whose last file no whole file of another feed has taken over its records"
    shown = ""
    if record.name not in feed.subjects.values():
        first = connection.execute(kept.order_by(record).limit(_SHOWN_RECORDS)).scalars()
        shown = f" ({record.name} {', '.join(first)}{', …' if count > _SHOWN_RECORDS else ''})"
    return f"whose records are stored: coverage would leave them out, {count:,} in all{shown}"


def columns_before(connection: Connection, *feeds: str | None) -> frozenset[str]:
    """Return the optional columns that files of *feeds* have had so far."""
    last = (_newest(connection, load_table.c.feed == name) for name in feeds)
    return frozenset(name for load in last if load for name in load.optional_columns.split())


def claims_before(connection: Connection, declared: Declaration) -> Claims:
    """Return what the file's feed has declared so far."""
    return _claims_of(_newest(connection, load_table.c.feed == declared.feed))


def _claims_of(load: Load | None) -> Claims:
    return Claims(load.complete_since, load.tracking_since) if load else Claims(None, None)


def claims(before: Claims, feed: Feed, declared: Declaration) -> Claims:
    """Return what the feed declares once the file is loaded: what it has declared before holds until it says more.

    Raises:
        LoadError: a file of changes declares less than the feed did before.
    """
    for name, new, old in zip(before._fields, (declared.complete_since, declared.tracking_since), before, strict=True):
        if new and old and new > old and not declared.whole:
            raise LoadError(
                f"{name} {_day(new)}: the feed has declared {_day(old)} before; only a whole file may reduce it"
            )
    return _with_declared(before, feed, declared)


def _with_declared(before: Claims, feed: Feed, declared: Declaration) -> Claims:
    since = declared.complete_since or before.complete_since or (feed.first_date if declared.whole else None)
    return Claims(since, declared.tracking_since or before.tracking_since)


def declare_coverage(connection: Connection, required_feeds: Sequence[str]) -> Coverage | None:
    """Store the coverage that the last loads of *required_feeds* give together, and return it.

    There is none if one of them has not been loaded, or has not declared that it is complete.
    """
    last = [_newest(connection, load_table.c.feed == name) for name in required_feeds]
    known = [load for load in last if load and load.complete_since]
    connection.execute(delete(coverage_table))
    if not known or len(known) < len(required_feeds):
        return None
    since = max(load.complete_since for load in known)
    tracking = [load.tracking_since for load in known]
    values = {
        "since": since,
        "as_of_micros": min(load.cut_at_micros for load in known),
        "tracking_since": None if None in tracking else max(tracking),
        "feeds": " ".join(sorted(required_feeds)),
    }
    connection.execute(insert(coverage_table).values(id=1, **values))
    return read_coverage(connection)


def _newest(connection: Connection, *conditions: ColumnElement[bool]) -> Load | None:
    query = select(load_table).where(*conditions).order_by(load_table.c.number.desc()).limit(1)
    return connection.execute(query).first()


def _name(load: Load) -> str:
    return f"number {load.feed_number} of the feed {load.feed}"


def _day(day: date | None) -> str:
    return format_both(day) if day else "none"
