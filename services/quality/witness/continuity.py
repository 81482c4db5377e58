"""Whether a ledger continues what was verified of it: computed from its own entries, against its signed checkpoints.

The monitor reads every entry anyway. So it needs no proof from the provider: it appends the entries' hashes to the tree
that it verified last, and compares the root with the one that the ledger has signed.
"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Connection, select

from estelam.core.clock import Clock
from estelam.core.keys import VerifyingKey, verifying_keys
from estelam.ledger.errors import LedgerCorruptError, fault_of
from estelam.ledger.proofs import note_of_size
from estelam.ledger.tables import checkpoint_table, last_checkpoint
from estelam.receipts import checkpoint
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.cosignature import Cosigner
from estelam.receipts.problems import InvalidReceipt, check_key
from estelam.receipts.tree import Frontier, leaf_hash
from quality.records import AlarmKind, VerifiedLedger
from quality.settings import QualitySettings


class Contradiction(Exception):  # noqa: N818 - an outcome, not a fault of the program
    """A ledger does not continue what was verified of it.

    Args:
        kind: How.
        note: Its newest checkpoint, a signed note; empty if it has none.
    """

    def __init__(self, kind: AlarmKind, note: str) -> None:
        super().__init__(kind.value)
        self.kind = kind
        self.note = note


@dataclass(frozen=True, slots=True)
class LedgerWitness:
    """What verifies one service's ledger, and cosigns it if there is a key for that."""

    keys: Mapping[str, VerifyingKey]
    clock: Clock
    cosigner: Cosigner | None = None

    @classmethod
    def of(cls, settings: QualitySettings, service: str, clock: Clock) -> "LedgerWitness":
        """Return the witness of the ledger of *service*.

        Raises:
            KeyFileError: a file of keys can't be used.
            OSError: a file can't be read.
        """
        retired = settings.ledger_retired_keys.get(service)
        key = settings.witness_key
        return cls(
            verifying_keys([settings.ledger_certificates[service]], retired),
            clock,
            Cosigner.load(settings.witness_name, key) if key else None,
        )

    @property
    def name(self) -> str:
        """The verifier key that cosigns; empty if none does."""
        return str(self.cosigner.key) if self.cosigner else ""

    def extend(self, verified: VerifiedLedger, leaves: Iterable[bytes], note: str, micros: int) -> VerifiedLedger:
        """Return the ledger after *leaves*, serialized entries that *note* covers and that were signed at *micros*.

        Raises:
            Contradiction: they and what was verified before do not give the root that the note states.
            LedgerCorruptError, LedgerUncheckedError: the note is not signed by a key that was valid then.
        """
        head = self._verify(note, micros)
        hashes = [leaf_hash(leaf) for leaf in leaves]
        is_same_ledger = not verified.note or _parse(verified.note).origin == head.origin
        grown = verified.tree.append(hashes) if hashes and is_same_ledger else None
        if grown is None or (grown.size, grown.root) != (head.size, head.root):
            raise Contradiction(AlarmKind.FORK, note)
        counted_until = max(micros, verified.counted_until_micros)
        return replace(verified, note=note, tree=grown.frontier, counted_until_micros=counted_until, cosignature="")

    def cosign(self, verified: VerifiedLedger) -> VerifiedLedger:
        """Return *verified* with a cosignature of its checkpoint, if there is a key for that."""
        if self.cosigner is None:
            return verified
        line = self.cosigner.cosign(checkpoint.parse(verified.note).body, self.clock.micros() // 1_000_000)
        return replace(verified, cosignature=line)

    def accept(self, ledger: Connection, verified: VerifiedLedger) -> VerifiedLedger:
        """Return the *ledger* as it was when entries were counted last, to go on from there after a restore.

        Entries were counted if they are not newer than the last one that was: none is counted twice, whatever was lost,
        and whatever of it comes back.

        Raises:
            LedgerCorruptError, LedgerUncheckedError: its checkpoint then is damaged, or not signed by a known key.
        """
        columns = checkpoint_table.c
        counted = select(checkpoint_table).where(columns.signed_at_micros <= verified.counted_until_micros)
        row = ledger.execute(counted.order_by(columns.size.desc()).limit(1)).first()
        # A clock that was ahead must not hide what is answered from now on.
        times = verified.counted_until_micros, min(verified.counted_until_micros, self.clock.micros())
        if row is None:
            return VerifiedLedger(verified.service, "", Frontier(), *times)
        head, tree = self._verify(row.note, row.signed_at_micros), None
        with contextlib.suppress(ValueError):
            tree = Frontier.parse(row.size, row.frontier)
        if tree is None or (tree.size, tree.root) != (head.size, head.root):
            raise LedgerCorruptError(f"the checkpoint of {row.size} entries is damaged")
        return VerifiedLedger(verified.service, row.note, tree, *times)

    def _verify(self, note: str, micros: int) -> Checkpoint:
        try:
            head, key_id = checkpoint.verify(note, self.keys)
            check_key(self.keys[key_id], micros, is_time_proven=True)
        except InvalidReceipt as error:
            raise fault_of(error, "its checkpoint") from None
        return head


def check_end(ledger: Connection, note: str) -> None:
    """Check that *ledger* still has the checkpoint in *note*, which was seen before, and ends no earlier.

    Raises:
        Contradiction: it has not.
        LedgerCorruptError: a checkpoint is damaged.
    """
    if not note:
        return
    seen, newest = _parse(note), last_checkpoint(ledger) or ""
    if not newest or _parse(newest).size < seen.size:
        raise Contradiction(AlarmKind.ROLLBACK, newest)
    same = note_of_size(ledger, seen.size)
    if same is None or _parse(same) != seen:
        raise Contradiction(AlarmKind.FORK, newest)


def _parse(note: str) -> Checkpoint:
    try:
        return checkpoint.parse(note).checkpoint
    except ValueError:
        raise LedgerCorruptError("its checkpoint is damaged") from None
