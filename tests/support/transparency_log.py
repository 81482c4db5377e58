"""A transparency log in memory, which can also misbehave, and a witness that serves it."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from estelam.core.clock import Clock
from estelam.core.note_keys import NoteKey
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.note import signature_line
from estelam.receipts.proofs import consistency_text
from estelam.receipts.tree import Frontier, leaf_hash, node_hash, prove_consistency
from estelam.web.event_loop import run_in_event_loop
from estelam.witness.app import run_witness
from estelam.witness.settings import WitnessedLog, WitnessSettings
from tests.support.service import RunningService

ORIGIN = "log.example/1"
WITNESS = "witness.example/w1"


class Log:
    """A log of *leaves*, hashes, which signs whatever it is asked to."""

    def __init__(self, leaves: Sequence[bytes], private: Ed25519PrivateKey | None = None, origin: str = ORIGIN) -> None:
        self.leaves = list(leaves)
        self.private = private or Ed25519PrivateKey.generate()
        self.key = NoteKey(origin, self.private.public_key())

    @classmethod
    def of(cls, *texts: str) -> "Log":
        """A log with an entry of each text."""
        return cls([leaf_hash(text.encode()) for text in texts])

    def rewritten(self, first: int) -> "Log":
        """The same log, signed by the same key, with other entries from *first* on."""
        others = [leaf_hash(b"other" + leaf) for leaf in self.leaves[first:]]
        return Log(self.leaves[:first] + others, self.private, self.key.name)

    def note(self, size: int | None = None, extension: str = "") -> str:
        """The checkpoint of the first *size* entries, by default of all."""
        leaves = self.leaves[:size]
        root = Frontier().append(leaves).root if leaves else Frontier().root
        body = Checkpoint(self.key.name, len(leaves), root).body + extension
        return f"{body}\n{signature_line(self.key, self.private.sign(body.encode()))}"

    def submission(self, old: int, size: int | None = None, extension: str = "") -> str:
        """The checkpoint of *size* entries with the proof that it continues that of *old*, as a witness takes it."""
        size = len(self.leaves) if size is None else size
        proof = prove_consistency(min(old, size), size, self._node)
        return consistency_text(old, proof, self.note(size, extension))

    def _node(self, level: int, index: int) -> bytes:
        if level == 0:
            return self.leaves[index]
        return node_hash(self._node(level - 1, 2 * index), self._node(level - 1, 2 * index + 1))


def witness_settings(folder: Path, *logs: Log, name: str = WITNESS) -> WitnessSettings:
    """Settings of a witness of *logs* with a new key and no memory, in *folder*."""
    (folder / "state").mkdir(parents=True)
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "witness.key").write_bytes(key)
    return WitnessSettings(
        name=name,
        private_key=folder / "witness.key",
        state=folder / "state",
        logs=tuple(WitnessedLog(origin=log.key.name, keys=(str(log.key),)) for log in logs),
        listen="127.0.0.1:0",
    )


@contextlib.contextmanager
def served(settings: WitnessSettings, clock: Clock | None = None) -> Iterator[httpx.Client]:
    """Run the witness; yield a client of it."""
    witness = run_witness(settings, clock or Clock())
    with (
        RunningService(lambda: run_in_event_loop(witness)) as running,
        httpx.Client(base_url=f"http://127.0.0.1:{running.port}", trust_env=False) as client,
    ):
        yield client
