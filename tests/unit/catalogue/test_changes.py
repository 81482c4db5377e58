"""Every change of the catalogue that a service sees is recorded once in its ledger and listed in the change feed."""

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from development.processes import ServiceProcess
from development.sandbox import Sandbox
from estelam.catalogue.changes import RecordKey, changes, from_notice, recorded_snapshot, snapshot, to_notice
from estelam.catalogue.loader import read_catalogue
from estelam.core.clock import Clock
from estelam.core.dates import DateProblem
from estelam.core.keys import HmacKeyring, SigningKey, verifying_keys
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from estelam.ledger import loads, search, verify
from estelam.ledger.writer import LedgerWriter
from estelam.server.catalogue_audit import record_changes
from estelam.storage.store import AccessMode, Store
from tests.conftest import Start, both_engines, promissory_opening
from tests.e2e.conftest import CommandLine, caller
from tests.unit.catalogue.conftest import COMMITTED, Edit

QUOTA = ("quota: { rate: 200, burst: 400, miss_cost: 20 }", "quota: { rate: 50, burst: 100, miss_cost: 20 }")
CHANGED = ["quota.rate: 200.0 → 50.0", "quota.burst: 400 → 100"]


class Recorder:
    """A worker that records catalogue changes in the promissory ledger of a sandbox."""

    def __init__(self, box: Sandbox) -> None:
        self._settings = box.promissory()
        keyring = HmacKeyring.load(self._settings.hmac_keyring)
        self._ledger = LedgerWriter(
            self._settings.SECTION,
            keyring=keyring,
            signer=SigningKey.load(self._settings.signing_key, self._settings.signing_certificates),
            clock=Clock(),
        )

    def record(self, folder: Path) -> None:
        with closing(Store(self._settings.store, ledger=AccessMode.WRITE)) as store:
            record_changes(store, self._ledger, read_catalogue(folder))

    def recorded(self) -> list[Any]:
        keys = verifying_keys(self._settings.signing_certificates)
        with closing(Store(self._settings.store)) as store, store.transaction() as connection:
            heads = list(verify.verify_ledger(connection, keys))
            rows = self._ledger.verified_rows(connection)
            found = [change for _, change in search.catalogue_notices(connection, rows, from_notice)]
            noted = len(list(loads.notes(connection, iter)))
        assert len(found) + noted == (heads[-1].size if heads else 0)
        return found


def wait_until(condition: Callable[[], bool]) -> bool:
    """Wait up to 10 s for *condition*; return its last value."""
    began = time.monotonic()
    while not condition() and time.monotonic() < began + 10:
        time.sleep(0.05)
    return condition()


@both_engines
def test_change_is_recorded_once(sandbox: Sandbox, folder: Path, edit: Edit) -> None:
    """Two workers that see one change at the same time record it once, on both engines."""
    recorders = [Recorder(sandbox) for _ in range(2)]

    recorders[0].record(folder)
    first = recorders[0].recorded()
    edit("grants.yaml", *QUOTA)
    workers = [Thread(target=recorder.record, args=(folder,)) for recorder in recorders]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    then = recorders[0].recorded()[len(first) :]

    assert {"added"} == {change.action for change in first}
    assert snapshot(read_catalogue(COMMITTED)).keys() == {change.record for change in first}
    assert [(RecordKey("grants", "G13"), "changed", CHANGED)] == [(c.record, c.action, c.details) for c in then]


def test_notice_round_trip(folder: Path, edit: Edit) -> None:
    """Changes survive encoding as notices, and all notices together give the current catalogue."""
    before = snapshot(read_catalogue(COMMITTED))
    edit("grants.yaml", *QUOTA)
    edit("grants.yaml", "id: G14", "id: G99")
    edit("parties.yaml", '    legal_id: "99000712713"\n', "")
    after = snapshot(read_catalogue(folder))

    found = changes(before, after)

    assert found == [from_notice(to_notice(change)) for change in found]
    assert [("G13", "changed"), ("G99", "added"), ("cbi", "withdrawn"), ("G14", "withdrawn")] == [
        (change.record.key, change.action) for change in found
    ]
    assert after == recorded_snapshot(map(from_notice, map(to_notice, [*changes({}, before), *found])))


@pytest.mark.slow
def test_serving_process_records_changes(loaded: Sandbox, folder: Path, edit: Edit) -> None:
    """A serving process records a valid change once; an invalid catalogue is not a change."""
    estelam = CommandLine(loaded)

    def feed(*options: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = estelam("catalogue", "changes", "--service", "promissory", "--json", *options).json
        return rows

    with ServiceProcess("promissory", loaded, environ={"ESTELAM_PROMISSORY_ACCESS": str(folder)}) as service:
        assert wait_until(lambda: len(feed()) > 0)
        first = feed()
        edit("grants.yaml", *QUOTA)
        assert wait_until(lambda: len(feed()) > len(first))
        (folder / "parties.yaml").write_text("parties: []", "utf-8")
        time.sleep(1.2)
        with caller(loaded, service.address) as ask:
            assert ANSWER_YES == ask()
        (change,) = feed()[len(first) :]

    assert ("grants", "G13", "changed", "; ".join(CHANGED)) == tuple(
        change[key] for key in ("kind", "name", "change", "details")
    )
    assert change in feed("--since", change["noted_at"], "--about", "setad")
    assert [] == feed("--since", "1470-01-01")
    unknown = estelam("catalogue", "changes", "--about", "setda")
    assert (2, "no record with recorded changes is named setda; did you mean setad?\n") == (unknown.code, unknown.err)
    assert 0 == estelam("ledger", "verify", "promissory").code


def test_access_file_records_nothing(start: Start, loaded: Sandbox) -> None:
    """A service configured with an access table in TOML records no catalogue changes."""
    start(promissory_opening(loaded, shutdown_delay_seconds=0))
    time.sleep(1.2)

    assert [] == Recorder(loaded).recorded()


@pytest.mark.parametrize(
    ("since", "problem"),
    [
        ("yesterday", DateProblem.NEITHER_DATE_NOR_INSTANT),
        ("7", DateProblem.NEITHER_DATE_NOR_INSTANT),
        ("1405-13-01", DateProblem.NO_SUCH_DAY),
        ("05-01-01", DateProblem.YEAR_WITHOUT_FOUR_DIGITS),
        ("2026-11-24T00:00:00", DateProblem.NO_TIME_ZONE),
    ],
)
def test_invalid_since(estelam: CommandLine, since: str, problem: DateProblem) -> None:
    """An invalid `--since` exits 2 with one line that gives the reason."""
    result = estelam("catalogue", "changes", "--since", since)

    assert (2, f"--since {since}: {problem.en}\n") == (result.code, result.err)
