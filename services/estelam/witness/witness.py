"""The decision of a witness: which checkpoint it cosigns (C2SP tlog-witness, add-checkpoint)."""

import threading
from collections.abc import Mapping, Sequence
from typing import Final

import structlog
from cryptography.exceptions import InvalidSignature

from estelam.auth.grants import Quota
from estelam.auth.rate_limit import RateLimiter
from estelam.core.clock import Clock
from estelam.core.errors import Refusal
from estelam.core.exceptions import describe_error
from estelam.core.note_keys import NoteKey
from estelam.receipts import checkpoint
from estelam.receipts.checkpoint import Checkpoint, SignedCheckpoint
from estelam.receipts.cosignature import Cosigner
from estelam.receipts.note import MAX_NOTE, signature_line
from estelam.receipts.proofs import ConsistencyProof, parse_consistency
from estelam.receipts.tree import EMPTY_ROOT, is_consistent
from estelam.witness.metrics import WitnessMetrics
from estelam.witness.rejections import Contradiction, OtherSize, Rejection, RejectionReason
from estelam.witness.state import WitnessState

log = structlog.get_logger()

MAX_BODY: Final = 2 * MAX_NOTE
LOG_QUOTA: Final = Quota(rate=0.1, burst=10)
"""Limit on logged rejections of one log for one reason, so that nobody can fill the disk with them."""


class Witness:
    """Cosigns checkpoints of *logs*, whose keys stand under their origins."""

    def __init__(
        self,
        cosigner: Cosigner,
        logs: Mapping[str, Sequence[NoteKey]],
        state: WitnessState,
        clock: Clock,
        metrics: WitnessMetrics,
    ) -> None:
        self._cosigner = cosigner
        self._logs = logs
        self._state = state
        self._clock = clock
        self._metrics = metrics
        self._lock = threading.Lock()
        self._log_limiter = RateLimiter(clock)
        self._unlogged = 0
        """Rejections since the last one that was logged."""

    def add_checkpoint(self, body: bytes) -> str:
        """Return the cosignature of the checkpoint in *body*, which states a consistency proof before it.

        1 The body is a proof and a checkpoint 2 of a known log, 3 signed by one of its keys. 4 The proof starts at the
        last checkpoint that was cosigned, and 5 shows that the new one continues it. 6 The new one is stored, and only
        then 7 its cosignature returned. From 4 to 6 one call at a time, so that no two cosigned checkpoints contradict
        each other; a crash after 6 costs one cosignature, which the log can ask for again.

        Raises:
            Rejection: a step fails. It is counted, and logged unless there were many of its kind.
        """
        origin, offered = "", None
        try:
            proof, parsed = _parse(body)  # 1
            offered = parsed.checkpoint
            if offered.origin not in self._logs:  # 2
                raise Rejection(RejectionReason.UNKNOWN_LOG, "unknown log")
            origin = offered.origin
            cosignature = self._cosign(proof, parsed)  # 3 to 6
        except Rejection as rejection:
            self._metrics.record_rejection(origin, rejection.reason)
            self._log_rejection(origin, offered, rejection)
            raise
        self._metrics.record_cosigned(origin, offered.size)
        return cosignature  # 7

    def _cosign(self, proof: ConsistencyProof, parsed: SignedCheckpoint) -> str:
        found = parsed.checkpoint
        signatures = _verified_lines(parsed, self._logs[found.origin])  # 3
        if proof.old > found.size:
            raise Rejection(RejectionReason.MALFORMED, "the old size is larger than that of the checkpoint")
        with self._lock:
            try:
                last = self._state.last(found.origin) or Checkpoint(found.origin, 0, EMPTY_ROOT)
                self._check(proof, found, last)
                cosignature = self._cosigner.cosign(parsed.body, self._clock.micros() // 1_000_000)
                self._state.store(found.origin, f"{parsed.body}\n{signatures}{cosignature}")  # 6
            except (ValueError, OSError) as error:
                text = "the witness can't read or write its state"
                raise Rejection(RejectionReason.STATE_UNUSABLE, text) from error
        if found.size > last.size:
            log.info("witness.cosigned", origin=found.origin, size=found.size)
        return cosignature

    def _check(self, proof: ConsistencyProof, found: Checkpoint, last: Checkpoint) -> None:
        if found.size == last.size and found.root != last.root:
            raise Contradiction(last, self._state.store_evidence(found.origin, proof.note))
        if proof.old != last.size:  # 4
            raise OtherSize(last.size)
        if not is_consistent(last.size, last.root, found.size, found.root, proof.path):  # 5
            text = "the consistency proof does not show that the checkpoint continues the last one"
            raise Rejection(RejectionReason.NOT_CONSISTENT, text)

    def _log_rejection(self, origin: str, offered: Checkpoint | None, rejection: Rejection) -> None:
        with self._lock:
            try:
                self._log_limiter.acquire(origin, rejection.reason, LOG_QUOTA)
            except Refusal:
                self._unlogged += 1
                return
            unlogged, self._unlogged = self._unlogged, 0
        # What names no log of the settings is no text of ours.
        shown = str(offered) if origin else ""
        if isinstance(rejection, Contradiction):
            cosigned, evidence = str(rejection.last), str(rejection.evidence)
            log.error("witness.contradiction", origin=origin, offered=shown, cosigned=cosigned, evidence=evidence)
        elif isinstance(error := rejection.__cause__, ValueError | OSError):
            log.error("witness.state_unusable", origin=origin, error=describe_error(error))
        log.warning(
            "witness.rejected",
            origin=origin,
            offered=shown,
            reason=rejection.reason.value,
            status=rejection.status,
            unlogged=unlogged,
        )


def _parse(body: bytes) -> tuple[ConsistencyProof, SignedCheckpoint]:
    if len(body) > MAX_BODY:
        raise Rejection(RejectionReason.TOO_LARGE, "too large")
    try:
        proof = parse_consistency(body.decode())
        return proof, checkpoint.parse(proof.note, extensible=True)
    except UnicodeDecodeError:
        raise Rejection(RejectionReason.MALFORMED, "malformed: not UTF-8") from None
    except ValueError as error:
        raise Rejection(RejectionReason.MALFORMED, f"malformed: {error}") from None


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
                    raise Rejection(RejectionReason.NOT_SIGNED, "a signature of the log is wrong") from None
                lines += signature_line(key, line.signature)
    if not lines:
        raise Rejection(RejectionReason.NOT_SIGNED, "none of the log's keys signed it")
    return lines
