"""Bulk checks during an announced outage: a short rest is waited out, a long one stops the run."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from development.processes import ServiceProcess, free_ports
from development.sandbox import Sandbox
from estelam.cli.bulk.run import BulkOptions
from estelam.client.bulk import StopReason
from estelam.core.clock import TEHRAN
from estelam.core.dates import format_minute
from tests.conftest import Start, judiciary_opening
from tests.e2e.conftest import CommandLine
from tests.support.outages import HOUR, JUDICIARY, SECOND, Time, ledger_reasons, outage, publish
from tests.unit.judiciary.test_bulk_run import Bank, many, reason_code

Begin = Callable[[timedelta], Bank]


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def begin(loaded: Sandbox, start: Start, tmp_path: Path, time: Time) -> Begin:
    """Return a bank that calls a service whose announced outage ends after the given time."""

    def opened(left: timedelta) -> Bank:
        now = time.clock.now()
        publish(loaded.folder / "outages.toml", outage(JUDICIARY, now - HOUR, now + left))
        service = start(judiciary_opening(loaded, time.clock, shutdown_delay_seconds=0))
        bank = Bank(loaded, tmp_path, service.address, clock=time.clock)
        bank.write_ids(many(40))
        return bank

    return opened


@pytest.mark.timeout(120)
def test_long_outage(begin: Begin, time: Time) -> None:
    """An outage of hours stops the run after one call, and a run after the outage completes."""
    bank = begin(3 * HOUR)
    stop, summary, calls = bank.run()
    reasons = {reason_code(row["reason"]) for row in bank.answers()}
    time.passed += 3 * HOUR + 2 * SECOND
    again = bank.run()

    assert stop is not None
    assert (StopReason.OUTAGE, "OUTAGE_ANNOUNCED", 0, 40) == (
        stop.reason,
        reason_code(stop.message),
        calls,
        summary.answers["UNANSWERED"],
    )
    assert timedelta(seconds=stop.retry_seconds or 0) > 3 * HOUR - timedelta(minutes=1)
    assert {"OUTAGE_ANNOUNCED", "UNASKED"} == reasons
    # Only one call was sent before the refusal arrived.
    assert 1 == ledger_reasons(bank.sandbox.judiciary().store).count("OUTAGE_ANNOUNCED")
    assert (None, 0) == (again[0], again[1].answers["UNANSWERED"])


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_short_outage(begin: Begin) -> None:
    """The last seconds of an outage are waited out."""
    bank = begin(2 * SECOND)
    stop, summary, _ = bank.run(BulkOptions(idle_timeout=90))

    assert (None, 0) == (stop, summary.answers["UNANSWERED"])


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_commands_show_end_of_outage(loaded: Sandbox, tmp_path: Path) -> None:
    """The commands show when the outage ends, and no answer."""
    end = datetime.now(TEHRAN).replace(second=0, microsecond=0) + 3 * HOUR
    publish(loaded.folder / "outages.toml", outage(JUDICIARY, end - 4 * HOUR, end))
    estelam = CommandLine(loaded)
    with ServiceProcess("judiciary", loaded) as service:
        bank = Bank(loaded, tmp_path, service.address)
        bank.write_ids(many(40))
        bulk = estelam(
            "judiciary", "bulk-check-cheques", bank.source, "--out", bank.out, "--address", bank.address, "--json"
        )
        check = ("judiciary", "check-cheque", "--tracking-id", "1", "--address", bank.address)
        plain, as_json = estelam(*check), estelam(*check, "--json")

    assert (22, "OUTAGE") == (bulk.code, bulk.json["stopped"])
    assert end == datetime.fromisoformat(bulk.json["resume_after"])
    assert (20, True) == (plain.code, f"Try again after {format_minute(end)} in Tehran." in plain.err)
    assert (20, None, "OUTAGE_ANNOUNCED") == (as_json.code, as_json.json["answer"], as_json.json["reason"])


def test_unreachable_service(loaded: Sandbox, tmp_path: Path) -> None:
    """An unreachable service is reported as unavailable, not as an outage."""
    bank = Bank(loaded, tmp_path, f"127.0.0.1:{free_ports('nobody')['nobody']}")
    bank.write_ids(many(3))
    stop, _, _ = bank.run(BulkOptions(idle_timeout=1))

    assert StopReason.UNAVAILABLE == (stop and stop.reason)
