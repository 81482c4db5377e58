"""When each stage of a run is, by the target's own clock, and the way there."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from conformance import case_loader, contract
from conformance.case import Case, Instance, Stage, Step
from conformance.client import Channels, NotSent, ask
from conformance.target import Target
from conformance.target_control import Steering, half_past_midnight_after

Unreached = Mapping[Instance, str]
"""Why a stage can't be examined at an instance."""

FOLLOW_SECONDS = 15.0
READ_SECONDS = 1.2
"""A target reads its steering anew at least each second, every one of its processes for itself."""
AGREES = timedelta(seconds=15)
_NEARLY = timedelta(seconds=60)
_MARGIN = timedelta(seconds=30)
_CALLERS = {"promissory": "setad", "judiciary": "cbi"}


@dataclass(frozen=True, slots=True)
class Pilot:
    """A question that is answered YES, and whose answer opens nothing: its receipt tells the time."""

    instance: Instance
    caller: str
    path: str
    payload: bytes


class Timetable:
    """Knows when each stage is, and takes the target there; without steering, time is left as it is."""

    def __init__(self, target: Target, channels: Channels, cases: Sequence[Case]) -> None:
        self._target = target
        self._channels = channels
        self._cases = cases
        self._steering = Steering(target.steering) if target.steering else None
        self._first: datetime | None = None
        self._last: datetime | None = None

    def target_time(self, at: float) -> datetime | None:
        """The target's time when this machine's clock showed *at*, where it is steered."""
        return self._steering.at(at) if self._steering else None

    def bar(self, fingerprint: str) -> None:
        """Put a certificate on the deny-list."""
        if self._steering:
            self._steering.bar(fingerprint)

    def go_to(self, stage: Stage, instances: Collection[Instance], *, until: float) -> Unreached:
        """Take the target to *stage* and wait until its receipts show it; tells where that could not be done."""
        steering = self._steering
        if steering is None:
            return {}
        begins, ends = self._when(stage, steering)
        if stage is Stage.START:
            self._first = steering.now()
        else:
            steering.go_to(begins)
            time.sleep(READ_SECONDS)
        now = steering.now()
        if not begins <= now <= ends:
            why = f"the steered clock stands at {now:%Y-%m-%dT%H:%M:%SZ}, too late for this stage: load fresh fixtures"
            return dict.fromkeys(instances, why)
        if stage is Stage.START:
            return {}
        return self._followed(instances, steering, until=min(until, time.monotonic() + FOLLOW_SECONDS))

    def ended(self, stage: Stage, answered: Sequence[datetime]) -> None:
        """Remember how long the first stage took: the window is counted from its answers."""
        if stage is Stage.START and self._steering and self._first:
            self._first = min([self._first, *answered])
            self._last = max([self._steering.now(), *answered])

    def _when(self, stage: Stage, steering: Steering) -> tuple[datetime, datetime]:
        """When *stage* may begin at the earliest and at the latest."""
        manifest = self._target.manifest
        midnight = half_past_midnight_after(manifest.origin)
        first, last = self._first or steering.now(), self._last or steering.now()
        window = timedelta(seconds=manifest.window_seconds)
        if stage is Stage.START:
            return manifest.origin - _NEARLY, midnight - timedelta(minutes=32)
        if stage is Stage.AFTER_MIDNIGHT:
            return midnight, midnight + timedelta(hours=2)
        if stage is Stage.NEARLY_STALE:
            stale = manifest.as_of + timedelta(seconds=manifest.max_staleness_seconds)
            return stale - _NEARLY, stale - _MARGIN
        if stage is Stage.WINDOW_OPEN:
            return first + window - _MARGIN, first + window - _MARGIN / 3
        return last + window + _MARGIN, datetime.max.replace(tzinfo=manifest.origin.tzinfo)

    def _followed(self, instances: Collection[Instance], steering: Steering, *, until: float) -> Unreached:
        late: dict[Instance, str] = {}
        for service, caller in _CALLERS.items():
            concerned = [instance for instance in instances if instance.service == service]
            if concerned and (pilot := self._pilot(service, caller)):
                late |= dict.fromkeys(concerned, self._shows(pilot, steering, until))
        return late

    def _shows(self, pilot: Pilot, steering: Steering, until: float) -> str:
        """Wait for a receipt of the new time; a target that gives none is taken to have read its steering."""
        while True:
            seen = self._clock_of(pilot)
            if seen is None or abs(seen - steering.now()) <= AGREES:
                return ""
            if time.monotonic() > until:
                return f"its clock shows {seen:%Y-%m-%dT%H:%M:%SZ} and does not follow the steering"
            time.sleep(0.1)

    def _clock_of(self, pilot: Pilot) -> datetime | None:
        channel = self._channels.shared(pilot.instance, pilot.caller)
        try:
            seen = ask(channel, pilot.path, pilot.payload, metadata=(), timeout=5)[0]
        except NotSent:
            return None
        kind = contract.reply_type(pilot.path)
        if seen.reply is None or kind is None:
            return None
        try:
            reply: Any = kind.FromString(seen.reply)
            told = reply.receipt.answered_at.ToDatetime(tzinfo=self._target.manifest.origin.tzinfo)
        except ValueError:  # no reply, or a time that is none
            return None
        return told if isinstance(told, datetime) else None

    def _pilot(self, service: str, caller: str) -> Pilot | None:
        instance = Instance(service)
        if instance not in self._target.addresses or not self._target.has(caller):
            return None
        known = [*self._cases, *case_loader.read()]
        opened = {_serial(step) for case in known for step in case.steps if step.call != "CheckNote"}
        for case in known:
            for step in case.steps:
                asker = step.caller or case.caller
                if asker == caller and (step.target or case.target) is instance and _plain_yes(step, opened):
                    path = contract.path_of(str(step.call), service)
                    return Pilot(instance, caller, path, contract.encode(step, path))
        return None


def _serial(step: Step) -> object:
    return (step.request or {}).get("serial")


def _plain_yes(step: Step, opened: Collection[object]) -> bool:
    """Whether a step is a lone YES that opens nothing: a yes asked for again would open method two again."""
    return (
        step.request is not None
        and (step.at, step.trick, step.times) == (Stage.START, None, 1)
        and (step.expect.status, step.expect.answer) == (("OK",), "YES")
        and (_serial(step) is None or _serial(step) not in opened)
    )
