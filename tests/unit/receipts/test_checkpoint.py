"""Checkpoints: signed and parsed in C2SP's form, and read strictly."""

from pathlib import Path

import pytest

from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.core.clock import Clock
from estelam.core.keys import SigningKey, VerifyingKey, verifying_keys
from estelam.core.note_keys import NoteKey
from estelam.receipts import checkpoint
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.problems import InvalidReceipt, ReceiptProblem
from judiciary import methods as judiciary
from judiciary.settings import JudiciarySettings
from promissory import methods as promissory
from promissory.settings import PromissorySettings
from tests.support import go_log

ORGANIZATION = "99000554330"
ORIGIN = checkpoint.origin_of("promissory", ORGANIZATION)
HEAD = Checkpoint(ORIGIN, 20852163, bytes(range(32)))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signing certificate, with its key beside it."""
    return DevCertificateAuthority.create(tmp_path_factory.mktemp("pki")).issue_signing("signing", ORGANIZATION)


@pytest.fixture(scope="module")
def signer(certificate: Path) -> SigningKey:
    """The key that signs."""
    return SigningKey.load(certificate.with_suffix(".key"), [certificate])


@pytest.fixture(scope="module")
def keys(certificate: Path) -> dict[str, VerifyingKey]:
    """The keys that verify."""
    return verifying_keys([certificate])


@pytest.fixture(scope="module")
def note(signer: SigningKey) -> str:
    """A signed checkpoint."""
    return checkpoint.sign(HEAD, signer, Clock().micros())


def test_form(note: str) -> None:
    """A note is origin, size and root, an empty line, and the signature line of the key that has the origin's name."""
    origin, size, root, empty, signature = note.removesuffix("\n").split("\n")

    assert ("estelam/promissory/99000554330", "20852163", "") == (origin, size, empty)
    assert "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" == root
    assert signature.startswith(f"— {origin} ")


def test_verified(note: str, signer: SigningKey, keys: dict[str, VerifyingKey]) -> None:
    """A signed checkpoint is verified; the certificate's organisation is known."""
    assert (HEAD, signer.key_id) == checkpoint.verify(note, keys)
    assert ORGANIZATION == signer.verifying_key.organization_id


def test_cosignature_is_no_obstacle(note: str, keys: dict[str, VerifyingKey]) -> None:
    """Signatures of unknown keys beside the log's own are passed over; alone they prove nothing."""
    line = note.splitlines()[-1]
    foreign = line.replace(ORIGIN, "witness.example/w1")

    assert checkpoint.verify(f"{note}{foreign}\n", keys)[0] == HEAD
    with pytest.raises(InvalidReceipt) as caught:
        checkpoint.verify(note.replace(line, foreign), keys)
    assert caught.value.problem is ReceiptProblem.UNKNOWN_KEY


def test_every_changed_byte(note: str, keys: dict[str, VerifyingKey]) -> None:
    """Whatever character of a note changes, it is no longer valid."""
    for place in range(len(note)):
        for other in ("\n", "A", "0", " ", "—", "\0", "="):
            changed = note[:place] + other + note[place + 1 :]
            if changed != note:
                with pytest.raises(InvalidReceipt):
                    checkpoint.verify(changed, keys)


@pytest.mark.parametrize(
    "change",
    [
        lambda note: note.removesuffix("\n"),
        lambda note: note + "\n",
        lambda note: "\n" + note,
        lambda note: note.replace("\n", "\r\n"),
        lambda note: note.replace("20852163", "020852163"),
        lambda note: note.replace("20852163", "+20852163"),
        lambda note: note.replace("20852163", "۲۰۸۵۲۱۶۳"),
        lambda note: note.replace("20852163", "9" * 5000),
        lambda note: note.replace("\n\n", "\nextension\n\n"),
        lambda note: note.replace("\n\n", "\n"),
        lambda note: note.replace("Hh8=\n", "Hh9=\n"),  # another base64 form of the same bytes
        lambda note: note.replace("AAEC", "AA EC"),
        lambda note: note + "— name AAAA\n",
        lambda note: note + "— name AAAAAA==\n" * 2000,
        lambda note: note.partition("\n\n")[0] + "\n\n",
        lambda _: "",
    ],
)
def test_malformed(note: str, change: object) -> None:
    """What is not exactly a checkpoint is not read."""
    with pytest.raises(ValueError, match=r"not |too short"):
        checkpoint.parse(change(note))  # type: ignore[operator]


def test_notes_of_a_file(note: str) -> None:
    """A file of several notes is split; anything between them is refused."""
    assert [note, note] == list(checkpoint.parse_all(f"{note}\n{note}"))
    assert [] == list(checkpoint.parse_all("\n"))
    with pytest.raises(ValueError, match="remark"):
        list(checkpoint.parse_all(f"{note}remark\n{note}"))


def test_ledger_of_method() -> None:
    """A service's ledger bears the name by which a verifier knows that it is of the service's methods, and no other."""
    services = {PromissorySettings.SECTION: promissory.SERVICE, JudiciarySettings.SECTION: judiciary.SERVICE}
    names = {section: checkpoint.origin_of(section, ORGANIZATION) for section in services}
    found = {(section, of) for section in services for of in services if is_of(names[section], services[of])}

    assert {("promissory", "promissory"), ("judiciary", "judiciary")} == found


def is_of(origin: str, service: str) -> bool:
    return checkpoint.is_of_method(origin, f"{service}/Method")


@go_log.needs_go
def test_go_library(note: str, signer: SigningKey) -> None:
    """Go's package for signed notes verifies our checkpoint with our key in C2SP's form, and no changed one."""
    key = str(NoteKey(ORIGIN, signer.key.public_key()))
    other = note.replace("20852163", "20852164")

    assert [True, False] == go_log.verdicts(go_log.signed_note(key, each) for each in (note, other))


def test_foreign_library(note: str, signer: SigningKey) -> None:
    """A library that we did not write verifies our checkpoint with our key in C2SP's form."""
    foreign = pytest.importorskip("aics_tlog")
    public = signer.key.public_key()

    parsed = foreign.parse_note(note)
    key = foreign.parse_vkey(str(NoteKey(ORIGIN, public)))
    found = foreign.parse_checkpoint(parsed.text)

    assert foreign.verify_checkpoint(parsed, key, expected_origin=ORIGIN).ok
    assert (ORIGIN, HEAD.size, HEAD.root) == (found.origin, found.size, found.root)
    assert foreign.vkey_from_ed25519(ORIGIN, public) == key
