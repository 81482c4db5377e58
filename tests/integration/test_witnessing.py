"""A service's checkpoints at its witnesses: sent in the background, cosigned, and given out with refreshed receipts."""

import base64
import contextlib
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import ValidationError
from sqlalchemy import select
from typer.testing import CliRunner, Result

from development.sandbox import Sandbox
from estelam.cli.root import application
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock, to_micros
from estelam.core.keys import verifying_keys
from estelam.core.note_keys import NoteKey
from estelam.core.settings import WitnessAddress
from estelam.ledger import cosignatures, search, verify
from estelam.ledger.errors import LedgerCorruptError
from estelam.ledger.tables import checkpoint_table, cosignature_table, last_checkpoint
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.receipts import checkpoint
from estelam.receipts.archive import ReceiptRecord, read_archive, write_archive
from estelam.receipts.checkpoint import origin_of
from estelam.receipts.cosignature import Cosigner
from estelam.server.witnessing import submit_checkpoint
from estelam.storage.store import AccessMode, Store
from estelam.witness.client import TIMEOUT_SECONDS, WitnessClient, WitnessError
from estelam.witness.settings import WitnessSettings
from estelam.witness.state import WitnessState
from tests.conftest import Start, both_engines_in_full, plain_channel, promissory_opening
from tests.e2e.conftest import NOTE
from tests.guarantees.recorded_ledger import receipt_of
from tests.support.certificates import DAY, NOW, certificate_pem, concatenate
from tests.support.service import RunningService
from tests.support.store_copies import forget_checkpoints
from tests.support.transparency_log import Log, served, witness_settings
from tests.unit.receipts.test_cosignature import SECONDS, cosigner

METHOD = "estelam.promissory.v1.PromissoryNoteInquiryService/CheckNote"
OTHER = cosigner().cosign("another checkpoint\n", SECONDS)
"""A valid cosignature of another checkpoint, by the key of another witness of the same name."""


@dataclass(frozen=True)
class Witnessed:
    """A witness of the sandbox's ledger, and its client."""

    settings: WitnessSettings
    client: WitnessClient

    @property
    def address(self) -> WitnessAddress:
        return WitnessAddress(url=self.client.url, key=str(self.client.key))


def signing_key(sandbox: Sandbox) -> NoteKey:
    """The key under which the ledger of *sandbox* signs."""
    (key,) = verifying_keys(sandbox.promissory().signing_certificates).values()
    return NoteKey(origin_of("promissory", key.organization_id), key.public)


@contextlib.contextmanager
def witness_of(sandbox: Sandbox, folder: Path, name: str = "witness.example/w1") -> Iterator[Witnessed]:
    """Run a witness of the ledger of *sandbox*."""
    key = signing_key(sandbox)
    settings = witness_settings(folder, Log([], origin=key.name), name=name)
    settings = settings.model_copy(update={"logs": (settings.logs[0].model_copy(update={"keys": (str(key),)}),)})
    with served(settings) as client:
        cosigner = Cosigner.load(settings.name, settings.private_key)
        yield Witnessed(settings, WitnessClient(str(client.base_url), cosigner.key))


def ask(sandbox: Sandbox, address: str) -> ReceiptRecord:
    with plain_channel(address, ClientIdentity.named(sandbox.pki, "setad")) as channel:
        return ReceiptRecord(METHOD, NOTE, PromissoryNoteInquiryServiceStub(channel).CheckNote(NOTE, timeout=10))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def run(sandbox: Sandbox, *words: str | Path) -> Result:
    return CliRunner().invoke(application(), list(map(str, words)), env=dict(sandbox.environ))


@both_engines_in_full
def test_cosigned_receipt(loaded: Sandbox, tmp_path: Path, start: Start) -> None:
    """An answer is given without its witnesses; refreshed, its receipt is under a checkpoint that they cosigned."""
    with witness_of(loaded, tmp_path / "w1") as first, witness_of(loaded, tmp_path / "w2", "witness.example/w2") as two:
        witnesses = (first.address, two.address)
        service = start(promissory_opening(loaded, witnesses=witnesses, witness_interval_seconds=0.05))
        record = ask(loaded, service.address)
        write_archive(tmp_path / "saved.json", [record])
        refresh = "receipt", "refresh", tmp_path / "saved.json", "--out", tmp_path / "new.json", "--witnesses", "2"
        wait_for(lambda: run(loaded, *refresh).exit_code != 21)
        done = run(loaded, *refresh, "--force")
    (tmp_path / "keys").write_text(f"{first.client.key}\n{two.client.key}\n")
    named = "--certificate", loaded.pki / "promissory-receipts.crt", "--witness-key", tmp_path / "keys"
    verified = run(loaded, "receipt", "verify", tmp_path / "new.json", *named, "--witnesses", "2")
    before = run(loaded, "receipt", "verify", tmp_path / "saved.json", *named, "--witnesses", "1")

    (renewed,) = read_archive(tmp_path / "new.json")
    old, new = receipt_of(record), receipt_of(renewed)
    assert (0, 0, 21) == (done.exit_code, verified.exit_code, before.exit_code), done.stderr + verified.stderr
    assert "witness.example/w2" in verified.stdout
    assert checkpoint.parse(new.checkpoint).checkpoint.size >= checkpoint.parse(old.checkpoint).checkpoint.size
    for receipt in (old, new):
        receipt.ClearField("checkpoint")
        receipt.ClearField("inclusion_path")
    assert old == new
    assert 0 == run(loaded, "ledger", "verify", "promissory").exit_code


def test_witness_down(loaded: Sandbox, tmp_path: Path, start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    """Without its witness a service answers as ever, counts the failures, and sends the checkpoint later."""
    with witness_of(loaded, tmp_path) as witness:
        url = witness.client.url
    address = witness.address.model_copy(update={"url": url})
    service = start(promissory_opening(loaded, witnesses=(address,), witness_interval_seconds=0.02))
    wait_for(lambda: "witness.failed" in capsys.readouterr().out)

    assert receipt_of(ask(loaded, service.address)).checkpoint
    port = url.rpartition(":")[2]
    with served(witness.settings.model_copy(update={"listen": f"127.0.0.1:{port}"})):
        wait_for(lambda: any(witness.settings.state.glob("*.checkpoint")))


def test_contradiction(loaded: Sandbox, tmp_path: Path, start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    """The log of a service whose ledger contradicts what its witness cosigned says so."""
    service = start(promissory_opening(loaded, shutdown_delay_seconds=0))
    ask(loaded, service.address)
    service.close()
    with contextlib.closing(Store(loaded.promissory().store)) as store, store.transaction() as connection:
        note = str(last_checkpoint(connection))
    root = note.splitlines()[2]
    with witness_of(loaded, tmp_path) as witness:
        state = WitnessState(witness.settings.state)
        state.store(signing_key(loaded).name, note.replace(root, base64.b64encode(bytes(32)).decode()))
        start(promissory_opening(loaded, witnesses=(witness.address,)))
        wait_for(lambda: "this ledger contradicts what it signed before" in capsys.readouterr().out)

    assert 1 == len([*witness.settings.state.glob("*.contradiction")])


def cosigned(sandbox: Sandbox, client: WitnessClient) -> list[int]:
    """Return the sizes of the checkpoints that the ledger has a cosignature of."""
    with contextlib.closing(Store(sandbox.promissory().store)) as store, store.transaction() as connection:
        sizes = select(cosignature_table.c.size).where(cosignature_table.c.witness == client.key.name)
        return list(connection.scalars(sizes.order_by(cosignature_table.c.size)))


def newest_size(sandbox: Sandbox) -> int:
    """Return the size of the ledger's newest checkpoint."""
    with contextlib.closing(Store(sandbox.promissory().store)) as store, store.transaction() as connection:
        return search.size(connection)


@both_engines_in_full
def test_last_checkpoint_is_submitted(loaded: Sandbox, tmp_path: Path, start: Start) -> None:
    """Whatever was answered before the end of a service is cosigned, however long the interval."""
    with witness_of(loaded, tmp_path) as witness:
        service = start(promissory_opening(loaded, witnesses=(witness.address,), shutdown_delay_seconds=0))
        wait_for(lambda: any(witness.settings.state.glob("*.checkpoint")))
        for _ in range(3):
            ask(loaded, service.address)
        service.close()

        assert newest_size(loaded) == cosigned(loaded, witness.client)[-1]


@pytest.mark.slow
def test_end_without_witnesses(loaded: Sandbox, start: Start) -> None:
    """Witnesses that accept a connection and never reply hold up the end of a service for one timeout in all."""
    with contextlib.ExitStack() as open_sockets:
        addresses = []
        for number in range(3):
            silent = open_sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            key = cosigner(f"witness.example/w{number}").key
            addresses.append(WitnessAddress(url=url, key=str(key)))
        service = start(promissory_opening(loaded, witnesses=tuple(addresses), shutdown_delay_seconds=0))
        ask(loaded, service.address)
        began = time.monotonic()
        service.close()

        assert time.monotonic() - began < 3 * TIMEOUT_SECONDS


def test_checkpoint_before_a_rotation(loaded: Sandbox, tmp_path: Path, start: Start) -> None:
    """A service that was killed is cosigned up to its end, by its own key, before what its successor signs."""
    with RunningService(promissory_opening(loaded, shutdown_delay_seconds=0)) as service:
        ask(loaded, service.address)
    before = newest_size(loaded)
    with witness_of(loaded, tmp_path) as witness:
        service = start(promissory_opening(loaded, witnesses=(witness.address,), shutdown_delay_seconds=0))
        ask(loaded, service.address)
        service.close()
        sizes = cosigned(loaded, witness.client)

    assert before == sizes[0] < sizes[-1] == newest_size(loaded)


@pytest.fixture
def ledger(loaded: Sandbox) -> Iterator[Store]:
    """The ledger of a service that has answered once, to read and to write."""
    with RunningService(promissory_opening(loaded, shutdown_delay_seconds=0)) as service:
        ask(loaded, service.address)
    with contextlib.closing(Store(loaded.promissory().store, ledger=AccessMode.WRITE)) as store:
        yield store


def submit(ledger: Store, client: WitnessClient, seen: int | None = None) -> int:
    def write(work: Callable[..., None]) -> None:
        with ledger.transaction() as connection:
            work(connection)

    return submit_checkpoint(client, ledger, write, seen)


def cosigned_size(ledger: Store, client: WitnessClient) -> int:
    with ledger.transaction() as connection:
        return cosignatures.cosigned_size(connection, client.key.name)


def test_lost_reply(ledger: Store, loaded: Sandbox, tmp_path: Path) -> None:
    """A cosignature that was lost on the way is asked for again, from where the witness stands."""
    with witness_of(loaded, tmp_path) as witness:
        submit(ledger, witness.client)
        size = cosigned_size(ledger, witness.client)
        with ledger.transaction() as connection:
            connection.exec_driver_sql("DELETE FROM ledger.cosignature")
        submit(ledger, witness.client)

        assert size == cosigned_size(ledger, witness.client) > 0


def test_one_worker_submits(loaded: Sandbox, tmp_path: Path) -> None:
    """Of several workers one sends the checkpoints; when it no longer does, another one goes on."""
    with witness_of(loaded, tmp_path) as witness:
        first = answer_and_submit(loaded, witness.client, 1)
        second = answer_and_submit(loaded, witness.client, 1, seen=first)
        late = answer_and_submit(loaded, witness.client, 1, seen=first)  # of the other worker
        assert second == late > first
        assert answer_and_submit(loaded, witness.client, 1, seen=late) > late


def test_rewritten_ledger(loaded: Sandbox, tmp_path: Path) -> None:
    """A ledger written anew with its real key is cosigned by no witness, and fails against a kept checkpoint."""
    folder = Path(loaded.promissory().store.removeprefix("sqlite:///"))
    shutil.copytree(folder, tmp_path / "empty")
    with witness_of(loaded, tmp_path / "witness") as witness:
        answer_and_submit(loaded, witness.client, 2)
        (tmp_path / "kept").write_text(run(loaded, "ledger", "checkpoint", "promissory").stdout)
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "empty", folder)
        with pytest.raises(WitnessError, match="refuses with status 422 at http://"):
            answer_and_submit(loaded, witness.client, 5)
    alone = run(loaded, "ledger", "verify", "promissory")
    compared = run(loaded, "ledger", "verify", "promissory", "--heads", tmp_path / "kept")

    assert [0, 1] == [alone.exit_code, compared.exit_code]
    assert "is no earlier state of this ledger" in compared.stderr


def answer_and_submit(sandbox: Sandbox, client: WitnessClient, count: int, seen: int | None = None) -> int:
    """Answer so many inquiries, and submit the checkpoint; a rewriter removes the kept checkpoint."""
    url = sandbox.promissory().store
    forget_checkpoints(url)
    with RunningService(promissory_opening(sandbox, shutdown_delay_seconds=0)) as service:
        for _ in range(count):
            ask(sandbox, service.address)
    with contextlib.closing(Store(url, ledger=AccessMode.WRITE)) as store:
        return submit(store, client, seen)


def test_refresh_is_refused(loaded: Sandbox, tmp_path: Path, start: Start) -> None:
    """Nothing is written without cosignatures, for an invalid receipt, or beside a ledger without its entry."""
    service = start(promissory_opening(loaded))
    record = ask(loaded, service.address)
    write_archive(tmp_path / "saved.json", [record])
    service.close()
    url, new = loaded.promissory().store, tmp_path / "new.json"
    refresh = "receipt", "refresh", tmp_path / "saved.json", "--out", new

    early = run(loaded, *refresh)
    with contextlib.closing(Store(url, ledger=AccessMode.WRITE)) as store:
        with store.transaction() as connection:
            size = checkpoint.parse(last_checkpoint(connection) or "").checkpoint.size
            cosignatures.store(connection, size, "witness.example/w1", cosigner().cosign("x\n", SECONDS))
        few, enough = run(loaded, *refresh, "--witnesses", "2"), run(loaded, *refresh)
        exists, absent = (
            run(loaded, *refresh),
            run(loaded, "receipt", "refresh", tmp_path / "no", "--out", tmp_path / "o"),
        )
        with store.transaction() as connection:
            connection.exec_driver_sql("UPDATE ledger.entry SET leaf = substr(leaf, 2)")
        changed = run(loaded, *refresh, "--force")
    receipt_of(record).salt = bytes(16)
    write_archive(tmp_path / "saved.json", [record])
    invalid = run(loaded, *refresh, "--force")

    assert [21, 21, 0, 2, 2] == [done.exit_code for done in (early, few, enough, exists, absent)]
    assert "is cosigned by 2 witnesses, and its settings name fewer" in few.stderr
    assert (1, True) == (changed.exit_code, changed.stderr.startswith("INVALID: the ledger: "))
    assert (1, True) == (invalid.exit_code, "of another request or another reply" in invalid.stderr)
    assert list(read_archive(new))  # the earlier file stays


def test_refresh_after_rotation(loaded: Sandbox, tmp_path: Path) -> None:
    """A receipt is refreshed under the key of its answer; under one that was not valid then, it stays as it is."""
    file, key, new = loaded.pki / "promissory-receipts.crt", tmp_path / "new.key", Ed25519PrivateKey.generate()
    key.write_bytes(new.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    later = certificate_pem(loaded.pki, new.public_key(), since=NOW + DAY, until=NOW + 9 * DAY)
    with RunningService(promissory_opening(loaded, shutdown_delay_seconds=0)) as service:
        write_archive(tmp_path / "saved.json", [ask(loaded, service.address)])
    concatenate(file, [file, later])
    clock = Clock(lambda: to_micros(NOW + 2 * DAY))
    with RunningService(promissory_opening(loaded, clock, signing_key=key, shutdown_delay_seconds=0)) as service:
        ask(loaded, service.address)
    refresh = "receipt", "refresh", tmp_path / "saved.json", "--out", tmp_path / "new.json"
    witness = cosigner()
    cosign(loaded, witness, newest=True)
    refused, exists = run(loaded, *refresh), (tmp_path / "new.json").exists()
    cosign(loaded, witness, newest=False)
    done = run(loaded, *refresh)
    (tmp_path / "keys").write_text(f"{witness.key}\n")
    named = "--certificate", file, "--witness-key", tmp_path / "keys", "--witnesses", "1"
    verified = run(loaded, "receipt", "verify", tmp_path / "new.json", *named)

    assert (21, "", False) == (refused.exit_code, refused.stdout, exists)
    assert "has no certificate that was valid at the time of the answer. Keep this receipt" in refused.stderr
    assert (0, 0) == (done.exit_code, verified.exit_code), done.stderr + verified.stderr


def cosign(sandbox: Sandbox, witness: Cosigner, *, newest: bool) -> None:
    """Store a cosignature by *witness* of the newest checkpoint, or of the one before it."""
    opened = Store(sandbox.promissory().store, ledger=AccessMode.WRITE)
    with contextlib.closing(opened) as store, store.transaction() as connection:
        rows = connection.execute(select(checkpoint_table).order_by(checkpoint_table.c.size)).all()
        row = rows[-1 if newest else -2]
        line = witness.cosign(checkpoint.parse(row.note).body, SECONDS)
        cosignatures.store(connection, row.size, witness.key.name, line)


@pytest.mark.parametrize(
    ("beyond", "witness", "change"),
    [
        (10**6, "witness.example/w1", str),  # of no checkpoint
        (0, "witness.example/w2", str),
        (0, "witness.example/w1", lambda _: "garbage"),
        (0, "witness.example/w1", lambda line: line + line),
        (0, "witness.example/w1", lambda line: line[:-1]),
    ],
)
def test_cosignature_that_is_none(
    ledger: Store, loaded: Sandbox, beyond: int, witness: str, change: Callable[[str], str]
) -> None:
    """A row that is not the witness's line for a checkpoint of the ledger is found by its verification."""
    with ledger.transaction() as connection:
        body = checkpoint.parse(last_checkpoint(connection) or "").body
        line = cosigner().cosign(body, SECONDS)
        cosignatures.store(connection, search.size(connection) + beyond, witness, change(line))
    done = run(loaded, "ledger", "verify", "promissory")

    assert (1, True) == (done.exit_code, "is no cosignature of a checkpoint of this ledger" in done.stderr)


def test_stored_cosignature_is_verified(ledger: Store, loaded: Sandbox) -> None:
    """Where the witness's key is known, its stored line must be its signature of that checkpoint."""
    witness, keys = cosigner(), verifying_keys(loaded.promissory().signing_certificates)
    with ledger.transaction() as connection:
        cosignatures.store(connection, search.size(connection), witness.key.name, witness.cosign("x\n", SECONDS))
        assert list(verify.verify_ledger(connection, keys))

        with pytest.raises(LedgerCorruptError):
            list(verify.verify_ledger(connection, keys, witnesses=[witness.key]))


def test_ledger_behind_its_witness(ledger: Store, loaded: Sandbox, tmp_path: Path) -> None:
    """A ledger that lost its end is rejected with the reason, and gets no cosignature."""
    with witness_of(loaded, tmp_path) as witness:
        submit(ledger, witness.client)
        with ledger.transaction() as connection:
            for statement in (
                "DELETE FROM ledger.cosignature",
                "DELETE FROM ledger.checkpoint WHERE size = (SELECT max(size) FROM ledger.checkpoint)",
            ):
                connection.exec_driver_sql(statement)
        with pytest.raises(WitnessError, match=r"it has cosigned \d+ entries, and this ledger has \d+"):
            submit(ledger, witness.client)

        assert 0 == cosigned_size(ledger, witness.client)


@contextlib.contextmanager
def answering(status: int, body: bytes, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The address of a server that answers everything so."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("location", "http://127.0.0.1:1/")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"{'https' if tls else 'http'}://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (200, "", "no cosignature of its key"),
        (200, OTHER, "no cosignature of its key"),
        (200, "no line", "not valid"),
        (200, "— x AAAA\n", "not valid"),
        (200, "\xff", "not valid"),
        (200, "—" * 70_000, "not valid"),
        (301, "", "status 301"),
        (403, "", "status 403"),
        (409, "", "status 409"),
        (409, "-1\n", "status 409"),
        (409, "9999999999\n", "it has cosigned 9999999999 entries"),
        (500, "", "status 500"),
    ],
    ids=[
        "nothing",
        "another key",
        "no line",
        "short line",
        "not UTF-8",
        "long",
        *map(str, (301, 403, 409)),
        "-1",
        "ahead",
        "500",
    ],
)
def test_wrong_witness(ledger: Store, status: int, body: str, problem: str) -> None:
    """Whatever a witness returns, only a valid cosignature of its key is stored."""
    with answering(status, body.encode("latin-1" if body == "\xff" else "utf-8")) as url:
        client = WitnessClient(url, cosigner().key)
        with pytest.raises(WitnessError, match=problem):
            submit(ledger, client)

        assert 0 == cosigned_size(ledger, client)


def test_https(loaded: Sandbox, ledger: Store) -> None:
    """Over HTTPS a witness is reached only if one of the named authorities issued its certificate."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(loaded.pki / "promissory-server.crt", loaded.pki / "promissory-server.key")
    with answering(403, b"", tls) as url:
        for authorities, problem in ((loaded.pki / "ca.crt", "status 403"), (None, "can't be reached: URLError")):
            with pytest.raises(WitnessError, match=problem):
                submit(ledger, WitnessClient(url, cosigner().key, authorities))


def test_address_has_no_method() -> None:
    """A witness's address that ends with the path of a submission is refused, since that path is appended."""
    with pytest.raises(ValidationError, match="without /add-checkpoint"):
        WitnessAddress(url="http://localhost:8100/add-checkpoint", key=str(cosigner().key))
