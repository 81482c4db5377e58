"""A service whose settings name approvers takes no catalogue that two different ones of them have not signed."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from development.sandbox import Sandbox
from estelam.auth.authorization import Authorizer
from estelam.auth.grants import AccessConfigError
from estelam.catalogue.access_source import AccessSource
from estelam.catalogue.approval import ApprovalRule
from estelam.catalogue.change_file import Approver, ChangeFileError, change_path
from estelam.core.clock import Clock
from estelam.core.model import Caller
from estelam.core.settings import SettingsError
from estelam.server.file_check import check_serving_files
from judiciary.methods import LOOKUPS
from tests.conftest import promissory_opening
from tests.e2e.conftest import CommandLine, CommandResult

METHOD = next(iter(LOOKUPS))
CBI = Caller("99000712713")
QUOTA, MORE, MOST = (f"quota: {{ rate: {rate}, burst: 2000 }}" for rate in (1000, 2000, 3000))


@dataclass
class Board:
    """A catalogue, people with keys, and the source that a service loads it by."""

    folder: Path
    home: Path
    estelam: CommandLine
    people: dict[str, Path] = field(default_factory=dict)

    def person(self, name: str) -> Path:
        """The key of a person, made at first."""
        if name not in self.people:
            self.people[name] = self.home / f"{name}.pem"
            key = Ed25519PrivateKey.generate()
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            self.people[name].write_bytes(pem)
        return self.people[name]

    def sign(self, name: str, *words: str | Path, key: str = "") -> CommandResult:
        """Let a person sign the catalogue as it is."""
        who = "--name", name, "--key", self.person(key or name), "--reason", "a test"
        return self.estelam("catalogue", "approve", *who, "--catalogue", self.folder, *words)

    def approved(self, rate: str = QUOTA) -> None:
        """Edit the quotas, and let two approvers sign."""
        self.edit(rate)
        for name in ("rad", "amini"):
            done = self.sign(name)
            assert 0 == done.code, done.err

    def edit(self, quota: str) -> None:
        """Set the quotas of the Central Bank."""
        path = self.folder / "grants.yaml"
        text = path.read_text("utf-8")
        for old in (QUOTA, MORE, MOST):
            text = text.replace(old, quota)
        path.write_text(text, "utf-8")

    @property
    def keys(self) -> list[str]:
        """The verifier keys of the approvers."""
        return [str(Approver.load(name, self.person(name)).key) for name in ("rad", "amini", "karimi")]

    def source(self, *, keeps: bool = True) -> AccessSource:
        """What a service that starts loads the catalogue by."""
        keys = [Approver.load(name, self.person(name)).key for name in ("rad", "amini", "karimi")]
        return AccessSource(self.folder, ApprovalRule(keys, self.home / "kept", keeps))

    def saved(self) -> Callable[[], None]:
        """Save the folder as it is; return what puts it back."""
        copy = Path(shutil.copytree(self.folder, self.home / f"copy{len(list(self.home.iterdir()))}"))

        def put_back() -> None:
            shutil.rmtree(self.folder)
            shutil.copytree(copy, self.folder)

        return put_back


@pytest.fixture
def board(folder: Path, tmp_path: Path, estelam: CommandLine) -> Board:
    """A catalogue that nobody has signed."""
    return Board(folder, tmp_path, estelam)


def rate(authorizer: Authorizer) -> float:
    """The rate of the Central Bank's quota in force."""
    return authorizer.authorize(CBI, METHOD).quota.rate


def test_two_approvers(board: Board) -> None:
    """A catalogue is taken once two different approvers have signed it, and not before."""
    problems = []
    for name in ("rad", "amini"):
        with pytest.raises(ChangeFileError) as refused:
            board.source().load()
        problems.append(str(refused.value))
        assert 0 == board.sign(name).code

    assert board.source().load().grant
    assert "no change file approves it" in problems[0]
    assert "needs 2 different approvers of the settings, and has 1: rad" in problems[1]


@pytest.mark.parametrize(("name", "key"), [("rad", ""), ("rad2", "rad")])
def test_one_approver_twice(board: Board, name: str, key: str) -> None:
    """One person's key signs a change once, under whatever name; its line repeated in the file is one approval."""
    assert 0 == board.sign("rad").code
    again = board.sign(name, key=key)
    path = change_path(board.folder, 1)
    text = path.read_text("utf-8")
    path.write_text(text + text.splitlines(keepends=True)[-1], "utf-8")

    assert 2 == again.code
    assert "this key has signed change 1 already" in again.err
    with pytest.raises(ChangeFileError, match="and has 1: rad"):
        board.source().load()


def test_stranger_is_no_approver(board: Board) -> None:
    """A signature by a key that the settings do not name, also under an approver's name, is no approval."""
    assert [0, 0] == [board.sign("rad").code, board.sign("amini", key="stranger").code]

    with pytest.raises(ChangeFileError, match="and has 1: rad"):
        board.source().load()


@pytest.mark.parametrize("kept", [True, False])
def test_replay(board: Board, kept: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """An older state with its genuine change file is refused: by a running service, and by one that starts."""
    board.approved()
    older = board.saved()
    board.approved(MORE)
    running = board.source(keeps=kept)
    running.load()
    older()

    for source in [running, *([board.source()] if kept else [])]:
        with pytest.raises(ChangeFileError, match="an older state was put back"):
            source.load()


def test_return_to_an_older_state(board: Board) -> None:
    """The older state is taken as a new change; the earlier changes prove nothing for it."""
    board.approved()
    board.source().load()
    board.approved(MORE)
    board.source().load()

    board.approved(QUOTA)

    assert board.source().load().grant
    assert change_path(board.folder, 3).exists()


def test_file_of_an_earlier_change(board: Board) -> None:
    """An earlier change file under a later number, or with a number that was edited, approves nothing."""
    board.approved()
    board.approved(MORE)
    board.source().load()
    board.edit(QUOTA)
    first = change_path(board.folder, 1).read_text("utf-8")

    for text, problem in ((first, "is of change 1, not of 3"), (first.replace("number 1", "number 3"), "is wrong")):
        change_path(board.folder, 3).write_text(text, "utf-8")
        with pytest.raises(ChangeFileError, match=problem):
            board.source().load()


def test_edited_after_approval(board: Board) -> None:
    """A catalogue with any byte changed after its approval is refused, a comment too."""
    board.approved()
    path = board.folder / "parties.yaml"
    path.write_text(path.read_text("utf-8") + "# a comment\n", "utf-8")

    with pytest.raises(ChangeFileError, match="is not the state that change 1 approves"):
        board.source().load()


@pytest.mark.parametrize("spoiled", ["missing", "unsigned", "of another state"])
def test_changes_between(board: Board, spoiled: str) -> None:
    """A service that was stopped takes the newest state only if each change since follows the last and is approved."""
    board.approved()
    board.source().load()
    board.approved(MORE)
    board.approved(MOST)
    path = change_path(board.folder, 2)
    if spoiled == "missing":
        path.unlink()
    elif spoiled == "unsigned":
        path.write_text("".join(path.read_text("utf-8").splitlines(keepends=True)[:-1]), "utf-8")
    else:
        (board.home / "kept").write_text(f'{{"number": 1, "digest": "{"0" * 64}"}}', "utf-8")

    with pytest.raises(ChangeFileError):
        board.source().load()


def test_changes_while_stopped(board: Board) -> None:
    """A service that was stopped during several approved changes takes the newest state."""
    board.approved()
    board.source().load()
    board.approved(MORE)
    board.approved(MOST)

    assert 3000 == rate(Authorizer(board.source(), Clock()))


def test_reload_keeps_the_old_state(board: Board) -> None:
    """A running service keeps what was approved while a change is not, and takes the change once two have signed."""
    board.approved()
    ticks = iter(range(0, 1000, 10))
    authorizer = Authorizer(board.source(), Clock(monotonic=lambda: float(next(ticks))))
    rates, current = [rate(authorizer)], []
    board.edit(MORE)
    for sign in (None, "rad", "amini"):
        if sign:
            assert 0 == board.sign(sign).code
        rates.append(rate(authorizer))
        current.append(authorizer.is_current())

    assert [1000, 1000, 1000, 2000] == rates
    assert [False, False, True] == current


def test_unapproved_change_is_replaced(board: Board) -> None:
    """A change that one person has signed, and that is edited, is replaced: its number is that of the new one."""
    board.approved()
    board.edit(MORE)
    assert 0 == board.sign("rad").code
    board.approved(MOST)

    assert board.source().load().grant
    assert not change_path(board.folder, 3).exists()


def test_approver_leaves(board: Board) -> None:
    """Where an approver is taken from the settings, a third one's signature on the same change covers it again."""
    board.approved()
    board.source().load()
    keys = [Approver.load(name, board.person(name)).key for name in ("amini", "karimi")]
    source = AccessSource(board.folder, ApprovalRule(keys, board.home / "kept"))
    with pytest.raises(ChangeFileError, match="and has 1: amini"):
        source.load()

    assert 0 == board.sign("karimi").code

    assert source.load().grant


def test_what_is_signed(board: Board) -> None:
    """Before a signature the command prints what differs from the state before, and refuses another state."""
    board.approved()
    board.saved()
    before = next(path for path in board.home.iterdir() if path.name.startswith("copy"))
    board.edit(MORE)

    done = board.sign("rad", "--before", before, "--dry-run", "--json")
    wrong = board.sign("rad", "--before", board.folder)

    assert ["grants G16 changed quota.rate: 1000.0 → 2000.0", "grants G17 changed quota.rate: 1000.0 → 2000.0"] == (
        done.json["changes"]
    )
    assert (2, [1]) == (wrong.code, [int(path.stem) for path in (board.folder / "approved").iterdir()])


def test_check_keeps_nothing(board: Board, shared: Sandbox) -> None:
    """A check of the settings finds an uncovered catalogue, and does not keep the state as one that was in force."""
    kept, settings = board.home / "kept", {"access": board.folder, "access_approvers": tuple(board.keys)}
    uncovered = shared.promissory(**settings, kept_access=kept)
    with pytest.raises(ChangeFileError):
        check_serving_files(uncovered)
    board.approved()

    check_serving_files(uncovered)

    assert not kept.exists()


def test_access_table_is_refused(board: Board, shared: Sandbox) -> None:
    """An access table, for which there are no change files, is no way around the approvers."""
    settings = shared.promissory(access_approvers=tuple(board.keys))

    with pytest.raises(AccessConfigError, match="is an access table"):
        AccessSource.of(settings).load()


def test_settings_name_different_people(board: Board, shared: Sandbox) -> None:
    """One approver alone, one name for two keys, and one key under two names are refused in the settings."""
    rad = str(Approver.load("rad", board.person("rad")).key)
    same_key = str(Approver.load("amini", board.person("rad")).key)
    same_name = str(Approver.load("rad", board.person("amini")).key)

    for keys in ((rad,), (rad, rad), (rad, same_key), (rad, same_name), ("rad",)):
        with pytest.raises(SettingsError, match="--access-approvers: "):
            shared.promissory(access_approvers=keys)


def test_refused_kept_file(board: Board) -> None:
    """A kept file that is damaged is an error, not a first start."""
    board.approved()
    (board.home / "kept").write_text("{}", "utf-8")

    with pytest.raises(ChangeFileError):
        Authorizer(board.source(), Clock())


def test_service_refuses_to_start(board: Board, shared: Sandbox) -> None:
    """The service itself does not start on a catalogue that nobody has approved."""
    keys = tuple(board.keys)
    opening = promissory_opening(shared, access=board.folder, access_approvers=keys, kept_access=board.home / "kept")

    with pytest.raises(ChangeFileError, match="no change file approves it"), opening():
        pass
