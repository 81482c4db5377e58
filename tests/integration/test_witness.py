"""A witness over HTTP: it never cosigns two checkpoints that contradict each other, whatever happens."""

import errno
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from estelam.core.clock import Clock
from estelam.core.exceptions import ServerError
from estelam.core.note_keys import KeyKind, NoteKey, encode_base64
from estelam.receipts import checkpoint, cosignature
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.cosignature import Cosigner
from estelam.receipts.tree import Frontier
from estelam.witness import state
from estelam.witness.metrics import WitnessMetrics
from estelam.witness.rejections import Rejection
from estelam.witness.settings import WitnessedLog, WitnessSettings
from estelam.witness.state import WitnessState
from estelam.witness.witness import LOG_QUOTA, Witness
from tests.integration.test_witnessing import wait_for
from tests.support.transparency_log import ORIGIN, Log, served, witness_settings
from tests.unit.receipts.test_cosignature import LOG_KEY, LOG_NOTES, LOG_PROOF

LOG = Log.of(*"abcdefghijklmnop")


@pytest.fixture
def settings(tmp_path: Path) -> WitnessSettings:
    return witness_settings(tmp_path, LOG)


@pytest.fixture
def client(settings: WitnessSettings) -> Iterator[httpx.Client]:
    """A witness that has cosigned the first five entries."""
    with served(settings) as client:
        assert 200 == submit(client, LOG.submission(0, 5)).status_code
        yield client


def submit(client: httpx.Client, text: str) -> httpx.Response:
    return client.post("/add-checkpoint", content=text.encode())


def key_of(settings: WitnessSettings) -> NoteKey:
    return Cosigner.load(settings.name, settings.private_key).key


def remembered(settings: WitnessSettings) -> list[tuple[int, str]]:
    """Size and text of the checkpoints in the state."""
    notes = [path.read_text("utf-8") for path in settings.state.glob("*.checkpoint")]
    return [(checkpoint.parse(note, extensible=True).checkpoint.size, note) for note in notes]


def test_growing_log(settings: WitnessSettings) -> None:
    """Each checkpoint that continues the last one is cosigned; the cosignature is valid for its text and time alone."""
    with served(settings) as client:
        for old, new in pairwise((0, 1, 5, 8, 16)):
            reply = submit(client, LOG.submission(old, new))
            assert (200, 1) == (reply.status_code, len(reply.text.splitlines()))
            (found,) = cosignature.verify(LOG.note(new) + reply.text, [key_of(settings)])
            assert settings.name == found.witness

    ((size, note),) = remembered(settings)
    assert (16, LOG.note() + reply.text) == (size, note)


def test_again(client: httpx.Client, settings: WitnessSettings) -> None:
    """A log that lost a cosignature gets another one for the same checkpoint."""
    reply = submit(client, LOG.submission(5, 5))

    assert 200 == reply.status_code
    assert cosignature.verify(LOG.note(5) + reply.text, [key_of(settings)])


def test_extension_lines(client: httpx.Client, settings: WitnessSettings) -> None:
    """Extension lines of a checkpoint are cosigned with it."""
    reply = submit(client, LOG.submission(5, 8, "extension\n"))

    assert 200 == reply.status_code
    assert cosignature.verify(LOG.note(8, "extension\n") + reply.text, [key_of(settings)])


@pytest.mark.parametrize("old", [0, 4, 6, 8])
def test_other_size(client: httpx.Client, old: int) -> None:
    """A proof that starts elsewhere is answered with the size at which the witness stands, in the specified form."""
    reply = submit(client, LOG.submission(old, 8))

    assert (409, "5\n", "text/x.tlog.size") == (reply.status_code, reply.text, reply.headers["content-type"])


def test_rewritten_log(client: httpx.Client, settings: WitnessSettings, capsys: pytest.CaptureFixture[str]) -> None:
    """A log rewritten with its own key is not cosigned, at whatever size, and what proves it is kept."""
    before, rewritten = remembered(settings), LOG.rewritten(3)

    same, larger = submit(client, rewritten.submission(5, 5)), submit(client, rewritten.submission(5, 8))
    smaller = submit(client, rewritten.submission(0, 4))

    assert [(409, "5\n"), (409, "5\n")] == [(reply.status_code, reply.text) for reply in (same, smaller)]
    assert (422, before) == (larger.status_code, remembered(settings))
    (evidence,) = settings.state.glob("*.contradiction")
    assert rewritten.note(5) == evidence.read_text("utf-8")
    (event,) = [line for line in capsys.readouterr().out.splitlines() if "witness.contradiction" in line]
    assert str(evidence) in event
    assert 200 == submit(client, LOG.submission(5, 8)).status_code  # the true one goes on


def test_empty_log(tmp_path: Path) -> None:
    """The checkpoint of a log without entries has the root of the empty tree."""
    empty = Log([])
    wrong = Checkpoint(ORIGIN, 0, bytes(32)).body
    with served(witness_settings(tmp_path, empty)) as client:
        assert 200 == submit(client, empty.submission(0)).status_code
        signed = f"old 0\n\n{wrong}\n" + empty.note().partition("\n\n")[2]
        assert 403 == submit(client, signed).status_code


def changed(old: str, new: str) -> str:
    return LOG.submission(5, 8).replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", 400),
        (LOG.note(8), 400),
        (changed("old 5", "old 05"), 400),
        (changed("old 5", "old -5"), 400),
        (changed("old 5", "Old 5"), 400),
        (changed("old 5", "old ۵"), 400),
        (changed("old 5", f"old {2**63}"), 400),
        (changed("old 5\n", "old 5\r\n"), 400),
        (changed("old 5\n", "old 5\n\n"), 400),
        (changed("old 5\n", "old 5\nAAAA\n"), 400),
        (changed("old 5\n", "old 5\n" + f"{'A' * 43}=\n" * 63), 400),
        (LOG.submission(9, 8), 400),
        (LOG.submission(5, 8).removesuffix("\n"), 400),
        (LOG.submission(5, 8) + "\n", 400),
        (LOG.submission(5, 8) + "— x AAAA\n", 400),
        ("a" * 200_000, 413),
        (Log(LOG.leaves, LOG.private, "log.example/2").submission(5, 8), 404),
        (Log(LOG.leaves).submission(5, 8), 403),
        (changed("\n8\n", "\n9\n"), 403),
        (changed("old 5\n", "old 5\n" + f"{'A' * 43}=\n"), 422),
    ],
)
def test_rejected(client: httpx.Client, settings: WitnessSettings, text: str, status: int) -> None:
    """What is malformed, unknown, not signed or not proven gets its status, and changes nothing."""
    before = remembered(settings)

    assert (status, before) == (submit(client, text).status_code, remembered(settings))
    assert 200 == submit(client, LOG.submission(5, 8)).status_code


def test_not_utf8(client: httpx.Client) -> None:
    """Bytes that are no text, and other methods or paths, are refused."""
    assert 400 == client.post("/add-checkpoint", content=b"old 5\n\xff").status_code
    assert [405, 404] == [client.get("/add-checkpoint").status_code, client.post("/").status_code]


def test_concurrent_branches(client: httpx.Client, settings: WitnessSettings) -> None:
    """Of branches that are submitted at the same time one is cosigned, and nothing of another one."""
    branches = [LOG, *(Log([*LOG.leaves[:5], leaf, *LOG.leaves], LOG.private) for leaf in LOG.leaves)]
    texts = [branch.submission(5, size) for branch in branches for size in (7, 9, 11)]
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda text: submit(client, text), texts))

    cosigned = [text for text, reply in zip(texts, replies, strict=True) if reply.status_code == 200]
    assert {200, 409} == {reply.status_code for reply in replies}
    assert 1 == len(cosigned)  # all start at the fifth entry
    assert checkpoint.parse(cosigned[0].partition("\n\n")[2]).body in remembered(settings)[0][1]


BRANCHES = [LOG, LOG.rewritten(0), LOG.rewritten(4), LOG.rewritten(9)]
SIZES = st.integers(0, len(LOG.leaves))


@given(st.lists(st.tuples(st.sampled_from(BRANCHES), SIZES, SIZES, st.booleans()), max_size=12))
def test_every_history(submissions: list[tuple[Log, int, int, bool]]) -> None:
    """Whatever is submitted, the cosigned checkpoints are one growing history; and what continues it is cosigned."""
    with TemporaryDirectory() as folder:
        state, last = WitnessState(Path(folder)), list[bytes]()
        private = Ed25519PrivateKey.generate()
        cosigner = Cosigner(NoteKey("witness.example/w1", private.public_key(), KeyKind.COSIGNATURE), private)
        witness = Witness(cosigner, {ORIGIN: [LOG.key]}, state, Clock(), WitnessMetrics())
        for branch, given_old, size, continues in submissions:
            old = len(last) if continues else given_old
            new = branch.leaves[:size]
            is_continuation = old == len(last) <= size and new[:old] == last
            try:
                witness.add_checkpoint(branch.submission(old, size).encode())
            except Rejection:
                assert not is_continuation
            else:
                assert is_continuation
                last = new
            stored = state.last(ORIGIN)
            assert (stored.size if stored else 0) == len(last)


def test_stored_before_sent(settings: WitnessSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that can't be stored is not cosigned; a damaged state counts as no empty one."""

    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left")

    with served(settings) as client:
        with monkeypatch.context() as patched:
            patched.setattr("estelam.witness.state.write_atomic", fail)
            failed = submit(client, LOG.submission(0, 5))
        assert (503, "", []) == (failed.status_code, failed.text.partition("—")[1], remembered(settings))
        assert 200 == submit(client, LOG.submission(0, 5)).status_code
        (file,) = settings.state.glob("*.checkpoint")
        for damaged in ("", LOG.note(5).replace(ORIGIN, "log.example/2"), "x" + LOG.note(5)):
            file.write_text(damaged)
            assert 503 == submit(client, LOG.rewritten(0).submission(0, 5)).status_code


def test_restart(settings: WitnessSettings) -> None:
    """A witness that restarts goes on where it stood."""
    for old, new in ((0, 5), (5, 8)):
        with served(settings) as client:
            assert 200 == submit(client, LOG.submission(old, new)).status_code
    with served(settings) as client:
        assert 422 == submit(client, LOG.rewritten(3).submission(8, 16)).status_code


@pytest.mark.parametrize("restored", ["state", "state.kept"])
def test_restored_state(settings: WitnessSettings, restored: str) -> None:
    """A state that is restored from a backup, in either folder, makes the witness forget nothing."""
    folder = settings.state.with_name(restored)
    with served(settings) as client:
        submit(client, LOG.submission(0, 5))
        shutil.copytree(folder, folder.with_name("backup"))
        submit(client, LOG.submission(5, 8))
    shutil.rmtree(folder)
    folder.with_name("backup").rename(folder)
    with served(settings) as client:
        other = submit(client, LOG.rewritten(6).submission(5, 8))
        continued = submit(client, LOG.submission(8, 16))

    assert ((409, "8\n"), 200) == ((other.status_code, other.text), continued.status_code)


def test_two_states(settings: WitnessSettings) -> None:
    """Where the two folders contradict each other, nothing is cosigned."""
    with served(settings) as client:
        submit(client, LOG.submission(0, 5))
        (file,) = settings.state.glob("*.checkpoint")
        file.write_text(LOG.rewritten(0).note(5))

        assert 503 == submit(client, LOG.submission(5, 8)).status_code


def test_damaged_state(settings: WitnessSettings) -> None:
    """A damaged file of the state, or two that contradict each other, prevent the start, which names both."""
    with served(settings) as client:
        submit(client, LOG.submission(0, 5))
    (path,) = settings.state.glob("*.checkpoint")
    note = path.read_text("utf-8")
    for damaged in (note[:60], note.replace(ORIGIN, "another/log")):
        path.write_text(damaged, "utf-8")
        with pytest.raises(ServerError, match=f"the last checkpoint of {ORIGIN} in {path} and "), served(settings):
            pass


def _damage(settings: WitnessSettings, backup: Path) -> None:
    (path,) = settings.state.glob("*.checkpoint")
    path.write_text("damaged")


def _remove(settings: WitnessSettings, backup: Path) -> None:
    for folder in (settings.state, settings.state.with_name("state.kept")):
        shutil.rmtree(folder)


def _empty(settings: WitnessSettings, backup: Path) -> None:
    _remove(settings, backup)
    settings.state.mkdir()
    settings.state.with_name("state.kept").mkdir()


def _restore(settings: WitnessSettings, backup: Path) -> None:
    _remove(settings, backup)
    for folder in (settings.state, settings.state.with_name("state.kept")):
        shutil.copytree(backup, folder)


@pytest.mark.parametrize("change", [_damage, _remove, _empty, _restore])
def test_state_changed_while_running(
    settings: WitnessSettings,
    tmp_path: Path,
    change: Callable[[WitnessSettings, Path], None],
) -> None:
    """A witness whose state was damaged, removed or put back cosigns nothing, and is not ready, until it is back."""
    folders = settings.state, settings.state.with_name("state.kept")
    with observed(settings) as (client, metrics, _):
        submit(client, LOG.submission(0, 5))
        shutil.copytree(settings.state, tmp_path / "backup")
        submit(client, LOG.submission(5, 8))
        for folder in folders:
            shutil.copytree(folder, folder.with_name(f"{folder.name}.true"))
        change(settings, tmp_path / "backup")
        texts = [log.submission(old, 8) for log in (LOG, LOG.rewritten(0)) for old in (0, 5, 8)]
        replies = [submit(client, text) for text in texts]
        wait_for(lambda: metrics.get("/ready").status_code == 503)
        serving = metrics.get("/metrics").text
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_name(f"{folder.name}.true").rename(folder)
        wait_for(lambda: metrics.get("/ready").status_code == 200)
        continued = submit(client, LOG.submission(8, 16))

    assert {(503, "the witness can't read or write its state\n")} == {(one.status_code, one.text) for one in replies}
    assert "estelam_serving 0.0" in serving
    assert 200 == continued.status_code


def test_unwritable_state(settings: WitnessSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A witness that can't write its state is not ready, also where nobody submits a checkpoint, until it can."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with observed(settings) as (client, metrics, events):
        with monkeypatch.context() as full:
            full.setattr(state, "write_atomic", fail)
            wait_for(lambda: metrics.get("/ready").status_code == 503)
            refused = submit(client, LOG.submission(0, 5)).status_code
        wait_for(lambda: metrics.get("/ready").status_code == 200)
        accepted = submit(client, LOG.submission(0, 5)).status_code

    assert (503, 200) == (refused, accepted)
    assert ["no space left on device"] == [one["error"] for one in events if one["event"] == "witness.unhealthy"]


@contextmanager
def observed(settings: WitnessSettings) -> Iterator[tuple[httpx.Client, httpx.Client, list[Any]]]:
    """Run the witness; yield clients of it and of its metrics, and what it logs."""
    with capture_logs() as events, served(settings) as client:
        port = next(event["port"] for event in events if event["event"] == "metrics.started")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as metrics:
            yield client, metrics, events


def test_metrics(settings: WitnessSettings) -> None:
    """Each submission is counted by log and outcome; each new size is logged, and a flood of rejections sampled."""
    flood = LOG_QUOTA.burst + 20
    with observed(settings) as (client, metrics, events):
        before = metrics.get("/metrics").text
        for text in (LOG.submission(0, 5), LOG.submission(5, 5), LOG.submission(5, 8), LOG.submission(5, 8)):
            submit(client, text)
        submit(client, LOG.rewritten(0).submission(8, 8))
        submit(client, LOG.rewritten(7).submission(8, 9))
        submit(client, changed("\n8\n", "\n9\n"))
        for _ in range(flood):
            submit(client, Log(LOG.leaves, LOG.private, "log.example/2").submission(0, 8))
        submit(client, "a" * 200_000)
        found = metrics.get("/metrics").text

    assert f'estelam_witness_size{{origin="{ORIGIN}"}} 0.0' in before
    assert f'estelam_witness_size{{origin="{ORIGIN}"}} 8.0' in found
    expected = {
        (ORIGIN, "cosigned"): 3,
        (ORIGIN, "other_size"): 1,
        (ORIGIN, "contradiction"): 1,
        (ORIGIN, "not_consistent"): 1,
        (ORIGIN, "not_signed"): 1,
        ("", "unknown_log"): flood,
        ("", "too_large"): 1,
    }
    counted = re.findall(r'estelam_witness_checkpoints_total\{origin="(.*)",outcome="(.*)"\} ([0-9]+)', found)
    assert expected == {(origin, outcome): int(count) for origin, outcome, count in counted}
    assert [5, 8] == [event["size"] for event in events if event["event"] == "witness.cosigned"]
    logged = [event for event in events if event["event"] == "witness.rejected"]
    assert LOG_QUOTA.burst <= sum(event["reason"] == "unknown_log" for event in logged) < flood
    assert sum(expected.values()) - 3 == len(logged) + sum(event["unlogged"] for event in logged)
    assert 1 == [event["event"] for event in events].count("witness.contradiction")


def test_one_process(settings: WitnessSettings) -> None:
    """A second witness does not start on the state of another, nor any without its state."""
    with served(settings), pytest.raises(ServerError, match="another witness uses the folder"), served(settings):
        pass
    lost = settings.model_copy(update={"state": settings.state / "lost"})
    with pytest.raises(ServerError, match="there is no folder"), served(lost):
        pass


def test_foreign_log(tmp_path: Path) -> None:
    """The checkpoints and the proof of a log that we did not write are cosigned."""
    foreign = witness_settings(tmp_path, LOG).model_copy(
        update={"logs": (WitnessedLog(origin="monkeys", keys=(LOG_KEY,)),)}
    )
    hashes = "".join(f"{encode_base64(bytes.fromhex(each))}\n" for each in LOG_PROOF)
    with served(foreign) as client:
        replies = [submit(client, text) for text in (f"old 0\n\n{LOG_NOTES[0]}", f"old 5\n{hashes}\n{LOG_NOTES[1]}")]

    assert [200, 200] == [reply.status_code for reply in replies]


def test_foreign_library(client: httpx.Client, settings: WitnessSettings) -> None:
    """A library that we did not write accepts the checkpoint with the witness's cosignature."""
    foreign = pytest.importorskip("aics_tlog")
    note = foreign.parse_note(LOG.note(8) + submit(client, LOG.submission(5, 8)).text)
    keys = [foreign.parse_vkey(str(key_of(settings)))]

    assert foreign.verify_checkpoint(note, foreign.parse_vkey(str(LOG.key)), witness_keys=keys, quorum=1).ok
    assert Frontier().append(LOG.leaves[:8]).root == foreign.parse_checkpoint(note.text).root
