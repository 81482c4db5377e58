"""When each stage of a run is, by the target's clock, and how to take the target there."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from conformance import case_loader, contract, fixtures
from conformance.case import Case, Change, Instance, Stage, Step
from conformance.client import Channels, NotSent, call_method
from conformance.target import Target
from conformance.target_control import TargetControl, TargetControlError, half_past_midnight_after

StageErrors = Mapping[Instance, str]
"""Why a stage can't be tested, by instance."""

FOLLOW_SECONDS = 15.0
READ_SECONDS = 1.2
"""Time for every process of a target to read the steering files, which it does at least once a second."""
CLOCK_TOLERANCE = timedelta(seconds=15)
_LEAD = timedelta(seconds=60)
_MARGIN = timedelta(seconds=30)
_EDGE_LEAD = timedelta(seconds=5)
"""How long before an edge its stage begins: the clock is set in whole seconds, and must have been read."""
_CALLERS = {"promissory": "setad", "judiciary": "cbi"}


@dataclass(frozen=True, slots=True)
class ClockProbe:
    """An inquiry answered YES that permits nothing further: its receipt shows the target's clock."""

    instance: Instance
    caller: str
    path: str
    payload: bytes


class StageClock:
    """Computes when each stage is and sets the target's clock; without steering files the clock stays as it is."""

    def __init__(self, target: Target, channels: Channels, cases: Sequence[Case]) -> None:
        self._target = target
        self._channels = channels
        self._cases = cases
        self._steering = TargetControl(target.steering) if target.steering else None
        self._first: datetime | None = None
        self._last: datetime | None = None

    def target_time(self, at: float) -> datetime | None:
        """Return the target's time at *at* of this machine's clock; None without steering files."""
        return self._steering.at(at) if self._steering else None

    def deny(self, key: str) -> None:
        """Put the certificates of a public key (SHA-256) on the target's deny list."""
        if self._steering:
            self._steering.deny(key)

    def change(self, change: Change) -> None:
        """Make *change* in the target's data."""
        if self._steering:
            self._steering.change(fixtures.changed(change))

    def edge_of(self, stage: Stage, answered: datetime | None) -> datetime | None:
        """Return when the data becomes stale, or when the window of a YES closes that was *answered* at a time."""
        manifest = self._target.manifest
        if stage is Stage.STALE_EDGE:
            return manifest.as_of + timedelta(seconds=manifest.max_staleness_seconds)
        return answered + timedelta(seconds=manifest.window_seconds) if answered else None

    def go_to(
        self, stage: Stage, instances: Collection[Instance], *, until: float, answered: datetime | None = None
    ) -> StageErrors:
        """Set the target's clock to *stage* and wait until its receipts show it.

        Args:
            stage: The stage to go to.
            instances: The instances that the stage's cases call.
            until: Monotonic time after which to stop waiting.
            answered: When the first YES was given whose window the stage is about.

        Returns:
            The instances where that failed, and why.

        Raises:
            TargetControlError: the target's clock is past the first stage, as after an earlier run: no case can run.
        """
        steering = self._steering
        if steering is None:
            return {}
        begins, ends = self._when(stage, steering, answered)
        if steering.go_to(begins):
            time.sleep(READ_SECONDS)
        now = steering.now()
        if stage is Stage.START and now > ends:
            raise TargetControlError(
                f"the target's clock is at {now:%Y-%m-%dT%H:%M:%SZ}, past the start of a run: each run needs new "
                "fixtures (estelam conformance fixtures DIR) and a target that is started with them"
            )
        if not begins <= now <= ends:
            why = f"the target's clock is at {now:%Y-%m-%dT%H:%M:%SZ}, too late for this stage: load new fixtures"
            return dict.fromkeys(instances, why)
        if stage is Stage.START:
            self._first = now
            return {}
        return self._wait(instances, steering, until=min(until, time.monotonic() + FOLLOW_SECONDS))

    def end_stage(self, stage: Stage, answered: Sequence[datetime]) -> None:
        """Store when the first stage started and ended: the window is counted from its answers."""
        if stage is Stage.START and self._steering and self._first:
            self._first = min([self._first, *answered])
            self._last = max([self._steering.now(), *answered])

    def _when(self, stage: Stage, steering: TargetControl, answered: datetime | None) -> tuple[datetime, datetime]:
        """Return the earliest and the latest start of *stage*."""
        manifest = self._target.manifest
        midnight = half_past_midnight_after(manifest.origin)
        first, last = self._first or steering.now(), self._last or steering.now()
        window = timedelta(seconds=manifest.window_seconds)
        stale = manifest.as_of + timedelta(seconds=manifest.max_staleness_seconds)
        never = datetime.max.replace(tzinfo=manifest.origin.tzinfo)
        edge = self.edge_of(stage, answered) or steering.now()
        # The window of the first answers must not close before the data is stale.
        has_edge = any(step.at is Stage.STALE_EDGE for case in self._cases for step in case.steps)
        start = _LEAD if has_edge else -_LEAD
        return {
            Stage.START: (manifest.origin + start, midnight - timedelta(minutes=46)),
            Stage.BEFORE_MIDNIGHT: (midnight - timedelta(minutes=45), midnight - timedelta(minutes=33)),
            Stage.AFTER_MIDNIGHT: (midnight, midnight + timedelta(hours=2)),
            Stage.NEARLY_STALE: (stale - _LEAD, stale - _MARGIN),
            Stage.STALE_EDGE: (edge - _EDGE_LEAD, never),
            Stage.WINDOW_OPEN: (first + window - _MARGIN, first + window - _MARGIN / 3),
            Stage.WINDOW_EDGE: (edge - _EDGE_LEAD, never),
            Stage.WINDOW_CLOSED: (last + window + _MARGIN, never),
        }[stage]

    def _wait(self, instances: Collection[Instance], steering: TargetControl, *, until: float) -> StageErrors:
        late: dict[Instance, str] = {}
        for service, caller in _CALLERS.items():
            concerned = [instance for instance in instances if instance.service == service]
            if concerned and (probe := self._probe(service, caller)):
                late |= dict.fromkeys(concerned, self._wait_for_clock(probe, steering, until))
        return late

    def _wait_for_clock(self, probe: ClockProbe, steering: TargetControl, until: float) -> str:
        """Wait for a receipt with the new time; a target without receipts is assumed to have read the files."""
        while True:
            shown = self._read_clock(probe)
            if shown is None or abs(shown - steering.now()) <= CLOCK_TOLERANCE:
                return ""
            if time.monotonic() > until:
                return f"its clock shows {shown:%Y-%m-%dT%H:%M:%SZ} and does not follow `steering/offset`"
            time.sleep(0.1)

    def _read_clock(self, probe: ClockProbe) -> datetime | None:
        channel = self._channels.shared(probe.instance, probe.caller)
        try:
            result = call_method(channel, probe.path, probe.payload, metadata=(), timeout=5)[0]
        except NotSent:
            return None
        kind = contract.reply_type(probe.path)
        if result.reply is None or kind is None:
            return None
        try:
            reply: Any = kind.FromString(result.reply)
            if not reply.HasField("receipt"):
                return None
            answered_at = reply.receipt.answered_at.ToDatetime(tzinfo=self._target.manifest.origin.tzinfo)
        except ValueError:  # not a reply, or not a time
            return None
        return answered_at if isinstance(answered_at, datetime) else None

    def _probe(self, service: str, caller: str) -> ClockProbe | None:
        instance = Instance(service)
        if instance not in self._target.addresses or not self._target.has(caller):
            return None
        known = [*self._cases, *case_loader.read()]
        disclosed = {_serial(step) for case in known for step in case.steps if step.call != "CheckNote"}
        for case in known:
            for step in case.steps:
                own = (step.caller or case.caller) == caller and (step.target or case.target) is instance
                if own and _is_plain_yes(step, disclosed):
                    path = contract.path_of(str(step.call), service)
                    return ClockProbe(instance, caller, path, contract.encode(step, path))
        return None


def _serial(step: Step) -> object:
    return (step.request or {}).get("serial")


def _is_plain_yes(step: Step, disclosed: Collection[object]) -> bool:
    """Return whether a step expects one YES for a note that no case asks GetNoteParties about.

    Repeating it then can't renew a permission that a case expects to have expired.
    """
    return (
        step.request is not None
        and (step.at, step.fault, step.times) == (Stage.START, None, 1)
        and (step.expect.status, step.expect.answer) == (("OK",), "YES")
        and (_serial(step) is None or _serial(step) not in disclosed)
    )
