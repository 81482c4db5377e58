"""Runs cases against a target: stage by stage, in parallel where they share no state, and in bounded time."""

import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from conformance import contract, preflight, raw_http2
from conformance.case import Case, Stage, Step, Trick
from conformance.checks import Asked, Judge, Lengths
from conformance.client import Channels, NotSent, Opener, Seen, ask, open_channel
from conformance.clock_stages import Timetable, Unreached
from conformance.results import Complaint, Result, Standing, Verdict
from conformance.target import Target
from conformance.target_control import SteeringError

LIMIT_SECONDS = 300.0
BAR_SECONDS = 5.0
"""What a target has to learn of a barred certificate."""
ALIVE_SECONDS = 10.0
_HEALTH = "/grpc.health.v1.Health/Check"

Progress = Callable[[Result], None]


class Died(Exception):  # noqa: N818 - what happened
    """After a trick the target no longer answers; the text says what was seen."""


class CouldNot(Exception):  # noqa: N818 - what happened, not whose fault
    """A step could not be done; the text says why."""


@dataclass(slots=True)
class _Course:
    """One case on its way through its steps."""

    case: Case
    result: Result
    at: int = 0
    lengths: Lengths = field(default_factory=Lengths)

    @property
    def done(self) -> bool:
        return bool(self.result.complaints) or self.at == len(self.case.steps)

    def due(self, stage: Stage) -> bool:
        return not self.done and self.case.steps[self.at].at is stage

    def could_not(self, why: str) -> None:
        self.result.complaints.append(Complaint(self.at + 1, "the step is done", why))
        self.result.standing = Standing.NOT_RUN

    def finish(self, known: Collection[str]) -> None:
        """Give the case its standing; one that is known to fail is told apart, and one that passes all the same."""
        expected = self.case.id in known
        if self.result.complaints:
            self.result.standing = Standing.KNOWN if expected else Standing.FAILED
        else:
            self.result.standing = Standing.STALE if expected else Standing.PASSED


def run(
    cases: Sequence[Case],
    target: Target,
    *,
    jobs: int = 8,
    progress: Progress = lambda _result: None,
    known: Collection[str] = (),
    limit_seconds: float = LIMIT_SECONDS,
    opener: Opener = open_channel,
    probe: Callable[[Target], str] = preflight.trouble,
) -> Verdict:
    """Put every one of *cases* to the proof; whatever the target does, it ends soon after *limit_seconds*."""
    began, start = datetime.now(UTC), time.monotonic()
    courses = [_Course(case, Result(case, Standing.NOT_RUN)) for case in cases]
    trouble = probe(target)
    if not trouble:
        with Channels(target, opener) as channels:
            try:
                until = start + limit_seconds
                running = _Run(target, channels, cases, until=until, jobs=jobs, progress=progress, known=known)
                running.through(courses)
            except SteeringError as error:
                trouble = str(error)
    results = [course.result for course in courses]
    if not trouble and results and all(result.standing is Standing.NOT_RUN for result in results):
        trouble = f"no case could run: {results[0].complaints[0].seen}"
    addresses = {instance.value: address for instance, address in target.addresses.items()}
    seconds = time.monotonic() - start
    return Verdict(began, seconds, addresses, results, trouble=trouble)


class _Run:
    def __init__(
        self,
        target: Target,
        channels: Channels,
        cases: Sequence[Case],
        *,
        until: float,
        jobs: int,
        progress: Progress,
        known: Collection[str],
    ) -> None:
        self._target = target
        self._channels = channels
        self._judge = Judge(target)
        self._timetable = Timetable(target, channels, cases)
        self._until = until
        self._jobs = jobs
        self._progress = progress
        self._known = known

    def through(self, courses: Sequence[_Course]) -> None:
        """Take all courses through all stages."""
        for course in courses:
            if missing := self._missing(course.case):
                course.could_not(missing)
                self._progress(course.result)
        for stage in Stage:
            due = [course for course in courses if course.due(stage)]
            if due:
                self._stage(stage, due)

    def _missing(self, case: Case) -> str:
        """What a case needs and was not given."""
        for step in case.steps:
            instance, caller = step.target or case.target, step.caller or case.caller
            if instance not in self._target.addresses:
                return f"no instance {instance} was given"
            if self._target.steering is None and (step.at is not Stage.START or step.bar is not None):
                return "it needs --steering"
            for name in filter(None, (caller, step.bar)):
                if not self._target.has(name):
                    return f"the PKI folder holds no certificate {name} with its key"
        return ""

    def _stage(self, stage: Stage, due: list[_Course]) -> None:
        instances = {step.target or course.case.target for course in due for step in course.case.steps}
        late = self._timetable.go_to(stage, instances, until=self._until)
        together = [course for course in due if not course.case.alone]
        with ThreadPoolExecutor(self._jobs, "conformance") as pool:
            for _ in pool.map(lambda course: self._take(course, stage, late), together):
                pass
        for course in due:
            if course.case.alone:
                self._take(course, stage, late)
        self._timetable.ended(stage, self._judge.proofs.answered)

    def _take(self, course: _Course, stage: Stage, late: Unreached) -> None:
        """The steps that a course has at this stage."""
        start = time.monotonic()
        try:
            while course.due(stage):
                if time.monotonic() > self._until:
                    raise CouldNot("the run's time was over")
                step = course.case.steps[course.at]
                if why := late.get(step.target or course.case.target):
                    raise CouldNot(why)
                self._step(course, step)
                course.at += not course.result.complaints
            if course.done:
                course.finish(self._known)
        except (CouldNot, NotSent, SteeringError) as error:
            course.could_not(str(error))
        except Exception as error:  # noqa: BLE001 - a fault of the kit's own is no pass, and ends no run
            course.could_not(f"the kit itself failed: {type(error).__name__}: {error}")
        course.result.seconds += time.monotonic() - start
        if course.done:
            self._progress(course.result)

    def _step(self, course: _Course, step: Step) -> None:
        time.sleep(step.after)
        if step.bar is not None:
            self._timetable.bar(self._target.fingerprint(step.bar))
            time.sleep(BAR_SECONDS)
            return
        instance, caller = step.target or course.case.target, step.caller or course.case.caller
        path = _HEALTH if step.call is None else contract.path_of(step.call, instance.service)
        payload = _health_request(step.health) if step.call is None else contract.encode(step, path)
        asked = Asked(step, instance, caller, path, payload)
        try:
            all_seen = self._seen(asked)
        except Died as died:
            course.result.complaints.append(Complaint(course.at + 1, "an instance that goes on answering", str(died)))
            return
        found = list(self._judge.counted(asked, all_seen))
        for seen in all_seen:
            found += self._judge.complaints(asked, seen, course.lengths, now=self._timetable.target_time(seen.at))
        course.result.complaints += [Complaint(course.at + 1, *fault) for fault in dict.fromkeys(found)]

    def _seen(self, asked: Asked) -> list[Seen]:
        step = asked.step
        if step.trick is not None:
            return [self._tricked(asked, step.trick)]
        take = self._channels.shared if step.same_connection else self._channels.fresh
        channel = take(asked.instance, asked.caller)
        return ask(channel, asked.path, asked.payload, metadata=step.metadata, timeout=step.timeout, times=step.times)

    def _tricked(self, asked: Asked, trick: Trick) -> Seen:
        """What came of a trick; whatever it was, the instance must go on answering."""
        step = asked.step
        sending = raw_http2.Sending(
            address=self._target.addresses[asked.instance],
            identity=self._target.identity(asked.caller),
            path=asked.path,
            payload=asked.payload,
            metadata=step.metadata,
            timeout=step.timeout,
        )
        seen = raw_http2.play(trick, sending)
        channel = self._channels.shared(asked.instance, asked.caller)
        path = f"/{contract.method_names(asked.instance.service)[0]}"
        after = ask(channel, path, b"", metadata=(), timeout=ALIVE_SECONDS)[0]
        if not after.trailers:
            raise Died(f"{seen.status}, and then {after.status} to an ordinary call")
        return seen


def _health_request(service: str | None) -> bytes:
    name = (service or "").encode()
    return b"\x0a" + bytes([len(name)]) + name if name else b""
