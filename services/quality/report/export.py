"""The report as data: JSON with every value, and CSV with one value a row."""

import csv
import dataclasses
import io
import json
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from estelam.core.escape import spreadsheet_cell
from quality.evaluation.report_model import Counts, MethodReport, Minutes, Named, Outage, Report, SloResult

COLUMNS = ("scope", "subject", "consumer", "day", "figure", "value")
Row = tuple[Any, ...]


def as_json(report: Report) -> bytes:
    """The whole report as one JSON object."""
    content = dataclasses.asdict(report)
    return json.dumps(content, ensure_ascii=False, indent=1, default=_text).encode() + b"\n"


def as_csv(report: Report) -> bytes:
    """The whole report as CSV, one value a row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows([_plain(value) for value in row] for row in _rows(report))
    # Spreadsheets recognise UTF-8 by the byte order mark.
    return b"\xef\xbb\xbf" + text.getvalue().encode()


def _rows(report: Report) -> Iterator[Row]:
    yield from _values("report", report.audience, "", report.month, report.counts, report.minutes)
    for name in ("version", "coverage", "is_complete", "interim"):
        yield ("report", report.audience, "", report.month, name, getattr(report, name))
    for method in report.methods:
        yield from _method(report.month, method)
    for listed in report.listed:
        yield from _values("listed", listed.service.slug, "", report.month, listed.minutes)
        yield ("listed", listed.service.slug, "", report.month, "coverage", listed.coverage.value)
    for one in report.consumers:
        yield from _values("consumer", one.method, one.consumer.slug, report.month, one.counts)
    for still in report.still_calling:
        for name in ("since", "inquiries", "last_day"):
            yield ("still_calling", still.method, still.consumer.slug, report.month, name, getattr(still, name))
    for outage in report.outages:
        yield from _outage(outage)
    for result in report.slo_results:
        yield from _verdicts(report.month, result)
    yield from _actions(report)
    yield from _ledgers(report)


def _actions(report: Report) -> Iterator[Row]:
    for action in report.actions:
        about = ("action", action.subject.slug, action.owner.slug, report.month)
        yield (*about, " ".join(filter(None, (action.kind, action.metric, action.agreement))), action.due)


def _ledgers(report: Report) -> Iterator[Row]:
    for head in report.ledgers:
        yield ("ledger", head.service, "", head.seen.isoformat(), "head", f"{head.size}:{head.root}")
    for alarm in report.ledger_alarms:
        acknowledged = alarm.acknowledged.isoformat() if alarm.acknowledged else None
        yield ("ledger", alarm.service, "", alarm.found.isoformat(), f"alarm {alarm.kind} acknowledged", acknowledged)


def _method(month: str, method: MethodReport) -> Iterator[Row]:
    yield from _values("method", method.method, "", month, method.counts, method.minutes)
    yield ("method", method.method, "", month, "coverage", method.coverage.value)
    yield ("method", method.method, "", month, "traffic known until", _instant(method.traffic_until))
    for day in method.days:
        yield ("day", method.method, "", day.jalali, "coverage", day.coverage.value)
        yield from _values("day", method.method, "", day.jalali, day.counts, day.minutes)


def _outage(outage: Outage) -> Iterator[Row]:
    span = f"{outage.first.isoformat()}/{outage.end.isoformat()}"
    where = ("outage", outage.service.slug, _slug(outage.consumer), span)
    yield (*where, outage.fault, outage.down)
    if outage.announced_until:
        yield (*where, f"{outage.fault} announced_until", outage.announced_until.isoformat())


def _verdicts(month: str, result: SloResult) -> Iterator[Row]:
    for verdict in result.verdicts:
        name = f"{result.rules.slug} {verdict.metric}"
        where = (result.kind, _slug(result.service), _slug(result.consumer), month)
        yield (*where, name, verdict.measured)
        yield (*where, f"{name} met", verdict.met if verdict.met is not None else verdict.state)
        if verdict.budget:
            for field, value in dataclasses.asdict(verdict.budget).items():
                yield (*where, f"{name} budget {field}", value)


def _instant(instant: datetime | None) -> str:
    return "not known" if instant is None else instant.isoformat()


def _slug(thing: Named | None) -> str:
    return thing.slug if thing else ""


def _values(scope: str, subject: str, consumer: str, day: str, *holders: Counts | Minutes | None) -> Iterator[Row]:
    for holder in holders:
        for field in dataclasses.fields(holder) if holder else ():
            # Inquiries and minutes are both counted by cause; the minutes have their unit in the name.
            unit = "_minutes" if isinstance(holder, Minutes) and field.name != "availability" else ""
            yield (scope, subject, consumer, day, field.name + unit, getattr(holder, field.name))


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return spreadsheet_cell(value)


def _text(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(type(value).__name__)
