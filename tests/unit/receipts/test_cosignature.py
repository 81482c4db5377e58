"""Cosignatures and the keys of witnesses, in C2SP's forms."""

import base64
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.core.clock import Clock
from estelam.core.keys import SigningKey
from estelam.core.note_keys import KeyKind, NoteKey, read_keys
from estelam.core.pem import KeyFileError
from estelam.receipts import checkpoint, cosignature
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.cosignature import Cosignature, Cosigner
from estelam.receipts.note import SignatureLine
from estelam.receipts.problems import END_OF_TIME, InvalidReceipt, ReceiptProblem
from estelam.receipts.tree import is_consistent
from tests.support import go_log

ORGANIZATION = "99000554330"
HEAD = Checkpoint(checkpoint.origin_of("promissory", ORGANIZATION), 20852163, bytes(range(32)))
SECONDS = 1_679_315_147

# The witness's key, the log's key and its checkpoints in the tests of github.com/transparency-dev/witness.
WITNESS_SEED = base64.b64decode("AaLa/dfyBhyo/m0Z7WCi98ENVZWtrP8pxgRNrx7tIWiA")[1:]
LOG_KEY = "monkeys+db4d9f7e+AULaJMvTtDLHPUcUrjdDad9vDlh/PTfC2VV60JUtCfWT"
LOG_NOTES = (
    """monkeys
5
41smjBUiAU70EtKlT6lIOIYtRTYxYXsDB+XHfcvu/BE=

— monkeys 202fftzGl3LVoqjXfwCFZZXs8I+5G22+Ek2K0AOyBuSJ/8/CZawNF+6fNlTKOCd622pbzJNkkJFWuw9DbicZCkEx9AY=
""",
    """monkeys
8
V8K9aklZ4EPB+RMOk1/8VsJUdFZR77GDtZUQq84vSbo=

— monkeys 202ffoUEboiQYpHzICeaFmoy3RNviHTpAxYrq/eO4QQVQMvu9UebKBMX2MJC76NLthZaKsnKbCA8GxrjePZhvDCH7Ag=
""",
)
LOG_PROOF = (
    "b9e1d62618f7fee8034e4c5010f727ab24d8e4705cb296c374bf2025a87a10d2",
    "aac66cd7a79ce4012d80762fe8eec3a77f22d1ca4145c3f4cee022e7efcd599d",
    "89d0f753f66a290c483b39cd5e9eafb12021293395fad3d4a2ad053cfbcfdc9e",
    "29e40bb79c966f4c6fe96aff6f30acfce5f3e8d84c02215175d6e018a5dee833",
)
# The key of a public witness and an example of C2SP tlog-cosignature.
PUBLIC_WITNESS = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
SPECIFIED_LINE = (
    "— witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA=="
)


def cosigner(name: str = "witness.example/w1") -> Cosigner:
    """A witness with a new key."""
    private = Ed25519PrivateKey.generate()
    return Cosigner(NoteKey(name, private.public_key(), KeyKind.COSIGNATURE), private)


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    """The key of the ledger."""
    certificate = DevCertificateAuthority.create(tmp_path_factory.mktemp("pki")).issue_signing("signing", ORGANIZATION)
    return SigningKey.load(certificate.with_suffix(".key"), [certificate])


@pytest.fixture(scope="module")
def note(signer: SigningKey) -> str:
    """A checkpoint signed by its ledger."""
    return checkpoint.sign(HEAD, signer, Clock().micros())


def test_verified(note: str) -> None:
    """Cosignatures are verified with the keys of their witnesses; of one witness's, the earliest counts."""
    first, second = cosigner(), cosigner("witness.example/w2")
    cosigned = note + first.cosign(HEAD.body, SECONDS + 1) + first.cosign(HEAD.body, SECONDS)
    cosigned += second.cosign(HEAD.body, SECONDS + 2)

    assert cosignature.verify(cosigned, [first.key, second.key]) == [
        Cosignature("witness.example/w1", SECONDS),
        Cosignature("witness.example/w2", SECONDS + 2),
    ]
    assert [] == cosignature.verify(cosigned, [cosigner().key])  # the name of the first, another key
    assert [] == cosignature.verify(note, [first.key])


def test_ledger_key_is_no_witness(note: str) -> None:
    """A line of one kind is never taken for one of the other, even by the same key under the same name."""
    private = Ed25519PrivateKey.generate()
    same = Cosigner(NoteKey(HEAD.origin, private.public_key(), KeyKind.COSIGNATURE), private)

    line = SignatureLine.parse(same.cosign(HEAD.body, SECONDS).removesuffix("\n"))

    assert line.is_of(same.key)
    assert not line.is_of(replace(same.key, kind=KeyKind.NOTE))


@pytest.mark.parametrize("place", [4, 11, 12, 75])  # time and signature, first and last byte
def test_wrong_cosignature(note: str, place: int) -> None:
    """A line that names a witness and is not its cosignature of this checkpoint makes the note invalid."""
    witness = cosigner()
    line = witness.cosign(HEAD.body, SECONDS)
    content = bytearray(base64.b64decode(line.split()[2]))
    content[place] ^= 1
    damaged = f"— {witness.key.name} {base64.b64encode(content).decode()}\n"
    short = f"— {witness.key.name} {base64.b64encode(content[:-1]).decode()}\n"
    other = witness.cosign(replace(HEAD, size=HEAD.size - 1).body, SECONDS)
    late = witness.cosign(HEAD.body, END_OF_TIME // 1_000_000)

    for wrong in (damaged, short, other, late):
        with pytest.raises(InvalidReceipt) as caught:
            cosignature.verify(note + line + wrong, [witness.key])
        assert caught.value.problem is ReceiptProblem.WRONG_COSIGNATURE


def test_extension_lines() -> None:
    """A cosignature covers the extension lines that a foreign log may add to its checkpoints."""
    witness = cosigner()
    body = f"{HEAD.body}extension\n"
    signed = f"{body}\n{witness.cosign(body, SECONDS)}"

    assert [Cosignature(witness.key.name, SECONDS)] == cosignature.verify(signed, [witness.key])
    with pytest.raises(InvalidReceipt):
        cosignature.verify(signed.replace("extension", "extensiom"), [witness.key])
    with pytest.raises(ValueError, match="not a checkpoint"):
        checkpoint.parse(signed)


def test_sixteen_signatures(note: str) -> None:
    """A note with sixteen signatures of the longest specified kind is read, as C2SP signed-note demands."""
    longest = base64.b64encode(bytes(4 + 8 + 2420)).decode()
    lines = "".join(f"— witness.example/w{number} {longest}\n" for number in range(15))
    witness = cosigner()

    assert cosignature.verify(note + lines + witness.cosign(HEAD.body, SECONDS), [witness.key])


def test_foreign_vectors() -> None:
    """Keys, checkpoints and a consistency proof of a witness that we did not write are read as it reads them."""
    log, private = NoteKey.parse(LOG_KEY, KeyKind.NOTE), Ed25519PrivateKey.from_private_bytes(WITNESS_SEED)
    old, new = (checkpoint.parse(text) for text in LOG_NOTES)
    for parsed in (old, new):
        (line,) = parsed.signatures
        assert line.is_of(log)
        log.public.verify(line.signature, parsed.body.encode())
    sizes = old.checkpoint.size, old.checkpoint.root, new.checkpoint.size, new.checkpoint.root
    line = SignatureLine.parse(SPECIFIED_LINE)

    assert "witness+f13a86db+" in str(NoteKey("witness", private.public_key()))
    assert PUBLIC_WITNESS == str(NoteKey.parse(PUBLIC_WITNESS, KeyKind.COSIGNATURE))
    assert (LOG_KEY, (5, 8)) == (str(log), (old.checkpoint.size, new.checkpoint.size))
    assert is_consistent(*sizes, [bytes.fromhex(each) for each in LOG_PROOF])
    assert ("witness.example.com/w1", 1_679_315_147) == (line.name, int.from_bytes(line.signature[:8]))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "give NAME"),
        ("witness.example", "give NAME"),
        ("witness.example+da77ade7", "give NAME"),
        (PUBLIC_WITNESS.replace("remora", "rem ora"), "give NAME"),
        (PUBLIC_WITNESS.replace("remora", "rimora"), "damaged"),
        (PUBLIC_WITNESS.replace("BOvN6", "BOvN7"), "damaged"),
        (PUBLIC_WITNESS.replace("da77ade7", "00000000"), "damaged"),
        (PUBLIC_WITNESS + "=", "base64"),
        (PUBLIC_WITNESS[:-4], "not an Ed25519 key"),
        (LOG_KEY, "not an Ed25519 key that cosigns"),
    ],
)
def test_malformed_key(text: str, problem: str, tmp_path: Path) -> None:
    """What is no verifier key of a witness is refused with the reason, and the file's name."""
    with pytest.raises(ValueError, match=problem):
        NoteKey.parse(text, KeyKind.COSIGNATURE)
    (tmp_path / "keys").write_text(f"# a comment\n\n{text}\n")
    with pytest.raises(KeyFileError, match=f"keys: .*{problem if text else 'no verifier key'}"):
        read_keys(tmp_path / "keys", KeyKind.COSIGNATURE)


def test_key_files(tmp_path: Path) -> None:
    """A file holds any number of verifier keys and comments; a witness's own key is read from PEM."""
    (tmp_path / "keys").write_text(f"# witnesses\n{PUBLIC_WITNESS}\r\n\n{cosigner().key}\n")
    pem = DevCertificateAuthority.create(tmp_path / "pki").issue_signing("witness", ORGANIZATION).with_suffix(".key")
    own = Cosigner.load("witness.example/w1", pem)

    assert [PUBLIC_WITNESS, "witness.example/w1"] == [
        str(read_keys(tmp_path / "keys", KeyKind.COSIGNATURE)[0]),
        read_keys(tmp_path / "keys", KeyKind.COSIGNATURE)[1].name,
    ]
    assert own.key == NoteKey.parse(str(own.key), KeyKind.COSIGNATURE)
    with pytest.raises(KeyFileError, match="not an Ed25519 private key"):
        Cosigner.load("witness.example/w1", tmp_path / "pki" / "ca.key")


def test_foreign_library(note: str, signer: SigningKey) -> None:
    """A library that we did not write accepts our cosignatures, and only as many as there are."""
    foreign = pytest.importorskip("aics_tlog")
    witnesses = [cosigner(), cosigner("witness.example/w2")]
    lines = "".join(witness.cosign(HEAD.body, SECONDS) for witness in witnesses)
    log = foreign.parse_vkey(str(NoteKey(HEAD.origin, signer.key.public_key())))
    keys = [foreign.parse_vkey(str(witness.key)) for witness in (*witnesses, cosigner("witness.example/w3"))]

    def quorum(count: int) -> bool:
        found = foreign.verify_checkpoint(
            foreign.parse_note(note + lines), log, witness_keys=keys, quorum=count, expected_origin=HEAD.origin
        )
        return bool(found.ok)

    assert [True, True, False] == [quorum(1), quorum(2), quorum(3)]


@go_log.needs_go
def test_go(note: str, signer: SigningKey) -> None:
    """Go's own packages open a cosigned checkpoint with the ledger's key and with each witness's, and with no other."""
    witnesses = [cosigner(), cosigner("witness.example/w2")]
    cosigned = note + "".join(witness.cosign(HEAD.body, SECONDS) for witness in witnesses)
    keys = [NoteKey(HEAD.origin, signer.key.public_key()), *(witness.key for witness in witnesses), cosigner().key]
    wrong = note + witnesses[0].cosign("another checkpoint\n", SECONDS)
    claims = [*((key, cosigned) for key in keys), (witnesses[0].key, wrong)]

    assert [True, True, True, False, False] == go_log.verdicts(
        go_log.signed_note(str(key), text) for key, text in claims
    )
