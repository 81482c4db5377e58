"""Feeds of outages, changes of the catalogue and reports (Atom, RFC 4287), and a calendar of outages (RFC 5545).

A feed names services, methods and organisations, and no person.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import NAMESPACE_URL, uuid5

from icalendar import Calendar, Event

from estelam.catalogue.model import Catalogue
from quality.dashboard.change_feed import RecordedChange
from quality.dashboard.change_texts import ChangeTexts
from quality.dashboard.report_archive import ArchivedReport
from quality.outages.announcements import WITHDRAWN, state
from quality.periods import instant_of
from quality.records import PlannedOutage
from quality.report.i18n import Localizer

ATOM, CALENDAR = "application/atom+xml", "text/calendar; charset=utf-8"
MAX_ENTRIES = 200
"""Entries of one feed, the newest first."""
_NAMESPACE = "http://www.w3.org/2005/Atom"
_PRODUCT = "-//estelam//quality//EN"

ET.register_namespace("", _NAMESPACE)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a feed."""

    key: str
    """Which thing it is about, for ever: the feed's id is made from it."""
    title: str
    summary: str
    updated: datetime
    path: str
    """Where the site shows it, below its root."""


def atom(name: str, title: str, entries: Iterable[Entry], *, base: str, language: str, now: datetime) -> bytes:
    """The Atom feed *name* of *entries*, of the site at the address *base*."""
    newest = sorted(entries, key=lambda entry: entry.updated, reverse=True)[:MAX_ENTRIES]
    feed = ET.Element(f"{{{_NAMESPACE}}}feed", {"{http://www.w3.org/XML/1998/namespace}lang": language})
    _add(feed, "id", _id(f"{name}:{language}"))
    _add(feed, "title", title)
    _add(feed, "updated", (newest[0].updated if newest else now).isoformat())
    ET.SubElement(_add(feed, "author"), f"{{{_NAMESPACE}}}name").text = title
    _add(feed, "link", rel="self", href=f"{base}{language}/{name}.atom")
    for entry in newest:
        element = _add(feed, "entry")
        _add(element, "id", _id(f"{entry.key}:{language}"))
        _add(element, "title", entry.title)
        _add(element, "updated", entry.updated.isoformat())
        _add(element, "link", href=base + entry.path)
        _add(element, "summary", entry.summary)
    return bytes(ET.tostring(feed, "utf-8", xml_declaration=True))


def _add(parent: ET.Element, name: str, text: str | None = None, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, f"{{{_NAMESPACE}}}{name}", attributes)
    element.text = text
    return element


def _id(key: str) -> str:
    return uuid5(NAMESPACE_URL, f"estelam:{key}").urn


def outage_entries(
    outages: Iterable[PlannedOutage], catalogue: Catalogue, texts: Mapping[str, str], l10n: Localizer, now: int
) -> Iterable[Entry]:
    """An entry for each announced outage, with its present state."""
    for one in outages:
        changed = one.announced_end_minute is not None  # ended early or withdrawn, at the latest now
        updated = min(max(one.end_minute, one.announced_minute), now) if changed else one.announced_minute
        until = one.announced_end_minute if state(one, now) == WITHDRAWN else one.end_minute
        times = (
            f"{l10n.instant(instant_of(one.first_minute))} \u2013 {l10n.instant(instant_of(until or one.end_minute))}"
        )
        yield Entry(
            key=f"outage:{one.number}",
            title=f"{_service(catalogue, one.service, l10n)}: {texts['feed_outage_' + state(one, now)]}",
            summary=f"{times}: {one.reason_fa if l10n.persian else one.reason_en}",
            updated=instant_of(updated),
            path=f"{l10n.language}/outages",
        )


def change_entries(changes: Iterable[RecordedChange], words: ChangeTexts, language: str) -> Iterable[Entry]:
    """An entry for each change of the catalogue."""
    for one in changes:
        change = one.change
        first = min(f"{service}:{entry}" for service, entry in one.entries.items())
        yield Entry(
            key=f"change:{first}:{change.record.kind}:{change.record.key}",
            title=words.sentence(change),
            summary="\n".join(words.details(change)),
            updated=one.at,
            path=f"{language}/changes",
        )


def report_entries(reports: Iterable[ArchivedReport], l10n: Localizer, texts: Mapping[str, str]) -> Iterable[Entry]:
    """An entry for each monthly report whose signature is valid."""
    for one in reports:
        if one.issued is None or not one.signature_valid:
            continue
        interim = f" ({texts['interim']})" if one.interim else ""
        inquiries = texts["not_measured"] if one.inquiries is None else l10n.count(one.inquiries)
        yield Entry(
            key=f"report:{one.name}",
            title=f"{l10n('title')}{l10n.comma} {l10n.month(one.month)}: {l10n.name(one.reader)}{interim}",
            summary=f"{texts['inquiries']}: {inquiries}",
            updated=one.issued,
            path=f"reports/{one.name}/report.{l10n.language}.html",
        )


def calendar(
    outages: Iterable[PlannedOutage], catalogue: Catalogue, texts: Mapping[str, str], l10n: Localizer, now: int
) -> bytes:
    """The announced outages as events; one that was withdrawn is cancelled."""
    found = Calendar()
    found.add("prodid", _PRODUCT)
    found.add("version", "2.0")
    found.add("x-wr-calname", texts["nav_outages"])
    for one in outages:
        withdrawn = state(one, now) == WITHDRAWN
        event = Event()
        event.add("uid", _id(f"outage:{one.number}"))
        event.add("dtstamp", instant_of(one.announced_minute))
        event.add("dtstart", instant_of(one.first_minute))
        event.add("dtend", instant_of((one.announced_end_minute if withdrawn else None) or one.end_minute))
        event.add("sequence", int(one.announced_end_minute is not None))
        event.add("status", "CANCELLED" if withdrawn else "CONFIRMED")
        event.add("summary", f"{texts['feed_outage']}: {_service(catalogue, one.service, l10n)}")
        event.add("description", one.reason_fa if l10n.persian else one.reason_en)
        found.add_component(event)
    return bytes(found.to_ical())


def _service(catalogue: Catalogue, slug: str, l10n: Localizer) -> str:
    service = catalogue.service(slug)
    return slug if service is None else service.fa if l10n.persian else service.en
