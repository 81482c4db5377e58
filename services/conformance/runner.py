"""Runs cases against a target: stage by stage, in parallel unless they share state, and in bounded time."""

import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from conformance import case_loader, contract, ministry, preflight, raw_http2
from conformance.case import Case, Instance, Stage, Step, WireFault
from conformance.checks import HEALTH, CaseReplies, Checker, SentCall
from conformance.client import CallResult, Channels, NotSent, Opener, call_method, open_channel, watch_health
from conformance.clock_stages import StageClock, StageErrors
from conformance.mismatch import CATALOGUE, Mismatch
from conformance.profile import Profile
from conformance.results import CaseResult, CaseStatus, Failure, RunResult
from conformance.target import Target
from conformance.target_control import TargetControlError

LIMIT_SECONDS = 300.0
FOLLOW_SECONDS = 5.0
"""Time for a target to read a change of the deny list or of its data."""
RETRY_SECONDS = 0.2
ALIVE_SECONDS = 10.0
CONNECT_SECONDS = 10.0
"""Time for an adapter to connect to the kit's ministry, which listens from the start of the run."""

Progress = Callable[[CaseResult], None]


class TargetStoppedError(Exception):
    """The target no longer answers after a faulty call; the text says what it returned."""


class StepNotRunError(Exception):
    """A step could not run; the text says why."""


@dataclass(slots=True)
class _CaseRun:
    """The progress of one case through its steps."""

    case: Case
    result: CaseResult
    next_step: int = 0
    replies: CaseReplies = field(default_factory=CaseReplies)
    stopped: bool = False
    """Whether a step did not end as the case expects: the next ones would prove nothing."""
    answered: tuple[datetime, datetime] | None = None
    """Between which instants, by the target's clock, the newest YES was given."""
    settled_at: float = 0.0
    """Monotonic time from which on every step must see the last change of the deny list or of the data."""

    @property
    def done(self) -> bool:
        """Whether all steps are finished, or the case ended at one."""
        return self.stopped or self.next_step == len(self.case.steps)

    def is_due(self, stage: Stage) -> bool:
        """Return whether the next step belongs to *stage*."""
        return not self.done and self.case.steps[self.next_step].at is stage

    def mark_not_run(self, why: str) -> None:
        """End the case because its next step could not run."""
        self.fail(Mismatch("the step runs", why))
        self.result.status = CaseStatus.NOT_RUN

    def fail(self, mismatch: Mismatch) -> None:
        """Add a failure of the next step. Only one of the case's own expectation ends the case."""
        clause = mismatch.clause or self.case.clause
        profile = case_loader.clauses()[clause].profile if mismatch.clause else self.case.profile
        failure = Failure(self.next_step + 1, mismatch.expected, mismatch.actual, clause, profile)
        self.result.failures.append(failure)
        self.stopped |= not mismatch.clause

    def finish(self, known: Collection[str]) -> None:
        """Set the case's status; *known* are the ids of cases that are known to fail."""
        is_known = self.case.id in known
        if self.result.failures:
            self.result.status = CaseStatus.KNOWN if is_known else CaseStatus.FAILED
        else:
            self.result.status = CaseStatus.STALE if is_known else CaseStatus.PASSED


def run(
    cases: Sequence[Case],
    target: Target,
    *,
    jobs: int = 8,
    progress: Progress = lambda _result: None,
    known: Collection[str] = (),
    profile: Profile = Profile.FULL,
    limit_seconds: float = LIMIT_SECONDS,
    opener: Opener = open_channel,
    probe: Callable[[Target], str] = preflight.find_problems,
) -> RunResult:
    """Run *cases* and return the result; it ends soon after *limit_seconds* whatever the target does.

    Args:
        cases: The cases to run.
        target: The instances and the fixtures.
        jobs: Number of cases that run concurrently.
        progress: Called with the result of each case.
        known: The ids of cases that are known to fail.
        profile: What to demand of every reply.
        limit_seconds: Time limit of the run.
        opener: Opens gRPC channels.
        probe: Returns why the target can't be tested, or an empty string.
    """
    began, start = datetime.now(UTC), time.monotonic()
    runs = [_CaseRun(case, CaseResult(case, CaseStatus.NOT_RUN)) for case in cases]
    problem = probe(target)
    if not problem:
        with Channels(target, opener) as channels:
            try:
                until = start + limit_seconds
                scheduler = _Run(
                    target, channels, cases, until=until, jobs=jobs, progress=progress, known=known, profile=profile
                )
                with ministry.serving(scheduler.ministry, target):
                    scheduler.run_stages(runs)
            except TargetControlError as error:
                problem = str(error)
    results = [run.result for run in runs]
    if not problem and results and all(result.status is CaseStatus.NOT_RUN for result in results):
        problem = f"no case could run: {results[0].failures[0].actual}"
    addresses = {instance.value: address for instance, address in target.addresses.items()}
    seconds = time.monotonic() - start
    return RunResult(began, seconds, addresses, results, error=problem, profile=profile)


class _Run:
    """One run: its target, its time limit, and what the checks remember."""

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
        profile: Profile,
    ) -> None:
        self._target = target
        self._channels = channels
        self._checker = Checker(target)
        self._stages = StageClock(target, channels, cases)
        self.ministry = ministry.Ministry(target, self._target_time)
        self._until = until
        self._jobs = jobs
        self._progress = progress
        self._known = known
        self._profile = profile

    def _target_time(self) -> datetime:
        now = time.time()
        return self._stages.target_time(now) or datetime.fromtimestamp(now, UTC)

    def run_stages(self, runs: Sequence[_CaseRun]) -> None:
        """Run all steps of all cases, stage by stage."""
        for run in runs:
            if missing := self._missing(run.case):
                run.mark_not_run(missing)
                self._progress(run.result)
        for stage in Stage:
            due = [run for run in runs if run.is_due(stage)]
            if due:
                self._run_stage(stage, due)

    def _missing(self, case: Case) -> str:
        """Return what a case needs and the target lacks, or an empty string."""
        if self._target.steering is None and case.needs_steering:
            return "it needs --steering"
        for step in case.steps:
            instance, caller = step.target or case.target, step.caller or case.caller
            if instance not in self._target.addresses:
                return f"the run has no instance {instance}"
            if instance is Instance.SETAD_DECEIVED and self._target.ministry is None:
                return "it needs --ministry"
            for name in filter(None, (caller, step.deny)):
                if not self._target.has(name):
                    return f"the PKI folder has no certificate {name} with its key"
        return ""

    def _run_stage(self, stage: Stage, due: list[_CaseRun]) -> None:
        instances = {step.target or run.case.target for run in due for step in run.case.steps}
        answered = min((run.answered[0] for run in due if run.answered), default=None)
        late = self._stages.go_to(stage, instances, until=self._until, answered=answered)
        parallel = [run for run in due if not run.case.alone]
        with ThreadPoolExecutor(self._jobs, "conformance") as pool:
            for _ in pool.map(lambda run: self._run_steps(run, stage, late), parallel):
                pass
        for run in due:
            if run.case.alone:
                self._run_steps(run, stage, late)
        self._stages.end_stage(stage, self._checker.receipts.answer_times)

    def _run_steps(self, run: _CaseRun, stage: Stage, late: StageErrors) -> None:
        """Run the steps of a case in this stage."""
        start = time.monotonic()
        try:
            while run.is_due(stage):
                if time.monotonic() > self._until:
                    raise StepNotRunError("the run's time limit was reached")
                step = run.case.steps[run.next_step]
                if why := late.get(step.target or run.case.target):
                    raise StepNotRunError(why)
                self._run_step(run, step)
                run.next_step += not run.stopped
            if run.done:
                run.finish(self._known)
        except (StepNotRunError, NotSent, TargetControlError) as error:
            run.mark_not_run(str(error))
        except Exception as error:  # noqa: BLE001 - a bug of the kit fails the case and does not end the run
            run.mark_not_run(f"the kit itself failed: {type(error).__name__}: {error}")
        run.result.seconds += time.monotonic() - start
        if run.done:
            self._progress(run.result)

    def _run_step(self, run: _CaseRun, step: Step) -> None:
        time.sleep(step.after)
        self._steer(run, step)
        if step.call is None and step.health is None:
            return
        call = _sent_call(run.case, step)
        edge = self._wait_for_edge(run, step)
        sent = self._stages.target_time(time.time())
        try:
            found = self._mismatches(run, call)
            while any(mismatch.clause in {"", CATALOGUE} for mismatch in found) and time.monotonic() < run.settled_at:
                time.sleep(RETRY_SECONDS)
                found = [each for each in found if each.clause not in {"", CATALOGUE}] + self._mismatches(run, call)
        except TargetStoppedError as error:
            run.fail(Mismatch("an instance that still answers", str(error)))
            return
        ended = self._stages.target_time(time.time())
        if sent and ended and step.expect.answer == "YES":
            run.answered = sent, ended
        if edge and ended and (step.edge or 0.0) < 0 and ended > edge:
            return
        for mismatch in dict.fromkeys(found):
            if not mismatch.clause or self._profile.includes(case_loader.clauses()[mismatch.clause].profile):
                run.fail(mismatch)

    def _steer(self, run: _CaseRun, step: Step) -> None:
        """Change the deny list, the data or the kit's ministry as *step* orders."""
        if step.deny is not None:
            self._stages.deny(self._target.key(step.deny))
        if step.change is not None:
            self._stages.change(step.change)
        if step.deny is not None or step.change is not None:
            run.settled_at = time.monotonic() + FOLLOW_SECONDS
        if step.ministry is not None:
            self.ministry.order(str((step.request or {}).get("serial")), step.ministry)
            run.settled_at = time.monotonic() + (CONNECT_SECONDS if run.next_step == 0 else 0)

    def _wait_for_edge(self, run: _CaseRun, step: Step) -> datetime | None:
        """Wait until *step* is due at its edge, if it has one, and return the edge."""
        if step.edge is None:
            return None
        first, last = run.answered or (None, None)
        edge = self._stages.edge_of(step.at, first if step.edge < 0 else last)
        now = self._stages.target_time(time.time())
        if edge is None or now is None:
            raise StepNotRunError("no earlier step was answered YES, so there is no edge")
        time.sleep(max(0.0, (edge - now).total_seconds() + step.edge))
        return edge

    def _mismatches(self, run: _CaseRun, call: SentCall) -> list[Mismatch]:
        """Make the calls of a step and return what differs from its expectation."""
        results = self._call(call)
        found = list(self._checker.check_counts(call, results))
        for result in results:
            found += self._checker.failures(call, result, run.replies, now=self._stages.target_time(result.ended_at))
        found += run.replies.check_index(call.step.expect.entries)
        return found

    def _call(self, call: SentCall) -> list[CallResult]:
        step = call.step
        if step.fault is not None:
            return [self._call_with_fault(call, step.fault)]
        open_for = self._channels.shared if step.same_connection else self._channels.fresh
        channel = open_for(call.instance, call.caller)
        if step.watch:
            return [watch_health(channel, call.path, call.payload, timeout=step.timeout)]
        return call_method(
            channel, call.path, call.payload, metadata=step.metadata, timeout=step.timeout, times=step.times
        )

    def _call_with_fault(self, call: SentCall, fault: WireFault) -> CallResult:
        """Make a faulty call and return its result.

        Raises:
            TargetStoppedError: the instance does not answer an ordinary call afterwards.
        """
        step = call.step
        raw = raw_http2.RawCall(
            address=self._target.addresses[call.instance],
            identity=self._target.identity(call.caller),
            path=call.path,
            payload=call.payload,
            metadata=step.metadata,
            timeout=step.timeout,
        )
        result = raw_http2.send_faulty(fault, raw)
        channel = self._channels.shared(call.instance, call.caller)
        path = f"/{contract.method_names(call.instance.service)[0]}"
        after = call_method(channel, path, b"", metadata=(), timeout=ALIVE_SECONDS)[0]
        if after.closed or after.status == "DEADLINE_EXCEEDED":
            raise TargetStoppedError(f"{result.status}, and then {after.status} to an ordinary call")
        return result


def _sent_call(case: Case, step: Step) -> SentCall:
    instance, caller = step.target or case.target, step.caller or case.caller
    health = f"{HEALTH}{'Watch' if step.watch else 'Check'}"
    path = health if step.call is None else contract.path_of(step.call, instance.service)
    payload = _health_request(step.health) if step.call is None else contract.encode(step, path)
    return SentCall(step, instance, caller, path, payload)


def _health_request(service: str | None) -> bytes:
    name = (service or "").encode()
    return b"\x0a" + bytes([len(name)]) + name if name else b""
