"""Commands for planned outages, and an outage from its announcement to the report."""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from development.sandbox import Sandbox
from estelam.core import dates
from estelam.core.clock import TEHRAN
from estelam.core.errors import Reason
from estelam.pipeline.outages import OutageTable
from estelam.storage.migrate import migrate
from estelam.storage.store import AccessMode, Store
from quality import repository
from quality.attribution import Attribution
from quality.periods import Month, instant_of, minute_of
from quality.records import PlannedOutage
from quality.settings import QualitySettings
from tests.conftest import Start, both_engines, promissory_opening
from tests.e2e.conftest import CommandLine, CommandResult, caller, refusal
from tests.integration.quality.conftest import QualityStore
from tests.support.outages import HOUR, PROMISSORY, Time
from tools.env.repository import ROOT

SERVICE = "promissory-note-inquiry"
WORDS = {"--reason-fa": "جابه‌جایی پایگاه‌داده به میزبان تازه", "--reason-en": 'Move of the "database"'}
MINUTE = timedelta(minutes=1)


@dataclass
class OutageCommands:
    """The outage commands of a sandbox with a quality store and a controlled clock."""

    sandbox: Sandbox
    quality_store: QualityStore
    time: Time

    @property
    def file(self) -> Path:
        return self.sandbox.folder / "outages.toml"

    def run(self, *words: str) -> CommandResult:
        return CommandLine(self.sandbox)("quality", *words)

    def run_json(self, *words: str) -> Any:
        """The JSON output of a command; other lines of the output are logs of services in this process."""
        result = self.run(*words, "--json")
        [line] = [line for line in result.out.splitlines() if line.startswith(("{", "["))]
        assert 0 == result.code, line
        return json.loads(line)

    def announce(self, first: datetime, end: datetime, **changed: str) -> list[str]:
        """Arguments of an announcement."""
        given = {"--service": SERVICE, "--from": typed(first), "--until": typed(end), **WORDS}
        given |= {f"--{name.replace('_', '-')}": value for name, value in changed.items()}
        return ["outage", "announce", *(word for pair in given.items() for word in pair)]


def typed(instant: datetime) -> str:
    return f"{instant.astimezone(TEHRAN):%Y-%m-%d %H:%M}"


@pytest.fixture
def commands(loaded: Sandbox, quality_store: QualityStore, monkeypatch: pytest.MonkeyPatch) -> OutageCommands:
    kept = quality_store.settings
    own = {"store": kept.store, "catalogue": kept.catalogue, "rules": ROOT / "rules" / "quality.toml"}
    own |= {"signing_key": kept.signing_key, "reports": kept.reports}
    table = "".join(f'{name} = "{value}"\n' for name, value in own.items())
    table += f'signing_certificates = ["{kept.signing_certificates[0]}"]\noutages = "outages.toml"\n'
    for name, value in (
        ("ledgers", f"sqlite:///{loaded.folder / 'promissory'}"),
        ("ledger_certificates", loaded.pki / "promissory-receipts.crt"),
    ):
        table += f'{name} = {{ {SERVICE} = "{value}" }}\n'
    services, _, _ = loaded.config.read_text("utf-8").partition("[quality]")
    loaded.config.write_text(f"{services}[quality]\n{table}", "utf-8")
    time = Time()
    for module in ("outages.commands", "commands"):
        monkeypatch.setattr(f"quality.{module}.Clock", lambda: time.clock)
    return OutageCommands(loaded, quality_store, time)


@pytest.fixture
def first(commands: OutageCommands) -> datetime:
    """Four days from now."""
    return commands.time.began.replace(second=0, microsecond=0) + 96 * HOUR


def test_announce(commands: OutageCommands, first: datetime) -> None:
    """An announced outage is stored, published and listed."""
    reported = commands.run_json(*commands.announce(first, first + HOUR))
    late = commands.run_json(*commands.announce(first - 72 * HOUR, first - 71 * HOUR, service="cheque-case-inquiry"))
    [one, other] = commands.run_json("outage", "list")
    plain = commands.run("outage", "list")
    published = OutageTable.load(commands.file).outage

    assert (1, True, str(commands.file)) == (reported["number"], reported["counted_apart"], reported["published"])
    assert (2, False, 72) == (late["number"], late["counted_apart"], late["hours_needed"])
    assert late["notice_hours"] < 72 < reported["notice_hours"]
    assert ("coming", first, first + HOUR) == (one["state"], at(one["from"]), at(one["until"]))
    assert list(WORDS.values()) == [one["reason_fa"], one["reason_en"]]
    assert other["service"] == "cheque-case-inquiry"
    assert (0, True) == (plain.code, "coming" in plain.out)
    assert dates.format_second(first) in plain.out
    assert (PROMISSORY, first, first + HOUR) == (published[0].service, published[0].since, published[0].until)
    assert list(WORDS.values()) == [published[0].reason_fa, published[0].reason_en]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_end_running_outage(commands: OutageCommands, first: datetime) -> None:
    """A running outage ends with the current minute, and its announced end is kept."""
    commands.run_json(*commands.announce(first, first + 4 * HOUR))
    commands.time.go_to(first + HOUR)
    [running] = commands.run_json("outage", "list")
    ended = commands.run_json("outage", "end", "1")
    again = commands.run("outage", "end", "1")

    assert "running" == running["state"]
    assert (first + HOUR + MINUTE, first + 4 * HOUR) == (at(ended["until"]), at(ended["announced_until"]))
    assert [first + HOUR + MINUTE] == [one.until for one in OutageTable.load(commands.file).outage]
    assert (2, True) == (again.code, "ends with this minute" in again.err)
    commands.time.passed += HOUR
    assert [] == commands.run_json("outage", "list")
    [over] = commands.run_json("outage", "list", "--all")
    assert ("over", ended["until"], ended["announced_until"]) == (
        over["state"],
        over["until"],
        over["announced_until"],
    )


def test_withdraw_outage(commands: OutageCommands, first: datetime) -> None:
    """An outage that has not begun is withdrawn and its period is free again."""
    commands.run_json(*commands.announce(first, first + 4 * HOUR))
    commands.run_json("outage", "end", "1")
    twice = commands.run("outage", "end", "1")

    assert [] == OutageTable.load(commands.file).outage
    assert ["withdrawn"] == [one["state"] for one in commands.run_json("outage", "list")]
    assert ["withdrawn"] == [one["state"] for one in commands.run_json("outage", "list", "--all")]
    assert 2 == twice.code
    assert [] == stored(commands, first)
    # The period can be announced again.
    assert 2 == commands.run_json(*commands.announce(first, first + HOUR))["number"]


def stored(commands: OutageCommands, first: datetime) -> list[PlannedOutage]:
    begins = minute_of(first)
    with contextlib.closing(Store(commands.quality_store.settings.store)) as opened, opened.transaction() as connection:
        return repository.outages_between(connection, begins - 1440, begins + 1440)


def test_past_outages_are_not_published(commands: OutageCommands, first: datetime) -> None:
    """Outages that are over are removed from the published file."""
    commands.run_json(*commands.announce(first, first + HOUR))
    commands.time.go_to(first + HOUR)
    commands.run_json(*commands.announce(first + 2 * HOUR, first + 3 * HOUR))

    assert [first + 2 * HOUR] == [one.since for one in OutageTable.load(commands.file).outage]


WRONG: list[tuple[dict[str, Any], int, str]] = [
    ({"service": "nothing"}, 2, "no monitored service is named"),
    ({"service": "tax-debt"}, 2, "no monitored service is named"),
    ({"service": "x" * 10_000}, 2, "no monitored service is named"),
    ({"until": "1400-01-01 10:00"}, 2, "ends after it begins"),
    ({"from": "2099-01-01 10:00", "until": "2099-01-01 11:00"}, 2, "begins within 366 days; check the year"),
    ({"until": "2199-01-01 10:00"}, 2, "within 31 days"),
    ({"from": "tomorrow"}, 2, "--from tomorrow: is not a time in Tehran"),
    ({"from": "99-01-01 10:00"}, 2, "not of four digits"),
    ({"from": "1405-13-01 10:00"}, 2, "its calendar does not have"),
    ({"until": "0024-01-01 10:00"}, 2, "neither Jalali (1200-1500) nor Gregorian (1900-2199)"),
    ({"reason_fa": ""}, 2, "1 to 200 characters"),
    ({"reason_en": "x" * 10_000}, 2, "1 to 200 characters"),
    ({"reason_en": "two\nlines"}, 2, "on one line"),
    ({"reason_fa": "نوشتهٔ \u202e وارونه"}, 2, "on one line"),
]


@pytest.mark.parametrize(("changed", "code", "why"), WRONG)
def test_invalid_announcement(
    commands: OutageCommands, first: datetime, changed: dict[str, Any], code: int, why: str
) -> None:
    """An invalid announcement is rejected, and nothing is stored or published."""
    result = commands.run(*commands.announce(first, first + HOUR, **changed))

    assert (code, True) == (result.code, why in result.err)
    assert len(result.err) < 300
    assert not commands.file.exists()
    assert [] == stored(commands, first)


@pytest.mark.parametrize(
    ("number", "why"),
    [
        ("7", "no announcement has that number"),
        *((text, "give a whole number from 1") for text in ("-1", "0", str(10**30))),
    ],
)
def test_unknown_number(commands: OutageCommands, number: str, why: str) -> None:
    """Ending an unknown number is an error."""
    result = commands.run("outage", "end", "--", number)

    assert (2, True) == (result.code, why in result.err)


def test_overlapping_announcements(commands: OutageCommands, first: datetime) -> None:
    """An announcement within another is rejected; one that extends it is accepted."""
    commands.run_json(*commands.announce(first, first + 4 * HOUR))
    within = commands.run(*commands.announce(first + HOUR, first + 2 * HOUR))

    assert (2, True) == (within.code, "the announcement 1 covers that time already" in within.err)
    assert 2 == commands.run_json(*commands.announce(first + 3 * HOUR, first + 5 * HOUR))["number"]


def test_failed_publication(commands: OutageCommands, first: datetime) -> None:
    """An announcement that can't be published is not stored."""
    commands.file.mkdir()
    result = commands.run(*commands.announce(first, first + HOUR))

    assert 1 == result.code
    assert "Traceback" not in result.err
    assert [] == stored(commands, first)


@both_engines
def test_early_end(engine: str, request: pytest.FixtureRequest, quality_store: QualityStore) -> None:
    """On each engine, an outage that ends early keeps its announced end, and one that is withdrawn is left out."""
    url = quality_store.settings.store
    if engine == "postgresql":
        cluster = request.getfixturevalue("cluster")
        url = cluster.url(cluster.database())
        migrate(url, QualitySettings.MIGRATIONS)
    with contextlib.closing(Store(url, facts=AccessMode.WRITE)) as opened, opened.transaction() as connection:
        repository.insert_outage(connection, PlannedOutage("s", 0, 100, 200, "ف", "e"))
        [before] = repository.outages_between(connection, 0, 1000)
        repository.end_outage(connection, 1, 150)
        [after] = repository.outages_between(connection, 0, 1000)
        repository.end_outage(connection, 1, 100)

        assert [] == repository.outages_between(connection, 0, 1000)
    assert (200, None, 1) == (before.end_minute, before.announced_end_minute, before.number)
    assert (150, 200) == (after.end_minute, after.announced_end_minute)


@pytest.fixture
def service(commands: OutageCommands, start: Start) -> Iterator[Callable[[], Any]]:
    """Calls the real service, which uses the controlled clock."""
    running = start(promissory_opening(commands.sandbox, commands.time.clock, shutdown_delay_seconds=0))
    with caller(commands.sandbox, running.address) as ask:
        yield ask


@pytest.mark.timeout(180)
def test_outage_from_announcement_to_report(commands: OutageCommands, service: Callable[[], Any]) -> None:
    """The service refuses during an announced outage, and the report counts it separately if announced in time."""
    last = Month.of(commands.time.began).end_minute
    tenth = instant_of(last + 9 * 1440 + 720)
    for day, told_before in ((0, 100), (2, 1)):
        first = tenth + timedelta(days=day)
        commands.time.go_to(first - told_before * HOUR)
        assert (told_before == 100) is commands.run_json(*commands.announce(first, first + 4 * HOUR))["counted_apart"]
        service()
        commands.time.go_to(first)
        assert Reason.OUTAGE_ANNOUNCED == refusal(service)[1]
        if not day:
            commands.time.go_to(first + HOUR)
            commands.run_json("outage", "end", "1")
            commands.time.go_to(first + HOUR + MINUTE)
        else:
            commands.time.go_to(first + 4 * HOUR)
        service()

    commands.time.passed += MINUTE  # the running minute is left out
    month = Month.of(tenth)
    commands.run_json("collect")
    commands.run_json("report", "--month", str(month), "--for", "provider:mefa")
    [written] = commands.quality_store.settings.reports.glob("*/figures.json")
    report = json.loads(written.read_text("utf-8"))
    counts = report["counts"]
    planned = [outage for outage in report["outages"] if outage["fault"] == Attribution.PLANNED]

    # Two answers and one refusal in time; two answers and one refusal that was announced too late to count apart.
    assert (4, 1, 1) == (counts["answered"], counts["planned"], counts["provider"])
    assert [(True, 61), (False, 240)] == [(outage["counted_apart"], outage["minutes"]) for outage in planned]
    assert [4 * HOUR] * 2 == [at(outage["announced_until"]) - at(outage["first"]) for outage in planned]
    check = next(found for found in report["methods"] if found["name"] == "CheckNote")
    assert 61 == check["minutes"]["planned"]
