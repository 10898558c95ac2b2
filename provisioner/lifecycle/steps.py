"""What each event does to a machine. No I/O.

A run's plan is pinned in the machine's record (`plans` has the tables). A signal completes its wait and every wait
before it, since a machine whose agent reports has also fetched its loader, whether we saw that or not; it never
completes an action.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from provisioner.errors import ConflictError
from provisioner.lifecycle.endings import cancelled, ended, return_to, stands_where_it_stopped, stopped
from provisioner.lifecycle.inputs import (
    Begin,
    Cancel,
    Done,
    Event,
    Failed,
    Idle,
    JobFailed,
    JobTaken,
    Looked,
    OfJob,
    OfRun,
    Panicked,
    Progress,
    Resume,
    Seen,
    Tick,
)
from provisioner.lifecycle.plans import (
    CANCEL_STEP,
    CANNOT,
    ENSURES,
    FETCHES_AT,
    JOB_STEP,
    KINDS,
    PANICS_AT,
    RESTARTS,
    VERBS,
    WAITED_FOR,
    Signal,
    Verb,
    VerbRule,
    may_be_writing,
    steps_of,
)
from provisioner.lifecycle.rest import in_use, way_out
from provisioner.model.bmc import Power
from provisioner.model.machine import Failure, JournalLine, Machine, Run, State, Step

# events


@dataclass(frozen=True, slots=True)
class Perform:
    """Do the action of step `at` of run `run_id`."""

    run_id: str
    at: int
    step: Step


def advance(machine: Machine, event: Event, now: float) -> tuple[Machine, list[Perform]]:
    """Say what `event` makes of `machine`, and which actions follow.

    An event of another run, or of a step that is over, changes nothing. Raises `ConflictError` where an intent does not
    fit the state.
    """
    match event:
        case Begin() | Cancel() | Resume():
            return _intent(machine, event, now)
        case Seen():
            return _seen(machine, event, now)
        case Tick():
            return _tick(machine, event, now)
    run = machine.run
    if run is None or run.step is None or run.id != event.run_id:
        return machine, []
    if isinstance(event, Panicked):
        return _panicked(machine, run, event, now)
    return _of_run(machine, run, event, now)


def _intent(machine: Machine, event: Begin | Cancel | Resume, now: float) -> tuple[Machine, list[Perform]]:
    match event:
        case Begin():
            return _begin(machine, event, now)
        case Cancel():
            return _cancel(machine, now)
        case Resume():
            return _resume(machine, now)


ACTION_SLACK_S = 30.0
"""An action ends by itself, after a pause of 20 s at most and within its limit, and says why: it is given that long."""


def due_s(step: Step) -> float:
    """Say after how long a step is over, whatever became of it."""
    return step.timeout_s + (ACTION_SLACK_S if KINDS[step.name].signal is None else 0.0)


def _begin(machine: Machine, event: Begin, now: float) -> tuple[Machine, list[Perform]]:
    rule = VERBS[event.verb]
    if machine.run is not None and machine.run.step is not None:
        raise ConflictError(
            f"{machine.name} is {machine.state}: {machine.run.name} is under way",
            hint=f"wait for it, or `provisionctl cancel {machine.name}`",
        )
    if machine.state not in rule.start:
        text = f"{machine.name} is {machine.state}: it cannot {CANNOT[event.verb]} in that state"
        raise ConflictError(text, hint="" if event.verb is Verb.UNRESCUE else way_out(machine))
    names = steps_of(event.verb, by_medium=event.by_medium, in_use=in_use(machine) and not event.stays)
    steps = tuple(_step(name, event, rule) for name in names)
    run = Run(event.run_id, event.verb, event.bootenv, steps, started=now, step_started=now, params=event.params)
    run = replace(run, quarantine_after=event.quarantine_after)
    run = replace(run, return_to=machine.state, deadline=now + due_s(steps[0]), limit=now + rule.limit_s)
    machine = replace(machine, state=rule.moving, generation=machine.generation + 1, run=run, failure=None, changed=now)
    return machine, _perform(run)


def _step(name: str, event: Begin, rule: VerbRule) -> Step:
    kind = KINDS[name]
    if name == JOB_STEP:
        return Step(name, kind.phase, rule.job_s, {"job": event.job}, kind.retries)
    return Step(name, kind.phase, kind.timeout_s, {}, kind.retries)


def _perform(run: Run) -> list[Perform]:
    step = run.step
    if step is None or KINDS[step.name].signal is not None:
        return []
    return [Perform(run.id, run.at, step)]


def _of_run(machine: Machine, run: Run, event: OfRun, now: float) -> tuple[Machine, list[Perform]]:
    match event:
        case Done(at=at) if at == run.at:
            ensured = ENSURES.get(run.steps[at].name)
            machine = replace(machine, power=ensured) if isinstance(ensured, Power) else machine
            if run.steps[at].name == CANCEL_STEP:
                return cancelled(machine, run, _line(run, now, "done", event.note)), []
            return _move(machine, run, run.at + 1, event.note, now)
        case Failed(at=at) if at == run.at:
            return _again_or_fail(machine, run, event, now)
        case Progress():
            return replace(machine, run=replace(run, percent=event.percent, note=event.note), seen=now), []
        case JobTaken() | JobFailed() | Idle() | Looked() if run.step is not None and run.step.name == JOB_STEP:
            return _of_job(machine, run, event, now)
        case _:
            return machine, []


def _of_job(machine: Machine, run: Run, event: OfJob, now: float) -> tuple[Machine, list[Perform]]:
    match event:
        case JobTaken():
            return replace(machine, run=replace(run, job_taken=True), seen=now), []
        case JobFailed():
            return _again_or_fail(machine, run, Failed(run.id, run.at, event.reason, again=False), now)
        case Idle() if not run.job_taken:
            return replace(machine, seen=now), []
        case Idle():
            reason = "its job was lost on the way: the daemon was restarted while it was fetched"
            return _again_or_fail(machine, run, Failed(run.id, run.at, reason), now)
        case Looked(at=at, seen=seen) if (at, seen) == (run.at, machine.seen):
            return _lost(replace(machine, power=event.power), run, event.power, now)
        case _:
            return machine, []


SILENT_S = 300.0
"""An agent asks what to do every 20 s, and gives a sign of life at least every minute while it works; so long without
one, and it is gone."""
AGENT_SILENT = "its agent was not heard of"
"""How the failure of such a run begins."""


def is_silent(machine: Machine, since: float, now: float) -> bool:
    """Say whether the agent that has the job, or is to take it, was silent for too long; we listen since `since`."""
    run = machine.run
    if run is None or run.step is None or run.step.name != JOB_STEP:
        return False
    return now - max(machine.seen, since) >= SILENT_S


def _lost(machine: Machine, run: Run, power: Power, now: float) -> tuple[Machine, list[Perform]]:
    """An agent is gone: with the power, then all of it is done again; or with the power on, and nobody knows why."""
    silent = f"{AGENT_SILENT} for {SILENT_S:.0f} s"
    if power is Power.OFF:
        failed = Failed(run.id, run.at, f"{silent}: its power is off")
        return _again_or_fail(machine, run, failed, now, anew=True)
    reason, hint = f"{silent}, and its power is on: it hangs or lost its network", "look at its console"
    return _again_or_fail(machine, run, Failed(run.id, run.at, reason, hint, again=False), now)


def _panicked(machine: Machine, run: Run, event: Panicked, now: float) -> tuple[Machine, list[Perform]]:
    if run.step is None or run.step.name not in PANICS_AT:
        return machine, []
    hint = "another kernel, other kernel arguments (`kernel.args`), or its hardware: the console has the rest"
    return _again_or_fail(machine, run, Failed(run.id, run.at, event.words, hint), now, anew=True)


def waits_for(run: Run, signal: str) -> bool:
    """Say whether a signal changes anything about a run: for hot paths, most of what they see changes nothing."""
    if run.step is None:
        return False
    return _completed_by(run, signal) is not None or _restarted_in_job(run, signal) or _is_early(run, signal)


def _restarted_in_job(run: Run, signal: str) -> bool:
    return run.step is not None and run.step.name == JOB_STEP and signal == Signal.FACTS and run.job_taken


def _is_early(run: Run, signal: str) -> bool:
    """Say whether the machine is faster than its BMC tells: kept until the action is known to be done."""
    return (
        run.step is not None and run.step.name in ("power.on", "disk.next", "finalize.on") and signal not in run.early
    )


def _seen(machine: Machine, event: Seen, now: float) -> tuple[Machine, list[Perform]]:
    machine = replace(machine, seen=now)
    run = machine.run
    if run is None or run.step is None:
        return machine, []
    to = _completed_by(run, event.signal)
    if to is not None:
        return _move(machine, run, to, event.note, now)
    if _restarted_in_job(run, event.signal):
        return _again_or_fail(machine, run, Failed(run.id, run.at, "the machine restarted during its job"), now)
    if _is_early(run, event.signal):
        return replace(machine, run=replace(run, early=(*run.early, event.signal))), []
    return machine, []


def _completed_by(run: Run, signal: str) -> int | None:
    """Index of the step after the wait that `signal` completes, when only waits lie before it."""
    for at in range(run.at, len(run.steps)):
        waits_for = KINDS[run.steps[at].name].signal
        if waits_for is None or (waits_for is Signal.JOB and at != run.at):
            return None  # neither an action nor a job is done because of what comes after it
        if waits_for == signal:
            return at + 1
        if waits_for is Signal.JOB:
            return None
    return None


def _move(machine: Machine, run: Run, to: int, note: str, now: float) -> tuple[Machine, list[Perform]]:
    passed = tuple(
        JournalLine(s.name, s.phase, run.attempt if at == run.at else 1, run.step_started, now, "done", note)
        for at, s in enumerate(run.steps[run.at : to], start=run.at)
    )
    journal = run.journal + passed
    run = replace(run, at=to, attempt=1, step_started=now, percent=None, note="", job_taken=False, journal=journal)
    if to == len(run.steps):
        return ended(machine, replace(run, outcome="done", ended=now), now), []
    step = run.steps[to]
    acts = KINDS[step.name].signal is None
    run = replace(
        run,
        deadline=now + due_s(step),
        unheard=False,
        # however often it was begun: no two jobs are one
        attempt=1 + sum(line.step == JOB_STEP for line in journal) if step.name == JOB_STEP else 1,
        early=() if acts else run.early,  # signals of this boot; the next one has its own
    )
    for signal in run.early:
        if (further := _completed_by(run, signal)) is not None:
            return _move(machine, replace(run, early=tuple(s for s in run.early if s != signal)), further, "", now)
    return replace(machine, run=run, changed=now), _perform(run)


def _tick(machine: Machine, event: Tick, now: float) -> tuple[Machine, list[Perform]]:
    run = machine.run
    if run is None or run.step is None:
        return machine, []
    if run.limit and now >= run.limit:
        whole = f"{run.name} took longer than {(run.limit - run.started) / 3600:.1f} h"
        return _again_or_fail(machine, run, Failed(run.id, run.at, whole, again=False), now)
    if now < run.deadline:
        return machine, []
    if event.fetching and run.step.name in FETCHES_AT:
        return replace(machine, run=replace(run, deadline=now + due_s(run.step), unheard=False)), []
    if run.unheard:
        reason = "nothing was heard of it since the daemon was restarted, while it booted from the network"
        return _again_or_fail(machine, run, Failed(run.id, run.at, reason), now, anew=True)
    limit = f"{run.step.timeout_s:.0f} s"
    reason = WAITED_FOR.get(run.step.name, "{step} did not end").format(step=run.step.name)
    return _again_or_fail(machine, run, Failed(run.id, run.at, f"{reason} within {limit}", again=False), now)


def _again_or_fail(
    machine: Machine, run: Run, event: Failed, now: float, *, anew: bool = False
) -> tuple[Machine, list[Perform]]:
    """Try the step once more, or (`anew`) all from the power on; fail the run where the tries are used up."""
    step = run.step
    assert step is not None
    tries = max(step.retries, int(anew))  # what begins anew may do so once, whatever it waits for
    may = event.again and (run.unheard or _retried(run, step) < tries)
    outcome = "retried" if may else "failed"
    line = _line(run, now, outcome, event.reason)
    if outcome == "failed" and step.name == CANCEL_STEP:
        return cancelled(machine, run, line, Failure(event.reason, step.phase, now, run.return_to, kind=event.kind)), []
    back = return_to(run)
    run = replace(run, journal=(*run.journal, line), step_started=now, percent=None, note="")
    run = replace(run, job_taken=run.job_taken and step.name == CANCEL_STEP)  # which keeps what it ends
    if outcome == "retried" and anew:
        run = _from_restart(run, now)
        return replace(machine, run=run, changed=now), _perform(run)
    if outcome == "retried":
        run = replace(run, attempt=run.attempt + 1, deadline=now + due_s(step))
        return replace(machine, run=run, changed=now), _perform(run)
    failure = Failure(event.reason, step.phase, now, back, event.hint, event.kind)
    return stopped(machine, replace(run, outcome="failed", ended=now), failure), []


def _retried(run: Run, step: Step) -> int:
    """Count the tries of a step that failed since the run began, was resumed, or passed it the last time."""
    count = 0
    for line in reversed(run.journal):
        if line.outcome in ("failed", "cancelled") or (line.step, line.outcome) == (step.name, "done"):
            break
        count += (line.step, line.outcome) == (step.name, "retried")
    return count


def _from_restart(run: Run, now: float) -> Run:
    """Put a run back to the last step that brings the machine to a known state."""
    starts = [at for at, step in enumerate(run.steps[: run.at + 1]) if step.name in RESTARTS]
    at = max(starts, default=0)
    return replace(
        run, at=at, attempt=1, step_started=now, deadline=now + due_s(run.steps[at]), early=(), unheard=False
    )


def _resume(machine: Machine, now: float) -> tuple[Machine, list[Perform]]:
    run = machine.run
    if run is None or run.outcome not in ("failed", "cancelled"):
        raise ConflictError(f"{machine.name} is {machine.state}: it has no run that stopped on its way")
    if not stands_where_it_stopped(machine):
        raise ConflictError(f"{machine.name} is {machine.state}: its last run is not what it came from")
    rule = VERBS[Verb(run.verb)]
    run = replace(_from_restart(run, now), outcome="running", ended=0.0, job_taken=False, limit=now + rule.limit_s)
    hold = None if machine.state is State.QUARANTINED else machine.hold
    machine = replace(machine, state=rule.moving, generation=machine.generation + 1, run=run, failure=None, changed=now)
    return replace(machine, hold=hold), _perform(run)


def _cancel(machine: Machine, now: float) -> tuple[Machine, list[Perform]]:
    """End a run; one whose machine may be writing to its disk once its BMC has switched it off, or cannot."""
    run = machine.run
    if run is None or run.step is None:
        raise ConflictError(f"{machine.name} is {machine.state}: there is nothing to cancel")
    line = _line(run, now, "cancelled")
    if run.step.name == CANCEL_STEP:
        return cancelled(machine, run, line, Failure("nobody waited for that", line.phase, now, run.return_to)), []
    if not may_be_writing(run):
        return cancelled(machine, run, line), []
    kind, at = KINDS[CANCEL_STEP], run.at + 1
    off = Step(CANCEL_STEP, kind.phase, kind.timeout_s, {}, kind.retries)
    run = replace(run, steps=(*run.steps[:at], off, *run.steps[at:]), at=at, attempt=1, journal=(*run.journal, line))
    run = replace(run, step_started=now, deadline=now + due_s(off), percent=None, note="", early=(), unheard=False)
    run = replace(run, limit=max(run.limit, now + due_s(off) * (1 + off.retries)))
    return replace(machine, run=run, changed=now), _perform(run)


def _line(run: Run, now: float, outcome: str, note: str = "") -> JournalLine:
    """Write down how the try of the step under way went."""
    step = run.steps[run.at]
    return JournalLine(step.name, step.phase, run.attempt, run.step_started, now, outcome, note)


def current_action(machine: Machine) -> list[Perform]:
    """What has to be done again after a restart of the daemon: the action under way, if the step acts."""
    return _perform(machine.run) if machine.run is not None else []
