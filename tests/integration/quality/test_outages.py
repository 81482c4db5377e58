"""Outages announced by command: kept, published, ended early, withdrawn; and one from announcement to report."""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from estelam.core.clock import TEHRAN
from estelam.core.errors import Reason
from estelam.pipeline.outages import OutageTable
from estelam.storage.migrate import migrate
from estelam.storage.store import AccessMode, Store
from quality import repository
from quality.attribution import Attribution
from quality.periods import Month, instant_of, minute_of
from quality.records import PlannedOutage
from tests.conftest import Start, both_engines, promissory_opening
from tests.e2e.conftest import CommandLine, CommandResult, caller, refusal
from tests.integration.quality.conftest import QualityStore
from tests.support.outages import HOUR, PROMISSORY, Time
from tools.env.sandbox import ROOT, Sandbox

SERVICE = "promissory-note-inquiry"
WORDS = {"--reason-fa": "جابه‌جایی پایگاه‌داده به میزبان تازه", "--reason-en": 'Move of the "database"'}
MINUTE = timedelta(minutes=1)


@dataclass
class Desk:
    """The exchange's desk: the command line of a suite that has a quality store, and the time there."""

    sandbox: Sandbox
    watch: QualityStore
    time: Time

    @property
    def file(self) -> Path:
        return self.sandbox.folder / "outages.toml"

    def say(self, *words: str) -> CommandResult:
        return CommandLine(self.sandbox)("quality", *words)

    def told(self, *words: str) -> Any:
        """What a command says as JSON; a service in this process may say things in between."""
        said = self.say(*words, "--json")
        [line] = [line for line in said.out.splitlines() if line.startswith(("{", "["))]
        assert 0 == said.code, line
        return json.loads(line)

    def announce(self, first: datetime, end: datetime, **changed: str) -> list[str]:
        """The words of an announcement."""
        given = {"--service": SERVICE, "--from": typed(first), "--until": typed(end), **WORDS}
        given |= {f"--{name.replace('_', '-')}": value for name, value in changed.items()}
        return ["outage", "announce", *(word for pair in given.items() for word in pair)]


def typed(instant: datetime) -> str:
    return f"{instant.astimezone(TEHRAN):%Y-%m-%d %H:%M}"


@pytest.fixture
def desk(loaded: Sandbox, watch: QualityStore, monkeypatch: pytest.MonkeyPatch) -> Desk:
    kept = watch.settings
    own = {"store": kept.store, "catalogue": kept.catalogue, "rules": ROOT / "rules" / "quality.toml"}
    own |= {"signing_key": kept.signing_key, "reports": kept.reports}
    table = "".join(f'{name} = "{value}"\n' for name, value in own.items())
    table += f'signing_certificates = ["{kept.signing_certificates[0]}"]\noutages = "outages.toml"\n'
    table += f'ledgers = {{ {SERVICE} = "sqlite:///{loaded.folder / "promissory"}" }}\n'
    services, _, _ = loaded.config.read_text("utf-8").partition("[quality]")
    loaded.config.write_text(f"{services}[quality]\n{table}", "utf-8")
    time = Time()
    for module in ("outages.cli", "cli"):
        monkeypatch.setattr(f"quality.{module}.Clock", lambda: time.clock)
    return Desk(loaded, watch, time)


@pytest.fixture
def first(desk: Desk) -> datetime:
    """Four days from now."""
    return desk.time.began.replace(second=0, microsecond=0) + 96 * HOUR


def test_what_is_announced_is_kept_published_and_listed(desk: Desk, first: datetime) -> None:
    told = desk.told(*desk.announce(first, first + HOUR))
    late = desk.told(*desk.announce(first - 72 * HOUR, first - 71 * HOUR, service="cheque-case-inquiry"))
    [one, other] = desk.told("outage", "list")
    plain = desk.say("outage", "list")
    published = OutageTable.load(desk.file).outage

    assert (1, True, str(desk.file)) == (told["number"], told["counted_apart"], told["published"])
    assert (2, False) == (late["number"], late["counted_apart"])
    assert ("coming", first, first + HOUR) == (one["state"], at(one["from"]), at(one["until"]))
    assert list(WORDS.values()) == [one["reason_fa"], one["reason_en"]]
    assert other["service"] == "cheque-case-inquiry"
    assert (0, True) == (plain.code, "coming" in plain.out)
    assert (PROMISSORY, first, first + HOUR) == (published[0].service, published[0].since, published[0].until)
    assert list(WORDS.values()) == [published[0].reason_fa, published[0].reason_en]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_an_outage_that_runs_ends_with_the_minute_and_keeps_both_ends(desk: Desk, first: datetime) -> None:
    desk.told(*desk.announce(first, first + 4 * HOUR))
    desk.time.go_to(first + HOUR)
    [running] = desk.told("outage", "list")
    ended = desk.told("outage", "end", "1")
    again = desk.say("outage", "end", "1")

    assert "running" == running["state"]
    assert (first + HOUR + MINUTE, first + 4 * HOUR) == (at(ended["until"]), at(ended["announced_until"]))
    assert [first + HOUR + MINUTE] == [one.until for one in OutageTable.load(desk.file).outage]
    assert (1, True) == (again.code, "ends with this minute" in again.err)
    desk.time.passed += HOUR
    assert [] == desk.told("outage", "list")
    [over] = desk.told("outage", "list", "--all")
    assert ("over", ended["until"], ended["announced_until"]) == (
        over["state"],
        over["until"],
        over["announced_until"],
    )


def test_an_outage_that_has_not_begun_is_withdrawn_and_counts_nowhere(desk: Desk, first: datetime) -> None:
    desk.told(*desk.announce(first, first + 4 * HOUR))
    desk.told("outage", "end", "1")
    twice = desk.say("outage", "end", "1")

    assert [] == OutageTable.load(desk.file).outage
    assert [] == desk.told("outage", "list")
    assert ["withdrawn"] == [one["state"] for one in desk.told("outage", "list", "--all")]
    assert 1 == twice.code
    assert [] == kept(desk, first)
    # The time is free again.
    assert 2 == desk.told(*desk.announce(first, first + HOUR))["number"]


def kept(desk: Desk, first: datetime) -> list[PlannedOutage]:
    begins = minute_of(first)
    with contextlib.closing(Store(desk.watch.settings.store)) as opened, opened.transaction() as connection:
        return repository.outages_between(connection, begins - 1440, begins + 1440)


def test_what_is_over_is_not_published_any_more(desk: Desk, first: datetime) -> None:
    desk.told(*desk.announce(first, first + HOUR))
    desk.time.go_to(first + HOUR)
    desk.told(*desk.announce(first + 2 * HOUR, first + 3 * HOUR))

    assert [first + 2 * HOUR] == [one.since for one in OutageTable.load(desk.file).outage]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"service": "nothing"}, "no service of that name"),
    ({"service": "tax-debt"}, "no service of that name"),
    ({"service": "x" * 10_000}, "no service of that name"),
    ({"until": "1400-01-01 10:00"}, "ends after it begins"),
    ({"until": "2199-01-01 10:00"}, "within 31 days"),
    ({"from": "tomorrow"}, "YYYY-MM-DD HH:MM"),
    ({"reason_fa": ""}, "1 to 200 characters"),
    ({"reason_en": "x" * 10_000}, "1 to 200 characters"),
    ({"reason_en": "two\nlines"}, "on one line"),
    ({"reason_fa": "نوشتهٔ \u202e وارونه"}, "on one line"),
]


@pytest.mark.parametrize(("changed", "why"), WRONG)
def test_an_announcement_that_cannot_be_meant_changes_nothing(
    desk: Desk, first: datetime, changed: dict[str, Any], why: str
) -> None:
    said = desk.say(*desk.announce(first, first + HOUR, **changed))

    assert (1, True) == (said.code, why in said.err)
    assert len(said.err) < 300
    assert not desk.file.exists()
    assert [] == kept(desk, first)


@pytest.mark.parametrize("number", ["7", "-1", "0", str(10**30)])
def test_a_number_that_no_announcement_has_ends_nothing(desk: Desk, number: str) -> None:
    said = desk.say("outage", "end", "--", number)

    assert (1, True) == (said.code, "no announcement has that number" in said.err)


def test_an_announcement_within_another_is_refused_and_one_that_goes_on_is_taken(desk: Desk, first: datetime) -> None:
    desk.told(*desk.announce(first, first + 4 * HOUR))
    within = desk.say(*desk.announce(first + HOUR, first + 2 * HOUR))

    assert (1, True) == (within.code, "the announcement 1 covers that time already" in within.err)
    assert 2 == desk.told(*desk.announce(first + 3 * HOUR, first + 5 * HOUR))["number"]


def test_what_cannot_be_published_is_not_kept_either(desk: Desk, first: datetime) -> None:
    desk.file.mkdir()
    said = desk.say(*desk.announce(first, first + HOUR))

    assert 1 == said.code
    assert "Traceback" not in said.err
    assert [] == kept(desk, first)


@both_engines
def test_an_early_end_is_kept_on_either_engine_and_by_a_store_of_an_earlier_release(
    engine: str, request: pytest.FixtureRequest, watch: QualityStore
) -> None:
    url = watch.settings.store
    if engine == "postgresql":
        cluster = request.getfixturevalue("cluster")
        url = cluster.url(cluster.database())
        migrate(url, repository.MIGRATIONS)
    with contextlib.closing(Store(url, facts=AccessMode.CREATE)) as opened, opened.transaction() as connection:
        for later in ("own_inquiry", "reading"):
            connection.execute(text(f"DROP TABLE facts.{later}"))
        connection.execute(text("ALTER TABLE facts.outage DROP COLUMN announced_end_minute"))
        connection.execute(text("UPDATE facts.alembic_version SET version_num = '0001'"))
        connection.execute(text("INSERT INTO facts.outage VALUES (1, 's', 0, 100, 200, 'ف', 'e')"))
    migrate(url, repository.MIGRATIONS)
    with contextlib.closing(Store(url, facts=AccessMode.WRITE)) as opened, opened.transaction() as connection:
        [before] = repository.outages_between(connection, 0, 1000)
        repository.end_outage(connection, 1, 150)
        [after] = repository.outages_between(connection, 0, 1000)
        repository.end_outage(connection, 1, 100)

        assert [] == repository.outages_between(connection, 0, 1000)
    assert (200, None, 1) == (before.end_minute, before.announced_end_minute, before.number)
    assert (150, 200) == (after.end_minute, after.announced_end_minute)


@pytest.fixture
def service(desk: Desk, start: Start) -> Iterator[Callable[[], Any]]:
    """What the real service says to an inquiry, in the desk's time."""
    running = start(promissory_opening(desk.sandbox, desk.time.clock, shutdown_delay_seconds=0))
    with caller(desk.sandbox, running.address) as ask:
        yield ask


@pytest.mark.timeout(180)
def test_an_announced_outage_is_refused_by_the_service_and_counted_apart_in_the_report(
    desk: Desk, service: Callable[[], Any]
) -> None:
    last = Month.of(desk.time.began).end_minute
    tenth = instant_of(last + 9 * 1440 + 720)
    for day, told_before in ((0, 100), (2, 1)):
        first = tenth + timedelta(days=day)
        desk.time.go_to(first - told_before * HOUR)
        assert (told_before == 100) is desk.told(*desk.announce(first, first + 4 * HOUR))["counted_apart"]
        service()
        desk.time.go_to(first)
        assert Reason.OUTAGE_ANNOUNCED == refusal(service)[1]
        if not day:
            desk.time.go_to(first + HOUR)
            desk.told("outage", "end", "1")
            desk.time.go_to(first + HOUR + MINUTE)
        else:
            desk.time.go_to(first + 4 * HOUR)
        service()

    desk.time.passed += MINUTE  # a minute that still runs is not told of
    month = Month.of(tenth)
    desk.told("collect")
    desk.told("report", "--month", str(month), "--for", "provider:mefa")
    [written] = desk.watch.settings.reports.glob("*/figures.json")
    report = json.loads(written.read_text("utf-8"))
    counts = report["counts"]
    planned = [outage for outage in report["outages"] if outage["fault"] == Attribution.PLANNED]

    # Two answers and one refusal in time; two answers and one refusal that was announced too late to count apart.
    assert (4, 1, 1) == (counts["answered"], counts["planned"], counts["provider"])
    assert [(True, 61), (False, 240)] == [(outage["counted_apart"], outage["minutes"]) for outage in planned]
    assert [4 * HOUR] * 2 == [at(outage["announced_until"]) - at(outage["first"]) for outage in planned]
    check = next(found for found in report["methods"] if found["name"] == "CheckNote")
    assert 61 == check["minutes"]["planned"]
