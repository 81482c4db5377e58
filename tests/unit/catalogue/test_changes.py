"""Each change of the catalogue that a service sees stands in its ledger, once, and comes out of the change feed."""

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from estelam.catalogue.changes import RecordKey, changes, from_notice, recorded_snapshot, snapshot, to_notice
from estelam.catalogue.loader import read_catalogue
from estelam.core.clock import Clock
from estelam.core.keys import HmacKeyring, SigningKey, verifying_keys
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from estelam.ledger import search, verify
from estelam.ledger.writer import LedgerWriter
from estelam.server.catalogue_audit import record_changes
from estelam.storage.store import AccessMode, Store
from tests.conftest import Start, both_engines, promissory_opening
from tests.e2e.conftest import CommandLine, caller
from tests.unit.catalogue.conftest import COMMITTED, Edit
from tools.env.processes import ServiceProcess
from tools.env.sandbox import Sandbox

QUOTA = ("quota: { rate: 200, burst: 400, miss_cost: 20 }", "quota: { rate: 50, burst: 100, miss_cost: 20 }")
CHANGED = ["quota.rate: 200.0 → 50.0", "quota.burst: 400 → 100"]


class Noter:
    """A worker that notes what it sees in a suite's promissory ledger."""

    def __init__(self, box: Sandbox) -> None:
        self._settings = box.promissory()
        keyring = HmacKeyring.load(self._settings.hmac_keyring)
        self._ledger = LedgerWriter(keyring=keyring, signer=SigningKey.load(self._settings.signing_key), clock=Clock())

    def note(self, folder: Path) -> None:
        with closing(Store(self._settings.store, ledger=AccessMode.WRITE)) as store:
            record_changes(store, self._ledger, read_catalogue(folder))

    def noted(self) -> list[Any]:
        keys = verifying_keys(self._settings.signing_certificates)
        with closing(Store(self._settings.store)) as store, store.transaction() as connection:
            heads = list(verify.verify_ledger(connection, keys))
            found = [from_notice(entry.notice) for entry in search.catalogue_notices(connection)]
        assert len(found) == (heads[-1].entries if heads else 0)
        return found


def until(seen: Callable[[], bool]) -> bool:
    began = time.monotonic()
    while not seen() and time.monotonic() < began + 10:
        time.sleep(0.05)
    return seen()


@both_engines
def test_a_change_is_noted_once_whoever_sees_it_and_however_often(sandbox: Sandbox, folder: Path, edit: Edit) -> None:
    noters = [Noter(sandbox) for _ in range(2)]

    noters[0].note(folder)
    first = noters[0].noted()
    edit("grants.yaml", *QUOTA)
    workers = [Thread(target=noter.note, args=(folder,)) for noter in noters]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    then = noters[0].noted()[len(first) :]

    assert {"added"} == {change.action for change in first}
    assert snapshot(read_catalogue(COMMITTED)).keys() == {change.record for change in first}
    assert [(RecordKey("grants", "G13"), "changed", CHANGED)] == [(c.record, c.action, c.details) for c in then]


def test_what_a_record_was_and_is_survives_the_ledger(folder: Path, edit: Edit) -> None:
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
    assert after == recorded_snapshot(map(to_notice, [*changes({}, before), *found]))


def test_a_serving_process_notes_what_it_follows_and_a_broken_catalogue_is_no_change(
    loaded: Sandbox, folder: Path, edit: Edit
) -> None:
    estelam = CommandLine(loaded)

    def feed(*options: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = estelam("catalogue", "changes", "--service", "promissory", "--json", *options).json
        return rows

    with ServiceProcess("promissory", loaded, environ={"ESTELAM_PROMISSORY_ACCESS": str(folder)}) as service:
        assert until(lambda: len(feed()) > 0)
        first = feed()
        edit("grants.yaml", *QUOTA)
        assert until(lambda: len(feed()) > len(first))
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
    assert 0 == estelam("ledger", "verify", "promissory").code


def test_a_service_with_a_plain_table_notes_nothing(start: Start, loaded: Sandbox) -> None:
    start(promissory_opening(loaded, shutdown_delay_seconds=0))
    time.sleep(1.2)

    assert [] == Noter(loaded).noted()


@pytest.mark.parametrize("since", ["yesterday", "1405-13-01", "7", "2026-11-24T00:00:00"])
def test_an_impossible_since_is_refused_in_words(estelam: CommandLine, since: str) -> None:
    said = estelam("catalogue", "changes", "--since", since)

    assert (1, "--since: give a day, or an instant with its zone\n") == (said.code, said.err)
