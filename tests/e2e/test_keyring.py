"""`estelam keyring`: rotation, and destruction of a key, after which no search claims that nothing was there."""

import errno
from contextlib import closing
from datetime import datetime, time, timedelta
from pathlib import Path

import pytest

from development.sandbox import Sandbox
from estelam.cli.commands import keyring
from estelam.core import dates, keyring_file
from estelam.core.clock import TEHRAN, Clock, to_micros
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from estelam.ledger import key_destructions
from estelam.storage.base import StoreError
from estelam.storage.store import Store
from tests.conftest import Start, both_engines, promissory_opening
from tests.e2e.conftest import LIVE, CommandLine, caller

pytestmark = pytest.mark.slow

BY = ("--operator", "Operations", "--reason", "retention period over", "--within-retention")
DESTROY = ("keyring", "destroy", "promissory", "k1", "--irreversibly", *BY)
REPORT = ("ledger", "subject-report", "promissory", LIVE["obligor"])


def answer(sandbox: Sandbox, start: Start) -> None:
    service = start(promissory_opening(sandbox, shutdown_delay_seconds=0))
    with caller(sandbox, service.address) as ask:
        assert ANSWER_YES == ask()
    service.close()


@pytest.fixture
def rotated(loaded: Sandbox, start: Start) -> CommandLine:
    """A ledger with an answer under each of two keys."""
    command = CommandLine(loaded)
    answer(loaded, start)
    assert [0, 0] == [command("keyring", name, "promissory", "k2").code for name in ("add", "use")]
    answer(loaded, start)
    return command


def test_rotation(rotated: CommandLine) -> None:
    """A new key is known before it is used, and the entries under both are found."""
    keys = rotated("keyring", "show", "promissory", "--json").json
    found = rotated(*REPORT, "--json").json

    assert [("k1", "known", 0), ("k2", "in use", 3)] == [(key["key"], key["state"], key["first_index"]) for key in keys]
    assert (2, []) == (len(found["inquiries"]), found["not_searched"])


def test_destroyed_key(rotated: CommandLine, start: Start) -> None:
    """After the destruction of a key its entries are named as not searched; the ledger stays valid, and goes on."""
    assert 0 == rotated("keyring", "destroy", "promissory", "k1", "--irreversibly", *BY).code
    found = rotated(*REPORT, "--json").json
    shown, recalled = rotated(*REPORT).out, rotated("promissory", "recall", "--since", "1", "--settle", "0")
    [gap] = found["not_searched"]
    answer(rotated.sandbox, start)

    assert (["k2"], 1, "k1", 0, 3) == (
        found["keys"],
        len(found["inquiries"]),
        gap["key_id"],
        gap["first_index"],
        gap["next_index"],
    )
    for text in (shown, recalled.err):
        assert "NOT SEARCHED: entries under key k1, from 0 (" in text
        assert "the key was destroyed on" in text
    assert 2 == len(rotated(*REPORT, "--json").json["inquiries"])
    assert 0 == rotated("ledger", "verify", "promissory").code
    keys = rotated("keyring", "show", "promissory", "--json").json
    assert [("k1", "destroyed", "Operations"), ("k2", "in use", None)] == [
        (key["key"], key["state"], key["destroyed_by"]) for key in keys
    ]


def notes(sandbox: Sandbox) -> list[tuple[str, str]]:
    """Return key and reason of each destruction that the ledger notes."""
    with closing(Store(sandbox.promissory().store)) as store, store.transaction() as connection:
        return [(note.key_id, note.reason) for note in key_destructions.notes(connection, iter)]


def test_destruction_is_noted_first(rotated: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger notes who destroys a key before it is erased; after a crash in between the command is repeated."""

    def crash(*_: object) -> None:
        raise OSError(errno.EIO, "crash")

    destroy, path = ("keyring", "destroy", "promissory", "k1", "--irreversibly", *BY), keyring_path(rotated.sandbox)
    before = path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(keyring_file, "write", crash)
        crashed = rotated(*destroy)
    after_crash = path.read_bytes(), notes(rotated.sandbox)
    again = rotated(*destroy)

    assert (21, (before, [("k1", "retention period over")])) == (crashed.code, after_crash)
    assert (0, 2) == (again.code, len(notes(rotated.sandbox)))
    assert 0 == rotated("ledger", "verify", "promissory").code


@both_engines
def test_key_stays_without_a_note(rotated: CommandLine) -> None:
    """Where the ledger can't be written, the key is not destroyed."""
    signing_key = rotated.sandbox.promissory().signing_key
    signing_key.rename(signing_key.with_suffix(".away"))
    before = keyring_path(rotated.sandbox).read_bytes()
    result = rotated("keyring", "destroy", "promissory", "k1", "--irreversibly", *BY)

    assert (21, before) == (result.code, keyring_path(rotated.sandbox).read_bytes())


def test_destroyed_key_is_not_used_again(rotated: CommandLine) -> None:
    """An id that the ledger notes as destroyed is neither used nor given again, whatever the keyring holds."""
    path = keyring_path(rotated.sandbox)
    older = path.read_bytes()
    assert 0 == rotated(*DESTROY).code
    path.write_bytes(older)
    used = rotated("keyring", "use", "promissory", "k1")
    path.write_bytes(older.splitlines(keepends=True)[-1])
    added = rotated("keyring", "add", "promissory", "k1", "--json")

    for result, text in ((used, used.err), (added, added.json["error"])):
        assert (2, True) == (result.code, "Operations destroyed the key of this id on" in text)
    assert older.splitlines(keepends=True)[-1] == path.read_bytes()


def keyring_path(sandbox: Sandbox) -> Path:
    """Return the file of the keyring."""
    return sandbox.promissory().hmac_keyring


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("destroy", "promissory", "k2", "--irreversibly", *BY), "new entries are hashed with it"),
        (("destroy", "promissory", "k1", *BY), "give --irreversibly"),
        (("destroy", "promissory", "k9", "--irreversibly", *BY), "has the keys k1, k2"),
        (("add", "promissory", "k1"), "has a key of this id"),
        (("add", "promissory", "k 3"), "give an id of letters"),
        (("use", "promissory", "k9"), "has the keys k1, k2"),
    ],
)
def test_refusals(rotated: CommandLine, words: tuple[str, ...], problem: str) -> None:
    """A key that is in use is not destroyed, none by accident, and no id is given twice; the file is unchanged."""
    path = rotated.sandbox.promissory().hmac_keyring
    before = path.read_bytes()
    result = rotated("keyring", *words)

    assert (2, True, before) == (result.code, problem in result.err, path.read_bytes())


def test_lost_line_is_an_error(rotated: CommandLine) -> None:
    """A line that is missing without the note that its key was destroyed refuses the search."""
    path = rotated.sandbox.promissory().hmac_keyring
    path.write_text("".join(path.read_text("ascii").splitlines(keepends=True)[1:]), "ascii")

    assert (21, "") == (rotated(*REPORT).code, rotated(*REPORT).out)


def test_destroyed_key_in_use_is_refused(rotated: CommandLine) -> None:
    """A keyring whose last key is destroyed is refused: new entries need a key."""
    path = rotated.sandbox.promissory().hmac_keyring
    path.write_text(path.read_text("ascii") + "k3 destroyed 2026-01-01\n", "ascii")
    result = rotated(*REPORT)

    assert (21, True) == (result.code, "the last key, which hashes new entries, is destroyed" in result.err)


def test_destroyed_key_that_returns(rotated: CommandLine, start: Start) -> None:
    """A key that the ledger notes as destroyed is refused wherever it returns, until it is destroyed again."""
    path = keyring_path(rotated.sandbox)
    before = path.read_bytes()
    assert 0 == rotated(*DESTROY).code
    path.write_bytes(before)
    searches = [rotated(*REPORT), rotated("promissory", "recall", "--since", "1", "--settle", "0")]
    with pytest.raises(StoreError, match="the keyring holds the key k1, which Operations destroyed on"):
        start(promissory_opening(rotated.sandbox))
    [shown, _] = rotated("keyring", "show", "promissory", "--json").json
    again = rotated(*DESTROY)

    for search in searches:
        assert (21, "", True) == (search.code, search.out, "run `estelam keyring destroy` for k1 again" in search.err)
    assert ("destroyed, but present", "Operations") == (shown["state"], shown["destroyed_by"])
    assert 0 == again.code
    answer(rotated.sandbox, start)
    assert 2 == len(rotated(*REPORT, "--json").json["inquiries"])


def test_lost_note(rotated: CommandLine) -> None:
    """A destroyed key whose note was lost with the end of the ledger is noted anew, once, and its day stays."""
    path = keyring_path(rotated.sandbox)
    lines = path.read_text("ascii").splitlines()
    path.write_text(f"k1 destroyed 2026-01-01\n{lines[1]}\n", "ascii")
    [lost, _] = rotated("keyring", "show", "promissory", "--json").json
    noted, again = rotated(*DESTROY), rotated(*DESTROY)
    [shown, _] = rotated("keyring", "show", "promissory", "--json").json

    assert ("destroyed, not noted", None) == (lost["state"], lost["destroyed_by"])
    assert (0, 2, [("k1", "retention period over")]) == (noted.code, again.code, notes(rotated.sandbox))
    assert ("destroyed", "2026-01-01", "Operations") == (shown["state"], shown["destroyed_on"], shown["destroyed_by"])


def test_day_in_iran(rotated: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """At half past midnight in Iran a key is destroyed on the new day there, in the file, the ledger and all texts."""
    tomorrow = dates.today(Clock().now()) + timedelta(days=1)
    then = datetime.combine(tomorrow, time(0, 30), TEHRAN)
    monkeypatch.setattr(keyring, "Clock", lambda: Clock(lambda: to_micros(then)))
    destroyed = rotated(*DESTROY)
    again = rotated(*DESTROY)
    line = keyring_path(rotated.sandbox).read_text("ascii").splitlines()[0]
    keyring_path(rotated.sandbox).write_text("".join(keyring_path(rotated.sandbox).read_text("ascii").splitlines()[1:]))
    added = rotated("keyring", "add", "promissory", "k1")

    assert f"k1 destroyed {tomorrow}" == line
    for text in (destroyed.out, again.err, added.err):
        assert dates.format_both(tomorrow) in " ".join(text.split())


def test_retention(rotated: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key whose newest entries are younger than the retention is destroyed only if that is confirmed."""
    words, path = tuple(word for word in DESTROY if word != "--within-retention"), keyring_path(rotated.sandbox)
    before = path.read_bytes()
    refused = rotated(*words)
    after = path.read_bytes()
    monkeypatch.setattr(key_destructions, "RETENTION", timedelta(0))
    destroyed = rotated(*words, "--json")

    assert (2, before) == (refused.code, after)
    assert "nobody could find entries under key k1, from 0 (" in refused.err
    assert "give --within-retention" in refused.err
    assert 0 == destroyed.code
    assert destroyed.json["not_searched"].startswith("entries under key k1, from 0 (")
