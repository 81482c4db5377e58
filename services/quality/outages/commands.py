"""Commands of `estelam quality outage`: announce, list and end planned outages."""

import contextlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from estelam.catalogue import loader
from estelam.catalogue.model import Catalogue
from estelam.cli import output
from estelam.core import dates
from estelam.core.clock import Clock
from estelam.core.settings import load_settings
from estelam.storage.store import AccessMode, Store
from quality import repository, slo
from quality.evaluation.period_data import is_announced_in_time
from quality.outages.announcements import OutageAnnouncer, check_service, create_outage, is_current, state
from quality.periods import instant_of, minute_of
from quality.records import PlannedOutage
from quality.settings import QualitySettings


def announce(service: str, first: str, end: str, reason_fa: str, reason_en: str, *, as_json: bool) -> None:
    """Announce an outage from *first* until *end*."""
    with output.user_errors(as_json=as_json):
        settings, now = load_settings(QualitySettings), Clock().now()
        catalogue = loader.read_catalogue(settings.catalogue)
        rules = slo.read(settings.rules, catalogue)
        check_service(catalogue, service)
        outage = create_outage(
            catalogue,
            service=service,
            first=output.parse_option("--from", first, dates.parse_local_time, as_json=as_json),
            end=output.parse_option("--until", end, dates.parse_local_time, as_json=as_json),
            now=now,
            reason_fa=reason_fa,
            reason_en=reason_en,
        )
        with _announcer(settings, catalogue, now) as announcer:
            stored = announcer.announce(outage)
    notice = {
        "counted_apart": is_announced_in_time(stored, rules),
        "notice_hours": round((stored.first_minute - stored.announced_minute) / 60, 1),
        "hours_needed": rules.notice_hours,
    }
    output.print_record(_facts(stored) | notice | {"published": settings.outages}, as_json=as_json)


def end(number: int, *, as_json: bool) -> None:
    """End an outage with the current minute, or withdraw one that has not begun."""
    with output.user_errors(as_json=as_json):
        settings, now = load_settings(QualitySettings), Clock().now()
        with _announcer(settings, loader.read_catalogue(settings.catalogue), now) as announcer:
            ended = announcer.end(number)
    output.print_record(_facts(ended) | {"published": settings.outages}, as_json=as_json)


def listing(*, as_json: bool, everything: bool) -> None:
    """Print the announced outages by number."""
    with output.user_errors(as_json=as_json):
        settings, now = load_settings(QualitySettings), minute_of(Clock().now())
        with contextlib.closing(Store(settings.store)) as opened, opened.transaction() as connection:
            found = repository.all_outages(connection)
    found = [one for one in found if everything or is_current(one, now)]
    rows = [_facts(one, now=now) for one in found]
    columns = list(_facts(PlannedOutage("", 0, 0, 1, "", ""), now=0))
    output.print_rows(columns, [list(row.values()) for row in rows], as_json=as_json)


@contextlib.contextmanager
def _announcer(settings: QualitySettings, catalogue: Catalogue, now: datetime) -> Iterator[OutageAnnouncer]:
    """Yield the announcements for a change, which is stored and published as a whole or not at all."""
    with (
        contextlib.closing(Store(settings.store, facts=AccessMode.WRITE)) as opened,
        opened.transaction() as connection,
    ):
        yield OutageAnnouncer(connection, catalogue, settings.outages, minute_of(now))


def _facts(outage: PlannedOutage, *, now: int | None = None) -> dict[str, Any]:
    facts: dict[str, Any] = {"number": outage.number, "service": outage.service}
    if now is not None:
        facts["state"] = state(outage, now)
    return facts | {
        "from": instant_of(outage.first_minute),
        "until": instant_of(outage.end_minute),
        "announced": instant_of(outage.announced_minute),
        "announced_until": instant_of(outage.announced_end_minute or outage.end_minute),
        "reason_fa": outage.reason_fa,
        "reason_en": outage.reason_en,
    }
