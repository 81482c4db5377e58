"""A service does not sign on from a ledger that is not the sequel of the checkpoint that it kept beside its store."""

import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckResponse
from sqlalchemy import update

from development.processes import ServiceProcess
from development.sandbox import LIFETIME, MINISTRY, SINCE, Sandbox
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.core import files
from estelam.core.settings import StoreSettings
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from estelam.ledger import kept, search
from estelam.ledger.tables import entry_table
from estelam.receipts.archive import write_archive
from estelam.receipts.checkpoint import parse
from estelam.server import checkpoint_keeper
from estelam.server.checkpoint_keeper import KEEP_SECONDS, keep_checkpoints
from estelam.storage.base import StoreError
from estelam.storage.store import Store
from tests.conftest import Start, both_engines_in_full, promissory_opening
from tests.e2e.conftest import CommandLine, caller
from tests.integration.quality.monitored_services import wait_for_health
from tests.integration.storage.test_ledger import Writer
from tests.integration.test_witnessing import ask
from tests.support import store_copies

ACKNOWLEDGE = ("ledger", "acknowledge-restore", "promissory", "--operator", "Operations", "--reason", "lost disk")


class Service:
    """The promissory service, started and stopped by a test, with its kept checkpoint."""

    def __init__(self, sandbox: Sandbox, start: Start) -> None:
        self.sandbox, self._start = sandbox, start
        self.path = sandbox.folder / "promissory.checkpoint"

    @property
    def last_commit(self) -> Path:
        found = kept.last_commit_path(self.settings)
        assert found
        return found

    @property
    def settings(self) -> StoreSettings:
        return self.sandbox.promissory(kept_checkpoint=self.path)

    def answer(self, count: int = 1, **settings: Any) -> None:
        """Start with *settings*, answer *count* inquiries, and stop."""
        given: dict[str, Any] = {"kept_checkpoint": self.path, "shutdown_delay_seconds": 0, **settings}
        service = self._start(promissory_opening(self.sandbox, **given))
        with caller(self.sandbox, service.address) as ask:
            assert {ANSWER_YES} == {ask() for _ in range(count)}
        service.close()

    def size(self) -> int:
        with closing(Store(self.settings.store)) as store, store.transaction() as connection:
            return search.size(connection)

    def kept_size(self) -> int:
        return parse(self.path.read_text("utf-8")).checkpoint.size


@pytest.fixture
def service(loaded: Sandbox, start: Start, monkeypatch: pytest.MonkeyPatch) -> Service:
    found = Service(loaded, start)
    monkeypatch.setenv("ESTELAM_PROMISSORY_KEPT_CHECKPOINT", str(found.path))
    return found


@pytest.fixture
def back_up(
    engine: str, request: pytest.FixtureRequest, service: Service, tmp_path: Path
) -> Callable[[], Callable[[], None]]:
    """Copies the store; the returned function restores the copy."""
    cluster = request.getfixturevalue("cluster") if engine == "postgresql" else None
    return partial(store_copies.back_up, service.settings.store, tmp_path / "backup", cluster)


@both_engines_in_full
def test_hung_volume(service: Service, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file on a volume that hangs delays no answer and no health check, and the service's end for a while only."""
    monkeypatch.setattr("estelam.server.service.CLOSE_SECONDS", 1.0)
    service.answer()
    running = start(promissory_opening(service.sandbox, kept_checkpoint=service.path, shutdown_delay_seconds=0))
    service.path.unlink()
    os.mkfifo(service.path)  # without a writer, a reader that opens it waits for ever
    with caller(service.sandbox, running.address) as ask:
        deadline = time.monotonic() + 3 * KEEP_SECONDS
        while time.monotonic() < deadline:
            assert ANSWER_YES == ask()
    assert any(thread.name == "checkpoint" for thread in threading.enumerate())
    wait_for_health(service.sandbox, running.address, "", HealthCheckResponse.SERVING)
    running.close()
    service.path.unlink()


def test_kept_at_start(service: Service, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that has started has kept its newest checkpoint, before any answer, as after a restore."""
    service.answer()
    service.path.unlink()
    monkeypatch.setattr("estelam.server.checkpoint_keeper.KEEP_SECONDS", 60.0)
    start(promissory_opening(service.sandbox, kept_checkpoint=service.path, shutdown_delay_seconds=0))

    assert service.size() == service.kept_size()


@both_engines_in_full
def test_rollback(service: Service, back_up: Callable[[], Callable[[], None]]) -> None:
    """A ledger restored to an earlier state is refused, with both sizes, until that is acknowledged and noted."""
    service.answer()
    restore, earlier = back_up(), service.size()
    service.answer(3)
    lost = service.size()
    restore()
    with pytest.raises(StoreError, match=f"it has {lost} entries, the ledger has only {earlier}.*acknowledge-restore"):
        service.answer()
    command = CommandLine(service.sandbox)
    acknowledged = command(*ACKNOWLEDGE, "--json")
    again = command(*ACKNOWLEDGE)
    service.answer()
    [noted] = command("ledger", "restores", "promissory", "--json").json

    assert (lost, earlier) == tuple(int(acknowledged.json[name].partition(":")[0]) for name in ("kept", "ledger"))
    assert (2, True) == (again.code, "nothing is done" in again.err)
    assert ("Operations", "lost disk", acknowledged.json["kept"]) == (noted["operator"], noted["reason"], noted["kept"])
    assert (lost, service.size()) == (
        parse(Path(acknowledged.json["moved_to"]).read_text()).checkpoint.size,
        service.kept_size(),
    )
    assert 0 == command("ledger", "verify", "promissory").code


@both_engines_in_full
def test_acknowledged_loss_is_named(
    service: Service, start: Start, back_up: Callable[[], Callable[[], None]], tmp_path: Path
) -> None:
    """A lost checkpoint stays INVALID, and a lost entry unprovable; the acknowledged restore is named as the cause."""
    command, progress, saved = CommandLine(service.sandbox), tmp_path / "progress", tmp_path / "saved.json"
    service.answer()
    restore = back_up()
    running = start(promissory_opening(service.sandbox, kept_checkpoint=service.path, shutdown_delay_seconds=0))
    write_archive(saved, [ask(service.sandbox, running.address)])
    running.close()
    progress.write_text(command("ledger", "checkpoint", "promissory").out, "utf-8")
    restore()
    verify = ("ledger", "verify", "promissory", "--progress", str(progress))
    refresh = ("receipt", "refresh", str(saved), "--out", str(tmp_path / "new.json"))
    before = command(*verify), command(*refresh)
    command(*ACKNOWLEDGE)
    after = command(*verify), command(*refresh)

    assert [1, 1, 1, 21] == [result.code for result in (*before, *after)]
    assert ["Operations acknowledged this on" in result.err for result in (*before, *after)] == [
        False,
        False,
        True,
        True,
    ]


@both_engines_in_full
def test_rewritten_ledger(service: Service) -> None:
    """A ledger whose entries were changed and signed anew with the real key is refused, however long it is."""
    service.answer(2)
    size = service.size()
    writer = Writer(service.sandbox)
    with closing(writer.store), writer.store.transaction() as connection:
        [leaf] = connection.scalars(
            entry_table.select().with_only_columns(entry_table.c.leaf).where(entry_table.c["index"] == 0)
        )
        connection.execute(update(entry_table).where(entry_table.c["index"] == 0).values(leaf=leaf + b"\x00"))
        writer.sign_anew(connection)

    with pytest.raises(StoreError, match=f"its {size} entries are not the first of the ledger, which has {size}"):
        service.answer()


def test_first_start(service: Service) -> None:
    """A service that has kept no checkpoint starts, and keeps its newest one from then on."""
    service.answer()
    service.path.unlink()
    service.answer()

    assert service.size() == service.kept_size()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"estelam/promissory/14000000001\n7\n"])
def test_damaged_file(service: Service, content: bytes) -> None:
    """A kept checkpoint that can't be read refuses the start, and an acknowledgement sets it aside."""
    service.answer()
    whole = service.path.read_bytes()
    for damaged in (content, whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]):
        service.path.write_bytes(damaged)
        with pytest.raises(StoreError, match=f"kept in {service.path} is damaged: (?!.*receipt ).*--heads FILE"):
            service.answer()
    acknowledged = CommandLine(service.sandbox)(*ACKNOWLEDGE, "--json")
    service.answer()

    assert "unreadable" == acknowledged.json["kept"]
    assert damaged == Path(acknowledged.json["moved_to"]).read_bytes()


def test_too_few_witnesses(service: Service, start: Start, tmp_path: Path) -> None:
    """A receipt for which the settings name no witness is not to be tried later, but a setting to be added."""
    running = start(promissory_opening(service.sandbox, kept_checkpoint=service.path, shutdown_delay_seconds=0))
    write_archive(tmp_path / "saved.json", [ask(service.sandbox, running.address)])
    refused = CommandLine(service.sandbox)(
        "receipt", "refresh", str(tmp_path / "saved.json"), "--out", str(tmp_path / "n")
    )

    assert 21 == refused.code
    assert "add them as [[promissory.witnesses]]" in refused.err


def test_wrong_settings_are_no_restore(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A removed certificate, or a file of another ledger, is named as the cause, and can't be acknowledged away."""
    service.answer()
    DevCertificateAuthority(service.sandbox.pki).issue_signing("new", MINISTRY, since=SINCE, lifetime=LIFETIME)
    kept_text = service.path.read_text("utf-8")
    key, certificate = service.sandbox.pki / "new.key", service.sandbox.pki / "new.crt"
    with monkeypatch.context() as changed:
        changed.setenv("ESTELAM_PROMISSORY_SIGNING_KEY", str(key))
        changed.setenv("ESTELAM_PROMISSORY_SIGNING_CERTIFICATES", str(certificate))
        unknown_key = start_and_acknowledge(service, signing_key=key, signing_certificates=(certificate,))
    service.path.write_text(kept_text.replace("/promissory/", "/judiciary/"), "utf-8")
    other_ledger = start_and_acknowledge(service)

    assert "whose certificate is not in signing_certificates" in unknown_key
    assert "holds a checkpoint of the ledger estelam/judiciary/" in other_ledger


def start_and_acknowledge(service: Service, **settings: Any) -> str:
    """The reason for which the service does not start, which is also that of a refused acknowledgement."""
    with pytest.raises(StoreError) as caught:
        service.answer(**settings)
    acknowledged = CommandLine(service.sandbox)(*ACKNOWLEDGE)
    assert 21 == acknowledged.code
    assert str(caught.value) in acknowledged.err
    assert service.path.exists()
    return str(caught.value)


@pytest.mark.slow
def test_kill_leaves_a_file_that_the_ledger_continues(service: Service) -> None:
    """After kill -9 the kept checkpoint is none, or one that the ledger continues; the service starts."""
    process = ServiceProcess("promissory", service.sandbox)
    for _ in range(3):
        process.start()
        with caller(service.sandbox, process.address) as ask:
            answers = [ask() for _ in range(20)]
        process.kill()

        assert [ANSWER_YES] * 20 == answers
        assert not service.path.exists() or service.kept_size() <= service.size()
    process.start()
    process.stop()

    assert service.kept_size() == service.size()


def test_older_checkpoint_is_not_written(service: Service) -> None:
    """Of several processes that write one file, one that read an older checkpoint leaves the newer."""
    service.answer()
    older = service.path.read_text("utf-8")
    service.answer()
    newer = service.path.read_text("utf-8")
    kept.keep(service.path, older)

    assert newer == service.path.read_text("utf-8") != older


def test_processes_write_the_file_in_turn(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer checkpoint that another process writes, while one is being written, is not replaced by the older."""
    notes = []
    for _ in range(3):
        service.answer()
        notes.append(service.path.read_text("utf-8"))
    service.path.write_text(notes[0], "utf-8")
    other, write = threading.Thread(target=kept.keep, args=(service.path, notes[2])), files.write_atomic

    def slow(path: Path, note: str, **options: bool) -> None:
        if not other.ident:
            other.start()
            other.join(0.2)
        write(path, note, **options)

    monkeypatch.setattr(kept, "write_atomic", slow)
    kept.keep(service.path, notes[1])
    other.join()

    assert notes[2] == service.path.read_text("utf-8")


def test_last_commit_is_missed(service: Service, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was answered since the kept checkpoint is missed too, where it is lost with the log of a killed service."""
    service.answer()
    folder = Path(service.settings.store.removeprefix("sqlite:///"))
    monkeypatch.setattr(checkpoint_keeper, "KEEP_SECONDS", 3600.0)
    running = start(promissory_opening(service.sandbox, kept_checkpoint=service.path))
    with caller(service.sandbox, running.address) as ask:
        before = service.kept_size()
        assert {ANSWER_YES} == {ask() for _ in range(3)}
        copied = service.path.with_name("copied")
        shutil.copytree(service.path.parent, copied)  # as a kill leaves them: nothing is closed in order
    running.close()
    for name in (service.path.name, service.last_commit.name):
        shutil.copy(copied / name, service.path.with_name(name))
    assert before == service.kept_size()
    for file in folder.glob("ledger.db*"):
        file.unlink()
        if not file.name.endswith("-wal"):
            shutil.copy(copied / folder.name / file.name, file)

    with pytest.raises(StoreError, match="the ledger has only"):
        service.answer()


def test_last_commit_counts_without_the_kept_checkpoint(
    service: Service, back_up: Callable[[], Callable[[], None]]
) -> None:
    """Where only the last commit's checkpoint is left, a restore is refused and can be acknowledged."""
    service.answer()
    restore = back_up()
    service.answer()
    restore()
    service.path.unlink()
    with pytest.raises(StoreError, match="the ledger has only"):
        service.answer()

    assert CommandLine(service.sandbox)(*ACKNOWLEDGE).code == 0
    assert not service.last_commit.exists()
    service.answer()


def test_damaged_last_commit_proves_nothing(service: Service) -> None:
    """A last commit's checkpoint that a loss of power has damaged does not keep the service from starting."""
    service.answer()
    last = service.last_commit
    for content in (b"", last.read_bytes()[:-10], b"\xff" * 300):
        last.write_bytes(content)
        service.answer()

    assert service.kept_size() == parse(last.read_text("utf-8")).checkpoint.size


def test_answered_checkpoint_is_kept_where_the_store_lost_it(service: Service, tmp_path: Path) -> None:
    """What receipts were sent of is kept, also where the store can be read and has lost it."""
    service.answer()
    older, stopping = tmp_path / "older", threading.Event()
    shutil.copytree(Path(service.settings.store.removeprefix("sqlite:///")), older)
    service.answer()
    newest = service.path.read_text("utf-8")
    service.path.unlink()
    stopping.set()
    with closing((writer := Writer(service.sandbox)).store):
        writer.ledger.keep_committed(parse(newest).checkpoint.size, newest)
        keep_checkpoints(f"sqlite:///{older}", service.path, writer.ledger, stopping)

    assert newest == service.path.read_text("utf-8")
