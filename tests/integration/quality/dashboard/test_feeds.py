"""Feeds and the calendar, as their readers get them."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from icalendar import Calendar

from quality.periods import instant_of
from quality.report.generate import generate_reports
from tests.integration.quality.conftest import QualityStore, at
from tests.integration.quality.dashboard.conftest import NOW, RunningDashboard, open_dashboard

ATOM = "{http://www.w3.org/2005/Atom}"
FIRST = at(15, 22)


@pytest.fixture
def running(quality_store: QualityStore, tmp_path: Path) -> Iterator[RunningDashboard]:
    """A dashboard with an outage that comes, one that was withdrawn, and a report."""
    quality_store.after = NOW
    quality_store.announce(FIRST, FIRST + 120, hours=140)
    quality_store.announce(FIRST + 600, FIRST + 660, hours=140)
    quality_store.end_early(2, FIRST + 600)
    generate_reports(quality_store.settings, month="1405-08", audiences=["working-group"], clock=quality_store.clock())
    with open_dashboard(quality_store) as running:
        yield running


def entries(running: RunningDashboard, path: str) -> list[ET.Element]:
    with running.client() as client:
        reply = client.get(path)
    assert ("application/atom+xml", 200) == (reply.headers["content-type"].partition(";")[0], reply.status_code)
    return ET.fromstring(reply.content).findall(f"{ATOM}entry")  # noqa: S314 - our own


@pytest.mark.parametrize("language", ["fa", "en"])
def test_feeds(running: RunningDashboard, language: str) -> None:
    """Each feed lists what the pages show, with ids that stay, and links that lead there."""
    outages = entries(running, f"/{language}/outages.atom")
    reports = entries(running, f"/{language}/reports.atom")
    again = entries(running, f"/{language}/outages.atom")

    assert 2 == len({one.findtext(f"{ATOM}id") for one in outages})
    assert [one.findtext(f"{ATOM}id") for one in outages] == [one.findtext(f"{ATOM}id") for one in again]
    assert 1 == len(reports)
    assert [] == entries(running, f"/{language}/changes.atom")
    with running.client() as client:
        for one in (*outages, *reports):
            link = one.find(f"{ATOM}link")
            assert link is not None
            assert 200 == client.get(link.get("href", "")).status_code


def test_calendar(running: RunningDashboard) -> None:
    """The calendar has each announced outage at its time; one that was withdrawn is cancelled."""
    with running.client() as client:
        reply = client.get("/en/outages.ics")
    events: list[Any] = Calendar.from_ical(reply.content).walk("VEVENT")
    first, withdrawn = events

    assert reply.headers["content-type"].startswith("text/calendar")
    assert (instant_of(FIRST), instant_of(FIRST + 120)) == (first["dtstart"].dt, first["dtend"].dt)
    assert ("CONFIRMED", "CANCELLED") == (first["status"], withdrawn["status"])
    assert "Promissory note inquiry" in first["summary"]
    assert "maintenance" == first["description"]


def test_listed_services_are_not_measured(running: RunningDashboard) -> None:
    """The overview names each service that is listed only, as not measured."""
    with running.client() as client:
        page = client.get("/en/").text.partition('id="listed"')[2]

    assert 6 == page.count("badge is-unmeasured")
    assert "Tax debt" in page
