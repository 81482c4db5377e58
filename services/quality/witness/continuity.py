"""Whether a ledger continues what was verified of it: computed from its own entries, against its signed checkpoints.

The monitor reads every entry anyway. So it needs no proof from the provider: it appends the entries' hashes to the tree
that it verified last, and compares the root with the one that the ledger has signed.
"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Connection, select

from estelam.core.addresses import beside
from estelam.core.clock import Clock
from estelam.core.keys import VerifyingKey, verifying_keys
from estelam.ledger.errors import LedgerCorruptError, fault_of
from estelam.ledger.proofs import StoredNodes, note_of_size
from estelam.ledger.tables import checkpoint_table, last_checkpoint
from estelam.ledger.verify import verify_heads
from estelam.receipts import checkpoint
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.cosignature import Cosigner
from estelam.receipts.problems import InvalidReceipt, check_key
from estelam.receipts.tree import EMPTY_ROOT, Frontier, is_consistent, leaf_hash, prove_consistency, subtree_root
from estelam.storage.base import StoreError
from estelam.witness.state import WitnessState
from quality.records import AlarmKind, VerifiedLedger
from quality.settings import QualitySettings

_NEWEST = select(checkpoint_table).order_by(checkpoint_table.c.size.desc()).limit(1)


class Contradiction(Exception):  # noqa: N818 - an outcome, not a fault of the program
    """A ledger does not continue what was verified of it.

    Args:
        kind: How.
        seen: The checkpoint that it does not continue, a signed note.
        note: Its newest checkpoint, a signed note; empty if it has none.
    """

    def __init__(self, kind: AlarmKind, seen: str, note: str) -> None:
        super().__init__(kind.value)
        self.kind = kind
        self.seen = seen
        self.note = note


@dataclass(frozen=True, slots=True)
class LedgerWitness:
    """What verifies one service's ledger, and cosigns it if there is a key for that."""

    keys: Mapping[str, VerifyingKey]
    clock: Clock
    cosigner: Cosigner | None = None
    cosigned: WitnessState | None = None
    """The newest checkpoint of each ledger that *cosigner* cosigned, kept beside the monitor's store."""

    @classmethod
    def of(cls, settings: QualitySettings, service: str, clock: Clock) -> "LedgerWitness":
        """Return the witness of the ledger of *service*.

        Raises:
            KeyFileError: a file of keys can't be used.
            OSError: a file can't be read.
        """
        retired = settings.ledger_retired_keys.get(service)
        keys = verifying_keys([settings.ledger_certificates[service]], retired)
        if settings.witness_key is None:
            return cls(keys, clock)
        cosigner = Cosigner.load(settings.witness_name, settings.witness_key)
        folder = settings.kept_checkpoints or beside(settings.store, "cosigned")
        # What one key cosigned does not bind the next.
        state = WitnessState(folder / cosigner.key.hash.hex()) if folder else None
        if state:
            state.create()
        return cls(keys, clock, cosigner, state)

    @property
    def name(self) -> str:
        """The verifier key that cosigns; empty if none does."""
        return str(self.cosigner.key) if self.cosigner else ""

    def check_end(self, ledger: Connection, seen: str | None) -> None:
        """Check that *ledger* still has the checkpoint in the note *seen*, and ends no earlier.

        Raises:
            Contradiction: it has not.
            LedgerUncheckedError: its newest checkpoint, which contradicts *seen*, is not signed by a known key.
        """
        if not seen:
            return
        before = _parse(seen)
        newest = ledger.execute(_NEWEST).first()
        if newest is None:
            raise Contradiction(AlarmKind.ROLLBACK, seen, "")
        same = note_of_size(ledger, before.size)
        if newest.size >= before.size and _is_of(same, before):
            return
        note = newest.note if isinstance(newest.note, str) else ""  # SQLite stores a value of any type
        try:
            head = self._verify(note, newest.signed_at_micros)
        except LedgerCorruptError:
            raise Contradiction(AlarmKind.DAMAGED, seen, note) from None
        kind = AlarmKind.ROLLBACK if head.size < before.size else _kind_of_difference(ledger, before, head)
        raise Contradiction(kind, seen, note)

    def check_cosigned(self, ledger: Connection) -> None:
        """Check that *ledger* continues what this key cosigned of it, also where the monitor's store forgot it.

        Raises:
            Contradiction, LedgerUncheckedError: as `check_end`.
            LedgerCorruptError: a checkpoint is damaged.
            ValueError, OSError: the kept checkpoint can't be read.
        """
        newest = last_checkpoint(ledger)
        if self.cosigned and newest:
            self.check_end(ledger, self.cosigned.last_note(_parse(newest).origin))

    def extend(
        self, ledger: Connection, verified: VerifiedLedger, leaves: Iterable[bytes], note: str, micros: int
    ) -> VerifiedLedger:
        """Return the *ledger* after *leaves*, entries as bytes that *note* covers and that were signed at *micros*.

        Raises:
            Contradiction: they and what was verified before do not give the root that the note states.
            LedgerCorruptError, LedgerUncheckedError: the note is not signed by a key that was valid then.
        """
        head = self._verify(note, micros)
        before = _parse(verified.note) if verified.note else Checkpoint(head.origin, 0, EMPTY_ROOT)
        hashes = [leaf_hash(leaf) for leaf in leaves]
        grown = verified.tree.append(hashes) if hashes else None
        if before.origin != head.origin or grown is None or (grown.size, grown.root) != (head.size, head.root):
            raise Contradiction(_kind_of_difference(ledger, before, head), verified.note, note)
        counted_until = max(micros, verified.counted_until_micros)
        return replace(verified, note=note, tree=grown.frontier, counted_until_micros=counted_until, cosignature="")

    def cosign(self, ledger: Connection, verified: VerifiedLedger) -> VerifiedLedger:
        """Return *verified* with a cosignature of its checkpoint, if there is a key for that.

        There is none as long as *verified* is behind what the key has cosigned: the monitor's store was restored.

        Raises:
            Contradiction: the *ledger* up to there does not continue what the key has cosigned of it.
            ValueError, OSError: the kept checkpoint can't be read or written.
        """
        if self.cosigner is None:
            return verified
        parsed = checkpoint.parse(verified.note)
        head = parsed.checkpoint
        seen = self.cosigned.last_note(head.origin) if self.cosigned else None
        if seen and (before := _parse(seen)) != head:
            if before.size > head.size:
                return verified
            try:
                verify_heads(ledger, head, [(before.size, before.root)])
            except LedgerCorruptError:
                raise Contradiction(_kind_of_difference(ledger, before, head), seen, verified.note) from None
        line = self.cosigner.cosign(parsed.body, self.clock.micros() // 1_000_000)
        if self.cosigned:
            self.cosigned.store(head.origin, verified.note + line)
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


def _is_of(note: object, seen: Checkpoint) -> bool:
    try:
        return isinstance(note, str) and checkpoint.parse(note).checkpoint == seen
    except ValueError:
        return False


def _kind_of_difference(ledger: Connection, seen: Checkpoint, head: Checkpoint) -> AlarmKind:
    """Return FORK if what *head* signs has another beginning than *seen*, both verified; DAMAGED if that is not proven.

    The proof is one of consistency between *head* and the other beginning, from the *ledger*'s nodes.
    """
    if seen.size == 0:
        return AlarmKind.DAMAGED
    if seen.origin != head.origin or (seen.size == head.size and seen.root != head.root):
        return AlarmKind.FORK
    nodes = StoredNodes(ledger)
    try:
        root, proof = subtree_root(0, seen.size, nodes), prove_consistency(seen.size, head.size, nodes)
    except (LedgerCorruptError, StoreError):
        return AlarmKind.DAMAGED
    is_other = root != seen.root and is_consistent(seen.size, root, head.size, head.root, proof)
    return AlarmKind.FORK if is_other else AlarmKind.DAMAGED


def _parse(note: str) -> Checkpoint:
    try:
        return checkpoint.parse(note).checkpoint
    except ValueError:
        raise LedgerCorruptError("its checkpoint is damaged") from None
