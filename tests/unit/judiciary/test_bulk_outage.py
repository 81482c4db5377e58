"""A sweep before a service that is out, as was announced: it waits for moments, never for hours, and goes on later."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from estelam.client.bulk import StopReason
from estelam.core.clock import TEHRAN
from estelam.core.normalize import format_jalali
from judiciary.bulk.run import BulkOptions
from tests.conftest import Start, judiciary_opening
from tests.e2e.conftest import CommandLine
from tests.support.outages import HOUR, JUDICIARY, SECOND, Time, ledger_reasons, outage, publish
from tests.unit.judiciary.test_bulk_run import Bank, many, words
from tools.env.processes import ServiceProcess, free_ports
from tools.env.sandbox import Sandbox

Begin = Callable[[timedelta], Bank]


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def begin(loaded: Sandbox, start: Start, tmp_path: Path, time: Time) -> Begin:
    """A bank that asks a service whose announced outage lasts so long still."""

    def opened(left: timedelta) -> Bank:
        now = time.clock.now()
        publish(loaded.folder / "outages.toml", outage(JUDICIARY, now - HOUR, now + left))
        bank = Bank(loaded, tmp_path, start(judiciary_opening(loaded, time.clock, shutdown_delay_seconds=0)).address)
        bank.lists_ids(many(40))
        return bank

    return opened


@pytest.mark.timeout(120)
def test_an_outage_of_hours_ends_the_sweep_at_once_and_the_next_one_goes_on(begin: Begin, time: Time) -> None:
    bank = begin(3 * HOUR)
    stop, tally, asked = bank.sweep()
    reasons = {words(row["reason"]) for row in bank.answers()}
    time.passed += 3 * HOUR + 2 * SECOND
    again = bank.sweep()

    assert stop is not None
    assert (StopReason.OUTAGE, "OUTAGE_ANNOUNCED", 0, 40) == (
        stop.reason,
        words(stop.message),
        asked,
        tally.answers["UNANSWERED"],
    )
    assert timedelta(seconds=stop.retry_seconds or 0) > 3 * HOUR - timedelta(minutes=1)
    assert {"OUTAGE_ANNOUNCED", "UNASKED"} == reasons
    # One question went ahead, and no second one before it was told.
    assert 1 == ledger_reasons(bank.sandbox.judiciary().store).count("OUTAGE_ANNOUNCED")
    assert (None, 0) == (again[0], again[1].answers["UNANSWERED"])


@pytest.mark.timeout(180)
def test_the_last_moments_of_an_outage_are_waited_out(begin: Begin) -> None:
    bank = begin(2 * SECOND)
    stop, tally, _ = bank.sweep(BulkOptions(idle_timeout=90))

    assert (None, 0) == (stop, tally.answers["UNANSWERED"])


@pytest.mark.timeout(120)
def test_the_commands_say_when_to_go_on_and_that_there_is_no_answer(loaded: Sandbox, tmp_path: Path) -> None:
    end = datetime.now(TEHRAN).replace(second=0, microsecond=0) + 3 * HOUR
    publish(loaded.folder / "outages.toml", outage(JUDICIARY, end - 4 * HOUR, end))
    estelam = CommandLine(loaded)
    with ServiceProcess("judiciary", loaded) as service:
        bank = Bank(loaded, tmp_path, service.address)
        bank.lists_ids(many(40))
        told = estelam("judiciary", "bulk-check", bank.source, "--out", bank.out, "--address", bank.address, "--json")
        check = ("judiciary", "check-cheque", "--tracking-id", "1", "--address", bank.address)
        plain, asked = estelam(*check), estelam(*check, "--json")
    when = f"{format_jalali(end.date())} {end:%H:%M}"

    assert (22, "OUTAGE", when) == (told.code, told.json["stopped"], told.json["resume_after"])
    assert (20, True) == (plain.code, f"Try again after {when} in Tehran." in plain.err)
    assert (20, None, "OUTAGE_ANNOUNCED") == (asked.code, asked.json["answer"], asked.json["reason"])


def test_nobody_there_is_still_out_of_reach(loaded: Sandbox, tmp_path: Path) -> None:
    bank = Bank(loaded, tmp_path, f"127.0.0.1:{free_ports('nobody')['nobody']}")
    bank.lists_ids(many(3))
    stop, _, _ = bank.sweep(BulkOptions(idle_timeout=1))

    assert StopReason.UNAVAILABLE == (stop and stop.reason)
