"""The rules of a run: which steps an operation has, and what each event does to a machine. No I/O.

A run's plan is pinned in the machine's record. A step either *acts* (the conductor performs it; it is written as
"ensure", so doing it twice does no harm) or *waits* for a signal that the machine gives by what it does. A signal
completes its wait and every wait before it, since a machine whose agent reports has also fetched its loader, whether we
saw that or not; it never completes an action.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from provisioner.errors import ConflictError
from provisioner.model.bmc import BootTarget, Power
from provisioner.model.machine import Failure, JournalLine, Machine, Phase, Run, State, Step


class Signal(StrEnum):
    """What a machine does that a run waits for."""

    DHCP = "dhcp"  # its firmware or loader asked for an address
    LOADER = "loader"  # it fetched a loader
    SCRIPT = "script"  # it fetched its boot script
    FACTS = "facts"  # the discovery system runs and has reported
    JOB = "job"  # the agent ended its job with status 0
    LOCAL = "local-boot"  # it asked for an address on its way from the disk
    HOME = "phone-home"  # the installed system runs


@dataclass(frozen=True, slots=True)
class StepKind:
    """A row of the step table. `signal` is None for a step that acts."""

    phase: Phase
    timeout_s: float
    signal: Signal | None = None
    retries: int = 0
    network: bool = False
    """While this step is under way, the machine is to boot from the network."""


KINDS: dict[str, StepKind] = {
    "power.off": StepKind(Phase.POWER, 120, retries=2),
    "boot.network": StepKind(Phase.POWER, 60, retries=2, network=True),
    "power.on": StepKind(Phase.POWER, 120, retries=2, network=True),
    "wait.dhcp": StepKind(Phase.DHCP, 600, Signal.DHCP, network=True),
    "wait.loader": StepKind(Phase.LOADER, 300, Signal.LOADER, network=True),
    "wait.script": StepKind(Phase.LOADER, 300, Signal.SCRIPT, network=True),
    "wait.facts": StepKind(Phase.FETCH, 900, Signal.FACTS, network=True),
    "wait.job": StepKind(Phase.INSTALL, 3600, Signal.JOB, retries=1, network=True),
    "finalize.off": StepKind(Phase.FINALIZE, 120, retries=2),
    "boot.disk": StepKind(Phase.FINALIZE, 60, retries=2),
    "finalize.on": StepKind(Phase.FINALIZE, 120, retries=2),
    "wait.local-boot": StepKind(Phase.LOCAL_BOOT, 900, Signal.LOCAL),
    "wait.phone-home": StepKind(Phase.PHONE_HOME, 900, Signal.HOME),
}
"""Time limits: firmware of big servers needs up to ten minutes from power-on to its first DHCP packet (memory
training), an image of 10 GB on a 1 Gbit/s link needs two, a package install up to an hour."""

NETBOOT = ("power.off", "boot.network", "power.on", "wait.dhcp", "wait.loader", "wait.script", "wait.facts")
FROM_DISK = ("finalize.off", "boot.disk", "finalize.on", "wait.local-boot", "wait.phone-home")

ENSURES: dict[str, Power | BootTarget] = {
    "power.off": Power.OFF,
    "finalize.off": Power.OFF,
    "power.on": Power.ON,
    "finalize.on": Power.ON,
    "boot.disk": BootTarget.DISK,
}
"""What an action brings about; `boot.network` depends on how the machine boots (`Machine.boot_via`)."""


class Verb(StrEnum):
    """What an operator can ask of a machine that takes a run."""

    INSPECT = "inspect"  # boot the discovery system, report facts
    DEPLOY = "deploy"  # install a bootenv onto the disk
    RELEASE = "release"  # erase, power off, back to ready
    POWER_OFF_RELEASE = "release-keep"  # the same without erasing


@dataclass(frozen=True, slots=True)
class VerbRule:
    """Which states a verb starts from, the state it moves through, its steps."""

    start: frozenset[State]
    moving: State
    steps: tuple[str, ...]


_RESTING = frozenset({State.DISCOVERED, State.ENROLLED, State.READY, State.RESERVED, State.ACTIVE})

VERBS: dict[Verb, VerbRule] = {
    Verb.INSPECT: VerbRule(_RESTING | {State.MAINTENANCE}, State.INSPECTING, NETBOOT),
    Verb.DEPLOY: VerbRule(_RESTING, State.DEPLOYING, (*NETBOOT, "wait.job", *FROM_DISK)),
    Verb.RELEASE: VerbRule(_RESTING, State.RELEASING, (*NETBOOT, "wait.job", "finalize.off")),
    Verb.POWER_OFF_RELEASE: VerbRule(_RESTING, State.RELEASING, ("finalize.off",)),
}


# events


@dataclass(frozen=True, slots=True)
class Begin:
    """An intent was accepted: start this run."""

    run_id: str
    verb: Verb
    bootenv: str
    job: str = ""
    """Which job the agent is given at `wait.job`."""


@dataclass(frozen=True, slots=True)
class Done:
    """The action of step `at` of run `run_id` reached its end state."""

    run_id: str
    at: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """The action of step `at` did not; `again` says whether another try can help."""

    run_id: str
    at: int
    reason: str
    hint: str = ""
    again: bool = True


@dataclass(frozen=True, slots=True)
class Seen:
    """The machine did something that a run may wait for."""

    signal: Signal
    note: str = ""


@dataclass(frozen=True, slots=True)
class JobTaken:
    """The agent has fetched its job."""

    run_id: str


@dataclass(frozen=True, slots=True)
class Progress:
    """The agent or installer says how far it is."""

    run_id: str
    percent: float | None
    note: str


@dataclass(frozen=True, slots=True)
class JobFailed:
    """The agent's job ended with another status than 0."""

    run_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; `now` tells how much."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """The operator does not want it any more."""


OfRun = Done | Failed | JobTaken | Progress | JobFailed
Event = Begin | Seen | Tick | Cancel | OfRun


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
        case Begin():
            return _begin(machine, event, now)
        case Cancel():
            return _cancel(machine, now), []
        case Seen():
            return _seen(machine, event, now)
        case Tick():
            return _tick(machine, now)
        case Done() | Failed() | JobTaken() | Progress() | JobFailed():
            run = machine.run
            if run is None or run.step is None or run.id != event.run_id:
                return machine, []
            return _of_run(machine, run, event, now)


def _begin(machine: Machine, event: Begin, now: float) -> tuple[Machine, list[Perform]]:
    rule = VERBS[event.verb]
    if machine.run is not None and machine.run.step is not None:
        raise ConflictError(
            f"{machine.name} is {machine.state}: {machine.run.verb} {machine.run.bootenv} is under way",
            hint=f"wait for it, or `provisionctl cancel {machine.name}`",
        )
    if machine.state not in rule.start:
        raise ConflictError(f"{machine.name} is {machine.state}: it cannot {event.verb} from there")
    steps = tuple(_step(name, event) for name in rule.steps)
    run = Run(event.run_id, event.verb, event.bootenv, steps, started=now, step_started=now)
    run = replace(run, return_to=machine.state, deadline=now + steps[0].timeout_s)
    machine = replace(machine, state=rule.moving, generation=machine.generation + 1, run=run, failure=None, changed=now)
    return machine, _perform(run)


def _step(name: str, event: Begin) -> Step:
    kind = KINDS[name]
    params = {"job": event.job} if name == "wait.job" else {}
    return Step(name, kind.phase, kind.timeout_s, params, kind.retries)


def _perform(run: Run) -> list[Perform]:
    step = run.step
    if step is None or KINDS[step.name].signal is not None:
        return []
    return [Perform(run.id, run.at, step)]


def _of_run(machine: Machine, run: Run, event: OfRun, now: float) -> tuple[Machine, list[Perform]]:
    in_job = run.step is not None and run.step.name == "wait.job"
    match event:
        case Done(at=at) if at == run.at:
            return _move(machine, run, run.at + 1, event.note, now)
        case Failed(at=at) if at == run.at:
            return _again_or_fail(machine, run, event, now)
        case JobFailed() if in_job:
            return _again_or_fail(machine, run, Failed(run.id, run.at, event.reason, again=False), now)
        case JobTaken() if in_job:
            return replace(machine, run=replace(run, job_taken=True), seen=now), []
        case Progress():
            return replace(machine, run=replace(run, percent=event.percent, note=event.note), seen=now), []
        case _:
            return machine, []


def _seen(machine: Machine, event: Seen, now: float) -> tuple[Machine, list[Perform]]:
    machine = replace(machine, seen=now)
    run = machine.run
    if run is None or run.step is None:
        return machine, []
    to = _completed_by(run, event.signal)
    if to is not None:
        return _move(machine, run, to, event.note, now)
    if run.step.name == "wait.job" and event.signal is Signal.FACTS and run.job_taken:
        return _again_or_fail(machine, run, Failed(run.id, run.at, "the machine restarted during its job"), now)
    if run.step.name in ("power.on", "finalize.on") and event.signal not in run.early:
        # the machine is faster than its BMC tells: kept until the action is known to be done
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
    run = replace(run, at=to, attempt=1, step_started=now, percent=None, note="", journal=run.journal + passed)
    if to == len(run.steps):
        return _ended(machine, replace(run, outcome="done", ended=now), now), []
    run = replace(run, deadline=now + run.steps[to].timeout_s)
    for signal in run.early:
        if (further := _completed_by(run, signal)) is not None:
            return _move(machine, replace(run, early=tuple(s for s in run.early if s != signal)), further, "", now)
    return replace(machine, run=run, changed=now), _perform(run)


def _ended(machine: Machine, run: Run, now: float) -> Machine:
    match run.verb:
        case Verb.DEPLOY:
            return replace(machine, state=State.ACTIVE, bootenv=run.bootenv, run=run, changed=now)
        case Verb.INSPECT:
            back = run.return_to
            return replace(machine, state=with_facts(back, machine), run=run, changed=now)
        case _:
            return replace(machine, state=State.READY, bootenv="", run=run, changed=now)


def with_facts(state: State, machine: Machine) -> State:
    """Say where a machine stands once its hardware is known: ready, when there is a BMC to drive it with."""
    return State.READY if state in (State.DISCOVERED, State.ENROLLED) and machine.bmc is not None else state


def _tick(machine: Machine, now: float) -> tuple[Machine, list[Perform]]:
    run = machine.run
    if run is None or run.step is None or now < run.deadline:
        return machine, []
    limit = f"{run.step.timeout_s:.0f} s"
    reason = WAITED_FOR.get(run.step.name, "{step} did not end").format(step=run.step.name)
    return _again_or_fail(machine, run, Failed(run.id, run.at, f"{reason} within {limit}", again=False), now)


WAITED_FOR = {
    "wait.dhcp": "its firmware sent no DHCP request",
    "wait.loader": "it got an address but fetched no loader",
    "wait.script": "it fetched a loader but no boot script",
    "wait.facts": "the discovery system did not report",
    "wait.job": "the job on the machine did not end",
    "wait.local-boot": "it did not start from its disk",
    "wait.phone-home": "the installed system did not report",
}


def _again_or_fail(machine: Machine, run: Run, event: Failed, now: float) -> tuple[Machine, list[Perform]]:
    step = run.step
    assert step is not None
    outcome = "failed" if not event.again or run.attempt > step.retries else "retried"
    line = JournalLine(step.name, step.phase, run.attempt, run.step_started, now, outcome, event.reason)
    run = replace(run, journal=(*run.journal, line), step_started=now, job_taken=False, percent=None, note="")
    if outcome == "retried":
        run = replace(run, attempt=run.attempt + 1, deadline=now + step.timeout_s)
        return replace(machine, run=run, changed=now), _perform(run)
    failure = Failure(event.reason, step.phase, now, _return_to(run), event.hint)
    return _stopped(machine, replace(run, outcome="failed", ended=now), failure), []


def _stopped(machine: Machine, run: Run, failure: Failure) -> Machine:
    bootenv = machine.bootenv if failure.return_to is State.ACTIVE else ""
    state = failure.return_to
    return replace(machine, state=state, bootenv=bootenv, failure=failure, run=run, changed=failure.at)


def _return_to(run: Run) -> State:
    """Say where a machine goes back to: a disk that may be half written is not `active` any more."""
    touched = any(line.step == "wait.facts" for line in run.journal) and run.verb != Verb.INSPECT
    return State.READY if touched and run.return_to is State.ACTIVE else run.return_to


def _cancel(machine: Machine, now: float) -> Machine:
    run = machine.run
    if run is None or run.step is None:
        raise ConflictError(f"{machine.name} is {machine.state}: there is nothing to cancel")
    line = JournalLine(run.step.name, run.step.phase, run.attempt, run.step_started, now, "cancelled")
    run = replace(run, journal=(*run.journal, line), outcome="cancelled", ended=now)
    return _stopped(machine, run, Failure("cancelled by the operator", line.phase, now, _return_to(run)))


def wants_network(run: Run) -> bool:
    """Say whether the machine is to boot from the network at this point of its run."""
    return run.step is not None and KINDS[run.step.name].network


def current_action(machine: Machine) -> list[Perform]:
    """What has to be done again after a restart of the daemon: the action under way, if the step acts."""
    return _perform(machine.run) if machine.run is not None else []


GRACE_S = 60.0
"""What a step is given after a restart of the daemon, at the least: its signals could not be heard meanwhile."""


def resumed(machine: Machine, now: float) -> Machine:
    """Set a run's deadline anew after a restart: not over while nobody listened, not a day off if the clock was set."""
    run = machine.run
    if run is None or run.step is None:
        return machine
    deadline = min(max(run.deadline, now + min(GRACE_S, run.step.timeout_s)), now + run.step.timeout_s)
    return replace(machine, run=replace(run, deadline=deadline))


def job_id(run: Run) -> str:
    """Name the job of this attempt: a job is fetched once."""
    return f"{run.id}.{run.at}.{run.attempt}"


def agent_command(machine: Machine) -> str:
    """Say what the agent on a machine is to do now: one line of docs/architecture.md, "Agent"."""
    run = machine.run
    if run is not None and run.step is not None and run.step.name == "wait.job" and not run.job_taken:
        return f"run {job_id(run)}"
    return "wait 15" if run is None or run.step is None else "wait 2"
