"""The decision of a witness: which checkpoint it cosigns (C2SP tlog-witness, add-checkpoint)."""

import threading
from collections.abc import Mapping, Sequence

import structlog
from cryptography.exceptions import InvalidSignature

from estelam.core.clock import Clock
from estelam.core.note_keys import NoteKey
from estelam.receipts import checkpoint
from estelam.receipts.checkpoint import Checkpoint, SignedCheckpoint
from estelam.receipts.cosignature import Cosigner
from estelam.receipts.note import signature_line
from estelam.receipts.proofs import ConsistencyProof, parse_consistency
from estelam.receipts.tree import EMPTY_ROOT, is_consistent
from estelam.witness.state import WitnessState

log = structlog.get_logger()


class Rejection(Exception):  # noqa: N818 - an outcome, not a fault of the program
    """A checkpoint that is not cosigned.

    Args:
        status: The HTTP status.
        text: Why.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class OtherSize(Rejection):
    """The proof does not start where the witness stands.

    Args:
        size: The size of the last checkpoint that was cosigned.
    """

    def __init__(self, size: int) -> None:
        super().__init__(409, f"the last checkpoint that was cosigned has {size} entries")
        self.size = size


class Witness:
    """Cosigns checkpoints of *logs*, whose keys stand under their origins."""

    def __init__(
        self, cosigner: Cosigner, logs: Mapping[str, Sequence[NoteKey]], state: WitnessState, clock: Clock
    ) -> None:
        self._cosigner = cosigner
        self._logs = logs
        self._state = state
        self._clock = clock
        self._lock = threading.Lock()

    def add_checkpoint(self, text: str) -> str:
        """Return the cosignature of the checkpoint in *text*, which states a consistency proof before it.

        1 The text is a proof and a checkpoint 2 of a known log, 3 signed by one of its keys. 4 The proof starts at the
        last checkpoint that was cosigned, and 5 shows that the new one continues it. 6 The new one is stored, and only
        then 7 its cosignature returned. From 4 to 6 one call at a time, so that no two cosigned checkpoints contradict
        each other; a crash after 6 costs one cosignature, which the log can ask for again.

        Raises:
            Rejection: a step fails.
            ValueError, OSError: the state can't be read or written.
        """
        proof, parsed = _parse(text)  # 1
        found = parsed.checkpoint
        if (keys := self._logs.get(found.origin)) is None:  # 2
            raise Rejection(404, "unknown log")
        signatures = _verified_lines(parsed, keys)  # 3
        if proof.old > found.size:
            raise Rejection(400, "the old size is larger than that of the checkpoint")
        with self._lock:
            try:
                self._check(proof, found)
            except Rejection as rejection:
                log.warning("witness.rejected", origin=found.origin, offered=str(found), status=rejection.status)
                raise
            cosignature = self._cosigner.cosign(parsed.body, self._clock.micros() // 1_000_000)
            self._state.store(found.origin, f"{parsed.body}\n{signatures}{cosignature}")  # 6
        return cosignature  # 7

    def _check(self, proof: ConsistencyProof, found: Checkpoint) -> None:
        last = self._state.last(found.origin) or Checkpoint(found.origin, 0, EMPTY_ROOT)
        contradicts = found.size == last.size and found.root != last.root
        if contradicts:
            evidence = self._state.store_evidence(found.origin, proof.note)
            log.error(
                "witness.contradiction",
                origin=found.origin,
                offered=str(found),
                cosigned=str(last),
                evidence=str(evidence),
            )
        if contradicts or proof.old != last.size:  # 4
            raise OtherSize(last.size)
        if not is_consistent(last.size, last.root, found.size, found.root, proof.path):  # 5
            raise Rejection(422, "the consistency proof does not show that the checkpoint continues the last one")


def _parse(text: str) -> tuple[ConsistencyProof, SignedCheckpoint]:
    try:
        proof = parse_consistency(text)
        return proof, checkpoint.parse(proof.note, extensible=True)
    except ValueError as error:
        raise Rejection(400, f"malformed: {error}") from None


def _verified_lines(parsed: SignedCheckpoint, keys: Sequence[NoteKey]) -> str:
    """Return the signature lines of *keys*.

    Raises:
        Rejection: there is none, or one is wrong.
    """
    lines = ""
    for key in keys:
        for line in parsed.signatures:
            if line.is_of(key):
                try:
                    key.public.verify(line.signature, parsed.body.encode())
                except InvalidSignature:
                    raise Rejection(403, "a signature of the log is wrong") from None
                lines += signature_line(key, line.signature)
    if not lines:
        raise Rejection(403, "none of the log's keys signed it")
    return lines
