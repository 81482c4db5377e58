"""The monitor as a witness: a restored or rewritten ledger raises an alarm, and no inquiry is counted twice."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import make_url, select, text
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from development.sandbox import Sandbox
from estelam.cli.root import application
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock
from estelam.core.keys import verifying_keys
from estelam.core.note_keys import NoteKey
from estelam.ledger.errors import LedgerUncheckedError
from estelam.ledger.tables import checkpoint_table
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.receipts import checkpoint, cosignature
from estelam.receipts.cosignature import Cosigner
from estelam.storage.grants import Role, grant
from estelam.storage.store import AccessMode, Store
from quality import ledger_states, traffic_store
from quality.monitor import ledger_collector
from quality.monitor.monitor import Monitor
from quality.periods import Month, minute_of
from quality.records import AlarmKind, LedgerAlarm, VerifiedLedger
from quality.report.generate import generate_reports
from quality.settings import QualitySettings
from tests.conftest import both_engines_in_full, plain_channel, promissory_opening
from tests.e2e.conftest import NOTE
from tests.integration.quality.conftest import CHECK_NOTE, QualityStore
from tests.integration.quality.dashboard.conftest import open_dashboard
from tests.integration.quality.monitored_services import ALWAYS, NOTES, settings_of
from tests.support import store_copies
from tests.support.service import RunningService
from tests.support.transparency_log import Log, witness_settings
from tools.env.postgres import PostgresCluster

pytestmark = pytest.mark.timeout(180)


class Monitored:
    """The ministry's ledger, which can be restored and changed, and the monitor that collects it."""

    def __init__(self, sandbox: Sandbox, folder: Path, cluster: PostgresCluster | None) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self._cluster = cluster
        self._restore: dict[str, Callable[[], None]] = {}
        self._url = sandbox.promissory().store
        witness = witness_settings(folder / "witness", Log([]), name="exchange.example/monitor")
        cosigns = {"witness_key": witness.private_key, "witness_name": witness.name}
        on_cluster = self._on_cluster(cluster) if cluster else {}
        self.settings = settings_of(sandbox, folder, {}, probe=(), **cosigns, **on_cluster)

    def _on_cluster(self, cluster: PostgresCluster) -> dict[str, Any]:
        """A store of the monitor on PostgreSQL, and the ledger's address with the monitor's role."""
        role = f"monitor_of_{make_url(self._url).database}"
        with cluster.connect() as connection:
            connection.execute(f"CREATE ROLE {role} LOGIN")
        writable = Store(self._url, facts=AccessMode.WRITE, ledger=AccessMode.WRITE)
        with contextlib.closing(writable) as store, store.transaction() as connection:
            grant(connection, {Role.MONITORING: role})
        address = make_url(self._url).set(username=role).render_as_string(hide_password=False)
        return {
            "store": cluster.url(cluster.database()),
            "kept_checkpoints": self.folder / "quality.cosigned",
            "ledgers": {NOTES: address},
        }

    def answer(self, count: int, clock: Clock | None = None) -> None:
        """Run the service until it has answered so many inquiries; a restored host has no kept checkpoint."""
        store_copies.forget_checkpoints(self._url)
        with (
            RunningService(promissory_opening(self.sandbox, clock, shutdown_delay_seconds=0)) as service,
            plain_channel(service.address, ClientIdentity.named(self.sandbox.pki, "setad")) as channel,
        ):
            stub = PromissoryNoteInquiryServiceStub(channel)
            for _ in range(count):
                stub.CheckNote(NOTE, timeout=20)

    def back_up(self, name: str) -> None:
        self._restore[name] = store_copies.back_up(self._url, self.folder / name, self._cluster)

    def restore(self, name: str) -> None:
        self._restore[name]()

    def back_up_monitor(self) -> None:
        """Back up the monitor's store."""
        folder = self.folder / "quality-backup"
        self._restore["monitor"] = store_copies.back_up(self.settings.store, folder, self._cluster)

    def restore_monitor(self) -> None:
        """Restore the monitor's store; what it keeps beside the store stays."""
        self._restore["monitor"]()

    def time_of_commit(self, size: int) -> int:
        """Return the time of the first commit of at least *size* entries."""
        found = select(checkpoint_table.c.signed_at_micros).where(checkpoint_table.c.size >= size)
        with contextlib.closing(Store(self._url)) as store, store.transaction() as connection:
            return int(connection.execute(found.order_by(checkpoint_table.c.size).limit(1)).scalar_one())

    def change(self, statement: str, **values: str | int) -> None:
        """Change the ledger behind the service's back."""
        with contextlib.closing(Store(self._url, ledger=AccessMode.WRITE)) as store, store.transaction() as connection:
            assert connection.execute(text(statement), values).rowcount

    def collect(self) -> int:
        """Collect the ledger; return how many inquiries were ever counted."""
        ledger_collector.collect_ledger(self.settings, NOTES, Clock())
        with contextlib.closing(Store(self.settings.store)) as store, store.transaction() as connection:
            return sum(one.tally.total for one in traffic_store.observations(connection, *ALWAYS))

    def alarms(self) -> list[LedgerAlarm]:
        with contextlib.closing(Store(self.settings.store)) as store, store.transaction() as connection:
            return ledger_states.all_alarms(connection)

    def verified(self) -> VerifiedLedger:
        with contextlib.closing(Store(self.settings.store)) as store, store.transaction() as connection:
            return ledger_states.verified_ledger(connection, NOTES)

    def run(self, *words: str) -> Result:
        """Run `estelam quality WORDS` with the monitor's settings."""
        own = {"STORE": self.settings.store, "WITNESS_KEY": str(self.settings.witness_key)}
        if self.settings.kept_checkpoints:
            own["KEPT_CHECKPOINTS"] = str(self.settings.kept_checkpoints)
        environ = {**self.sandbox.environ, **{f"ESTELAM_QUALITY_{name}": value for name, value in own.items()}}
        return CliRunner().invoke(application(), ["quality", *words], env=environ)

    def acknowledge(self, number: int = 1) -> Result:
        words = "--operator", "Exchange operations", "--reason", "the provider restored a backup"
        return self.run("witness", "acknowledge", str(number), *words)


@pytest.fixture
def monitored(engine: str, request: pytest.FixtureRequest, loaded: Sandbox, tmp_path: Path) -> Monitored:
    """A ledger of which three inquiries were collected, with a backup; two more were collected after it."""
    found = Monitored(loaded, tmp_path, request.getfixturevalue("cluster") if engine == "postgresql" else None)
    found.back_up("empty")
    found.answer(3)
    assert 3 == found.collect()
    found.back_up("backup")
    found.back_up_monitor()
    found.answer(2)
    assert (5, []) == (found.collect(), found.alarms())
    return found


def cosigner(settings: QualitySettings) -> NoteKey:
    assert settings.witness_key
    return Cosigner.load(settings.witness_name, settings.witness_key).key


def test_cosigned(monitored: Monitored) -> None:
    """The monitor verifies the newest checkpoint from the ledger's own entries, stores it and cosigns it."""
    verified = monitored.verified()
    head, _ = checkpoint.verify(verified.note, verifying_keys(monitored.sandbox.promissory().signing_certificates))

    assert (head.size, head.root) == (verified.tree.size, verified.tree.root)
    assert cosignature.verify(verified.cosigned_note, [cosigner(monitored.settings)])


@both_engines_in_full
@pytest.mark.parametrize(("answers", "kind"), [(0, AlarmKind.ROLLBACK), (9, AlarmKind.FORK)])
def test_restored(monitored: Monitored, answers: int, kind: AlarmKind) -> None:
    """A restored ledger stands as an alarm and is not counted; once accepted, only what is new in it is counted."""
    monitored.restore("backup")
    if answers:
        monitored.answer(answers)
    before = monitored.verified()

    assert [5, 5] == [monitored.collect(), monitored.collect()]
    (alarm,) = monitored.alarms()
    assert (kind, before.note, None) == (alarm.kind, alarm.verified, alarm.acknowledged_minute)
    assert before == monitored.verified()
    if not answers:
        monitored.answer(4)
        assert 5 == monitored.collect()  # it stands although the ledger grows
    assert 0 == monitored.acknowledge().exit_code
    assert 5 + (answers or 4) == monitored.collect()
    monitored.answer(1)
    assert 5 + (answers or 4) + 1 == monitored.collect()
    (alarm,) = monitored.alarms()
    assert ("Exchange operations", "the provider restored a backup") == (alarm.operator, alarm.reason)


@both_engines_in_full
def test_rewritten(monitored: Monitored) -> None:
    """A ledger that was written anew from its beginning, with the real signing key, is no continuation."""
    monitored.restore("empty")
    monitored.answer(9)

    assert (5, [AlarmKind.FORK]) == (monitored.collect(), [alarm.kind for alarm in monitored.alarms()])


@pytest.mark.parametrize(
    "statement",
    [
        'UPDATE ledger.entry SET leaf = substr(leaf, 2) WHERE "index" = (SELECT max("index") FROM ledger.entry)',
        'DELETE FROM ledger.entry WHERE "index" = (SELECT max("index") FROM ledger.entry)',
    ],
)
def test_changed_entry(monitored: Monitored, statement: str) -> None:
    """An entry that does not match the signed root is not counted, and accuses nobody of a second history."""
    monitored.answer(2)
    monitored.change(statement)

    assert (5, [AlarmKind.DAMAGED]) == (monitored.collect(), [alarm.kind for alarm in monitored.alarms()])


@pytest.mark.parametrize(
    "forge", [lambda note: note.replace(note.splitlines()[2], "A" * 43 + "="), lambda _: "nonsense"]
)
def test_unsigned_contradiction(monitored: Monitored, forge: Callable[[str], str]) -> None:
    """Only two signed checkpoints prove a fork: where the later one is not signed, the store is damaged."""
    newest = "UPDATE ledger.checkpoint SET note = :note WHERE size = (SELECT max(size) FROM ledger.checkpoint)"
    monitored.change(newest, note=forge(monitored.verified().note))
    monitored.collect()
    listed = monitored.run("witness", "alarms", "--json")

    assert ([AlarmKind.DAMAGED], 0) == ([alarm.kind for alarm in monitored.alarms()], listed.exit_code)
    assert "is not what its key has signed" in _report(monitored)


def test_lost_end_is_no_fork(monitored: Monitored) -> None:
    """A ledger whose checkpoints were removed, some or all, ends before what was verified: that is a rollback."""
    monitored.change("DELETE FROM ledger.checkpoint WHERE size = (SELECT max(size) FROM ledger.checkpoint)")
    monitored.collect()
    monitored.change("DELETE FROM ledger.checkpoint")

    assert "changed again" in monitored.acknowledge().stderr
    assert [AlarmKind.ROLLBACK] * 2 == [alarm.kind for alarm in monitored.alarms()]


@both_engines_in_full
def test_lost_checkpoint_is_no_fork(monitored: Monitored) -> None:
    """A checkpoint that is missing from the store of a ledger that continues it proves no second history."""
    size = monitored.verified().tree.size
    monitored.answer(2)
    monitored.change("DELETE FROM ledger.checkpoint WHERE size = :size", size=size)
    monitored.collect()

    assert [AlarmKind.DAMAGED] == [alarm.kind for alarm in monitored.alarms()]


@both_engines_in_full
@pytest.mark.parametrize(("answers", "kind"), [(0, AlarmKind.ROLLBACK), (9, AlarmKind.FORK)])
def test_restored_monitor_remembers_what_it_cosigned(monitored: Monitored, answers: int, kind: AlarmKind) -> None:
    """A monitor and a ledger that were both restored: no second history is cosigned, and the alarm shows the first."""
    cosigned = monitored.verified().cosigned_note
    monitored.restore("backup")
    monitored.restore_monitor()
    if answers:
        monitored.answer(answers)
    monitored.collect()
    (alarm,) = monitored.alarms()
    assert (kind, cosigned) == (alarm.kind, alarm.verified)

    assert 0 == monitored.acknowledge().exit_code
    monitored.answer(9)
    monitored.collect()
    assert not monitored.verified().cosignature


@both_engines_in_full
def test_restored_monitor_goes_on(monitored: Monitored) -> None:
    """A restored monitor cosigns again once the ledger has passed, provably, what it had cosigned before."""
    monitored.restore_monitor()
    until = monitored.time_of_commit(monitored.verified().tree.size + 1)
    ledger_collector.collect_ledger(monitored.settings, NOTES, Clock(), until=until + 1)
    behind = monitored.verified()
    monitored.answer(1)
    counted = monitored.collect()

    assert "" == behind.cosignature
    assert (6, []) == (counted, monitored.alarms())
    assert cosignature.verify(monitored.verified().cosigned_note, [cosigner(monitored.settings)])


@both_engines_in_full
def test_key_never_cosigns_two_histories(monitored: Monitored, tmp_path: Path) -> None:
    """After an accepted restore the key that cosigned the lost entries cosigns no more; a new one does."""
    monitored.restore("backup")
    monitored.answer(9)
    monitored.collect()
    monitored.acknowledge()
    monitored.collect()
    assert not monitored.verified().cosignature

    new = witness_settings(tmp_path / "new", Log([]))
    monitored.settings = monitored.settings.model_copy(
        update={"witness_key": new.private_key, "witness_name": new.name}
    )
    monitored.answer(1)
    monitored.collect()
    assert cosignature.verify(monitored.verified().cosigned_note, [cosigner(monitored.settings)])


@both_engines_in_full
def test_second_restore(monitored: Monitored) -> None:
    """The lost entries that a second, better restore brings back were counted when they were new."""
    monitored.back_up("better")
    monitored.restore("backup")
    monitored.answer(4)
    monitored.collect()
    monitored.acknowledge()
    assert 9 == monitored.collect()
    monitored.restore("better")
    monitored.answer(6)

    assert 9 == monitored.collect()
    assert 0 == monitored.acknowledge(2).exit_code
    assert 15 == monitored.collect()


def test_unknown_signing_key(monitored: Monitored) -> None:
    """A ledger whose signing key is not known is neither counted nor accused."""
    other = {NOTES: monitored.sandbox.pki / "judiciary-receipts.crt"}
    monitored.settings = monitored.settings.model_copy(update={"ledger_certificates": other})
    monitored.answer(2)

    with pytest.raises(LedgerUncheckedError, match="key of none of the given certificates"):
        monitored.collect()
    assert not monitored.alarms()


def test_failure_is_logged_with_a_remedy(monitored: Monitored) -> None:
    """The log states what to do about a ledger that can't be collected, in a constant text, by the kind of failure."""
    found = []
    for changed in (
        {"ledger_certificates": {NOTES: monitored.sandbox.pki / "judiciary-receipts.crt"}},
        {"ledger_certificates": {NOTES: monitored.folder / "missing.crt"}},
        {"ledgers": {NOTES: f"sqlite:///{monitored.folder / 'missing'}"}},
    ):
        monitored.answer(1)
        with capture_logs() as logs:
            asyncio.run(Monitor(monitored.settings.model_copy(update=changed), Clock()).collect())
        found += [
            one["reason"] for one in logs if one["event"] == "ledger.collection_failed" and one["service"] == NOTES
        ]

    assert 3 == len(found)
    for reason, remedy in zip(found, ("add it", "check the files", "its address"), strict=True):
        assert remedy in reason


def test_commands(monitored: Monitored) -> None:
    """The alarms are listed and acknowledged once, by somebody for a reason; `collect` fails while one stands."""
    nothing = monitored.run("witness", "alarms", "--json")
    monitored.restore("backup")
    failed = monitored.run("collect", "--json")
    listed = monitored.run("witness", "alarms", "--json")
    refused = [monitored.acknowledge(number).exit_code for number in (2, 99)]
    unnamed = monitored.run("witness", "acknowledge", "1", "--operator", " ", "--reason", "x")
    done, again = monitored.acknowledge(), monitored.acknowledge()

    assert ("[]\n", 1) == (nothing.stdout, failed.exit_code)
    assert "promissory-note-inquiry: rollback; list and acknowledge them" in failed.stdout
    assert '"kind": "rollback"' in listed.stdout
    assert ([2, 2], 2) == (refused, unnamed.exit_code)
    assert (0, 2) == (done.exit_code, again.exit_code)
    assert "goes on from" in done.stdout
    assert ["[]\n", 0] == [monitored.run("witness", "alarms", "--json").stdout, monitored.run("collect").exit_code]
    assert "Exchange operations" in monitored.run("witness", "alarms", "--all", "--json").stdout


def test_shown(monitored: Monitored) -> None:
    """A standing alarm is on the dashboard and in the report; an acknowledged one stays in the month's report."""
    now = minute_of(Clock().now())
    store = QualityStore(monitored.settings)
    note = monitored.verified().cosigned_note
    monitored.restore("backup")
    monitored.collect()

    with open_dashboard(store, now) as running, running.client() as client:
        assert note == client.get(f"/ledgers/{NOTES}/checkpoint").text
        assert 404 == client.get("/ledgers/nothing/checkpoint").status_code
        assert [True, True] == [_alarm_is_shown(client, page) for page in ("/en/", f"/en/services/{NOTES}")]
        services = {one["service"]["slug"]: one for one in client.get("/status.json").json()["services"]}
        assert ["rollback", None] == [services[slug]["alarm"] and "rollback" for slug in (NOTES, "note-verification")]
    standing = _report(monitored)
    monitored.acknowledge()
    with open_dashboard(store, now) as running, running.client() as client:
        assert not _alarm_is_shown(client, "/en/")

    assert "Not acknowledged" in standing
    assert "the provider restored a backup" in _report(monitored)


def _alarm_is_shown(client: httpx.Client, page: str) -> bool:
    return "a backup was restored, or its end was cut off" in client.get(page).text


def _report(monitored: Monitored) -> str:
    later = replace(Clock(), micros=lambda: Clock().micros() + 120_000_000)  # the running minute is left out
    month = str(Month.of(later.now()))
    (written,) = generate_reports(monitored.settings, month=month, audiences=["working-group"], clock=later)
    assert CHECK_NOTE in (written.folder / "figures.csv").read_text("utf-8")
    assert "ledger,promissory-note-inquiry,," in (written.folder / "figures.csv").read_text("utf-8")
    return (written.folder / "report.en.html").read_text("utf-8")


@both_engines_in_full
def test_changed_between_alarm_and_acknowledgement(monitored: Monitored) -> None:
    """A ledger that was changed again after its alarm is a second alarm, also if the first is acknowledged by then."""
    monitored.restore("backup")
    monitored.collect()
    monitored.restore("empty")
    monitored.answer(5)
    first = monitored.acknowledge()
    standing = [alarm for alarm in monitored.alarms() if alarm.acknowledged_minute is None]
    second = monitored.acknowledge(2)

    assert (1, 0) == (first.exit_code, second.exit_code)
    assert "changed again after alarm 1, which is acknowledged; this is alarm 2" in first.stderr
    assert [(2, AlarmKind.FORK)] == [(alarm.number, alarm.kind) for alarm in standing]
    assert 10 == monitored.collect()


def test_time_in_the_future(monitored: Monitored) -> None:
    """A ledger that states times in the future is not verified before them, and this is reported each time."""
    clock = Clock(lambda: Clock().micros() + 86_400_000_000)
    monitored.answer(1, clock)

    with pytest.raises(LedgerUncheckedError, match="states a time in the future"):
        ledger_collector.collect_ledger(monitored.settings, NOTES, Clock(), until=Clock().micros())
    assert not monitored.alarms()


@both_engines_in_full
def test_lost_entries_come_back(monitored: Monitored) -> None:
    """A store that was lost and comes back after its loss was acknowledged: nothing in it is counted again."""
    monitored.back_up("lost")
    monitored.restore("backup")
    monitored.collect()
    assert 0 == monitored.acknowledge().exit_code
    monitored.restore("lost")
    monitored.answer(4)

    assert (9, 1) == (monitored.collect(), len(monitored.alarms()))
