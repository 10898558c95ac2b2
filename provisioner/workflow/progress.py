"""What each event makes of a workflow run, and which steps begin. No I/O.

What is decided is written before it is done. A script is handed to whoever holds the machine's token, again to the same
holder until it has given a sign of having begun, never to another; an action of ours is begun again after a crash where
doing it twice is the same as doing it once. A step that may be begun only once is never begun a second time in one run:
where nobody knows how far it came, its machine stops there and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from provisioner.errors import ConflictError
from provisioner.model.workflow import FlowLine, FlowMember, FlowRun, FlowStatus, FlowStep, Stage, Then
from provisioner.workflow.gates import Gate, Gates, was_begun

LOST_TRIES = 3
"""Times that a script may be lost on its way (a reboot, a restart of the daemon) beside the step's own tries."""
GRACE_S = 60.0
"""What a step is given after a restart of the daemon, at the least: nobody could be heard meanwhile."""
UNKNOWN = "nobody knows whether it was done, and it may be begun only once"


@dataclass(frozen=True, slots=True)
class Start:
    """Carry out the step that a machine is at."""

    machine: str
    fence: int


# events


@dataclass(frozen=True, slots=True)
class Taken:
    """Something on the machine has fetched the script; `by` tells it from another."""

    machine: str
    fence: int
    by: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A try has ended. `again` says whether another can help."""

    machine: str
    fence: int
    ok: bool
    note: str = ""
    again: bool = True


@dataclass(frozen=True, slots=True)
class Lost:
    """What had fetched the script is gone or does something else."""

    machine: str
    fence: int
    reason: str


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The machine is no longer on record."""

    machine: str


@dataclass(frozen=True, slots=True)
class Signal:
    """Somebody says something to the run; a step may wait for it, now or later."""

    name: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; `now` tells how much."""


class Order(StrEnum):
    """What an operator says of a run; `CARRY_ON` comes from a daemon that starts again."""

    PAUSE = "pause"
    RESUME = "resume"
    STEP = "step"
    SKIP = "skip"
    ABORT = "abort"
    CARRY_ON = "carry-on"


Refusal = Callable[[FlowMember, FlowStep], str]
"""Says why a step must not begin on a machine as it stands; empty where it may."""

OfMember = Taken | Ended | Lost | Forgotten
Event = OfMember | Signal | Tick | Order

MAY = {
    Order.PAUSE: frozenset({FlowStatus.RUNNING}),
    Order.RESUME: frozenset({FlowStatus.PAUSED, FlowStatus.FAILED}),
    Order.STEP: frozenset({FlowStatus.PAUSED}),
    Order.SKIP: frozenset({FlowStatus.PAUSED, FlowStatus.FAILED, FlowStatus.RUNNING}),
    Order.ABORT: frozenset({FlowStatus.RUNNING, FlowStatus.PAUSED}),
    Order.CARRY_ON: frozenset(FlowStatus),
}
"""In which states of a run each order is taken."""


def advance(run: FlowRun, event: Event, now: float, refusal: Refusal | None = None) -> tuple[FlowRun, list[Start]]:
    """Say what `event` makes of `run`, and which steps are to be carried out by us.

    What concerns no try under way changes nothing. `refusal` is asked before a step begins. Raises `ConflictError`
    where an order does not fit.
    """
    again: list[Start] = []
    match event:
        case Order():
            run, again = _ordered(run, event, now)
        case Signal():
            if event.name not in run.signals:
                run = replace(run, signals=(*run.signals, event.name))
        case Tick():
            run = _tick(run, now)
        case _:
            run = _each(run, lambda m: _happened(run, m, event, now) if m.machine == event.machine else m)
    run = _gates(run, now)
    run, begun = _begin(run, now, refusal)
    return _judged(run, now), [*again, *begun]


def _each(run: FlowRun, change: Callable[[FlowMember], FlowMember]) -> FlowRun:
    return replace(run, members=tuple(change(member) for member in run.members))


# orders


def _ordered(run: FlowRun, order: Order, now: float) -> tuple[FlowRun, list[Start]]:
    if run.status not in MAY[order]:
        raise ConflictError(f"run {run.id} is {run.status}: it cannot {order} from there")
    match order:
        case Order.PAUSE:
            run = replace(run, status=FlowStatus.PAUSED, reason="paused by the operator", paused=now)
            return _each(run, lambda m: replace(m, granted=0)), []  # of an earlier pause
        case Order.STEP:
            return _each(run, lambda m: replace(m, granted=1) if m.stage is Stage.WAITING else m), []
        case Order.RESUME:
            return _going_on(run, _each(run, lambda m: _revived(run, m)), now), []
        case Order.SKIP:
            return _going_on(run, _each(run, lambda m: _skipped(run, m, now)), now), []
        case Order.ABORT:
            run = _each(run, lambda m: m if m.over else _aborted(m))
            return replace(run, status=FlowStatus.ABORTED, reason="aborted by the operator"), []
        case Order.CARRY_ON:
            return _taken_up(run, now)


def _going_on(run: FlowRun, after: FlowRun, now: float) -> FlowRun:
    """Let a run go on, whose machines stand as in `after` then: one that is over has all its time again."""
    if run.over:
        if after == run:
            hint = f"look at the machines, then `provisionctl workflow resume {run.id} --skip`"
            raise ConflictError(f"run {run.id}: what failed may be begun only once", hint=hint)
        after = replace(after, ended=0.0, limit=now + run.limit_s)
    elif run.status is FlowStatus.PAUSED:
        after = replace(after, limit=min(run.limit + max(0.0, now - run.paused), now + run.limit_s))
    return replace(after, status=FlowStatus.RUNNING, reason="")


def _aborted(member: FlowMember) -> FlowMember:
    """Leave a machine as it is. Its script stays with who has it, who brings it to its end."""
    reason = f"{member.next} was under way; what it does is not stopped" if member.stage is Stage.RUNNING else ""
    return replace(member, stage=Stage.ABORTED, reason=reason, loose=member.unheld.loose)


def _revived(run: FlowRun, member: FlowMember) -> FlowMember:
    """Let a machine that failed try its step again, unless that step may be begun only once."""
    step = run.steps.get(member.plan[member.at]) if member.at < len(member.plan) else None
    if member.stage is not Stage.FAILED or step is None or (step.once and was_begun(member, step)):
        return member
    return replace(member, stage=Stage.WAITING, attempt=1, lost=0, handling="", mended=(), not_before=0.0, reason="")


def _skipped(run: FlowRun, member: FlowMember, now: float) -> FlowMember:
    """Let a machine that failed go on behind the step: an operator has seen to it. One that did not begin it tries."""
    step = run.steps.get(member.plan[member.at]) if member.at < len(member.plan) else None
    if member.stage is not Stage.FAILED or step is None:
        return member
    if not was_begun(member, step):
        return _revived(run, member)
    line = FlowLine(member.plan[member.at], member.fence, member.attempt, now, now, "skipped", member.reason)
    return _behind(replace(member, journal=(*member.journal, line), handling="", reason=""))


def _taken_up(run: FlowRun, now: float) -> tuple[FlowRun, list[Start]]:
    """Go on after a restart: actions of ours are begun again, or told to be of unknown outcome."""
    if run.status is FlowStatus.PAUSED:
        run = replace(run, paused=min(run.paused, now))
    elif not run.over:
        run = replace(run, limit=min(max(run.limit, now + GRACE_S), now + run.limit_s))
    again: list[Start] = []

    def each(member: FlowMember) -> FlowMember:
        step = run.step(member)
        if member.stage is Stage.WAITING and step is not None:
            return replace(member, not_before=min(member.not_before, now + step.pause_s))
        if member.stage is not Stage.RUNNING or step is None:
            return member
        deadline = min(max(member.deadline, now + min(GRACE_S, step.limit_s)), now + step.limit_s)
        member = replace(member, deadline=deadline, began=min(member.began, now))
        if step.on_machine:
            return member
        if step.verb and step.once:  # actions of ours are keyed by the try: begun again, they happen once
            return _ended(run, member, Ended(member.machine, member.fence, False, UNKNOWN, again=False), now)
        again.append(Start(member.machine, member.fence))
        return member

    return _each(run, each), again


# what happens


def _happened(run: FlowRun, member: FlowMember, event: OfMember, now: float) -> FlowMember:
    if isinstance(event, Forgotten):
        return member if member.over else replace(member, stage=Stage.FAILED, reason="the machine was forgotten")
    if member.stage is not Stage.RUNNING or event.fence != member.fence:
        return member  # of a try that is over
    match event:
        case Taken():
            return member if member.taken else replace(member, taken=event.by)
        case Ended():
            return _ended(run, replace(member, taken=""), event, now)
        case Lost():
            return _lost(run, member, event, now)


def _tick(run: FlowRun, now: float) -> FlowRun:
    whole = not run.over and run.limit and now >= run.limit and run.status is not FlowStatus.PAUSED

    def each(member: FlowMember) -> FlowMember:
        step = run.step(member)
        if member.over or step is None:
            return member
        if whole:
            hours = run.limit_s / 3600
            return _failed(member, f"the run took longer than {hours:.1f} h", now)
        if member.stage is Stage.RUNNING and now >= member.deadline:
            late = Ended(member.machine, member.fence, False, f"not done within {step.limit_s:.0f} s")
            return _ended(run, member, late, now)
        return member

    return _each(run, each)


def _line(member: FlowMember, outcome: str, note: str, now: float) -> tuple[FlowLine, ...]:
    line = FlowLine(member.next, member.fence, member.attempt, member.began, now, outcome, note)
    return (*member.journal, line)


def _ended(run: FlowRun, member: FlowMember, event: Ended, now: float) -> FlowMember:
    step = run.step(member)
    assert step is not None
    if event.ok:
        done = replace(member, journal=_line(member, "done", event.note, now))
        return _handled(run, done, now) if member.handling else _behind(done)
    if event.again and not step.once and member.attempt <= step.retries:
        journal = _line(member, "retried", event.note, now)
        member = replace(member.unheld, attempt=member.attempt + 1, not_before=now + step.pause_s)
        return replace(member, stage=Stage.WAITING, journal=journal)
    return _out_of_tries(run, member, step, event.note, now)


def _out_of_tries(run: FlowRun, member: FlowMember, step: FlowStep, note: str, now: float) -> FlowMember:
    journal = _line(member, "failed", note, now)
    if member.handling:
        reason = f"{member.reason}; its handler {step.name} failed, too: {note}"
        return replace(member.unheld, stage=Stage.FAILED, journal=journal, reason=reason)
    member = replace(member.unheld, journal=journal, reason=f"{step.name}: {note}", attempt=1, lost=0)
    if step.handler and step.name not in member.mended:
        handler = run.steps[step.handler]
        if handler.once and was_begun(member, handler):
            reason = f"{member.reason}; its handler {handler.name} may be begun only once, and was"
            return replace(member, stage=Stage.FAILED, reason=reason)
        mended = (*member.mended, step.name)
        return replace(member, stage=Stage.WAITING, handling=step.handler, mended=mended, not_before=0.0)
    return replace(member, stage=Stage.FAILED)


def _handled(run: FlowRun, member: FlowMember, now: float) -> FlowMember:
    """Go on as the step says whose handler has done its work."""
    step = run.steps[member.plan[member.at]]
    member = replace(member, handling="", taken="", attempt=1, lost=0)
    match step.then:
        case Then.FAIL:
            return replace(member, stage=Stage.FAILED)
        case Then.AGAIN:
            return replace(member, stage=Stage.WAITING, not_before=now + step.pause_s, reason="")
        case Then.GO_ON:
            line = FlowLine(step.name, member.fence, member.attempt, now, now, "gone-on", member.reason)
            return _behind(replace(member, journal=(*member.journal, line)))


def _behind(member: FlowMember) -> FlowMember:
    """Let a machine go on behind the step that it is at."""
    at = member.at + 1
    stage = Stage.DONE if at >= len(member.plan) else Stage.WAITING
    return replace(member, at=at, stage=stage, attempt=1, lost=0, taken="", not_before=0.0, reason="")


def _lost(run: FlowRun, member: FlowMember, event: Lost, now: float) -> FlowMember:
    step = run.step(member)
    assert step is not None
    if step.once:
        return _ended(run, member, Ended(member.machine, member.fence, False, f"{event.reason}: {UNKNOWN}"), now)
    if member.lost >= LOST_TRIES:
        return _ended(run, member, Ended(member.machine, member.fence, False, event.reason), now)
    journal = _line(member, "lost", event.reason, now)
    return replace(member.unheld, stage=Stage.WAITING, lost=member.lost + 1, journal=journal, not_before=0.0)


def _failed(member: FlowMember, reason: str, now: float) -> FlowMember:
    journal = _line(member, "failed", reason, now) if member.stage is Stage.RUNNING else member.journal
    return replace(member.unheld, stage=Stage.FAILED, reason=reason, journal=journal)


# what begins


def _gates(run: FlowRun, now: float) -> FlowRun:
    """Let machines pass steps that their leader has done, and stop those whose barrier cannot open any more."""
    while True:
        gates = Gates(run)
        members = tuple(_at_gate(run, member, gates, now) for member in run.members)
        if all(new is old for new, old in zip(members, run.members, strict=True)):
            return run
        run = replace(run, members=members)


def _at_gate(run: FlowRun, member: FlowMember, gates: Gates, now: float) -> FlowMember:
    step = run.step(member)
    if member.stage is not Stage.WAITING or step is None or member.handling:
        return member
    which, text = gates.gate(member, step)
    if which is Gate.BROKEN:
        return replace(member, stage=Stage.FAILED, reason=text)
    if which is Gate.BY_LEADER:
        line = FlowLine(step.name, member.fence, member.attempt, now, now, "by-leader", text)
        return _behind(replace(member, journal=(*member.journal, line)))
    return member


def _begin(run: FlowRun, now: float, refusal: Refusal | None) -> tuple[FlowRun, list[Start]]:
    members, starts, gates = list(run.members), [], Gates(run)
    places = (run.at_once or len(members)) - run.count(Stage.RUNNING)
    for at, member in enumerate(members):
        step = run.step(member)
        if step is None or places <= 0 or not _may_begin(run, member, step, gates, now):
            continue
        if refusal is not None and (text := refusal(member, step)):
            reason = f"{member.reason}; {text}" if member.handling else text
            members[at] = replace(member, stage=Stage.FAILED, reason=reason)
            continue
        places -= 1
        members[at] = begun = replace(
            member,
            stage=Stage.RUNNING,
            fence=member.fence + 1,
            began=now,
            deadline=now + step.limit_s,
            granted=max(0, member.granted - 1),
            taken="",
        )
        if not step.on_machine:
            starts.append(Start(begun.machine, begun.fence))
    return replace(run, members=tuple(members)), starts


def _may_begin(run: FlowRun, member: FlowMember, step: FlowStep, gates: Gates, now: float) -> bool:
    if member.stage is not Stage.WAITING or now < member.not_before:
        return False
    if run.status is not FlowStatus.RUNNING and not (run.status is FlowStatus.PAUSED and member.granted):
        return False
    return bool(member.handling) or gates.gate(member, step)[0] is Gate.OPEN


def _judged(run: FlowRun, now: float) -> FlowRun:
    """End a run in which nothing is left to do."""
    if run.over or run.count(Stage.WAITING, Stage.RUNNING):
        return run
    if run.status is FlowStatus.ABORTED:
        return replace(run, ended=now)
    if failed := run.count(Stage.FAILED):
        reason = f"{failed} of {len(run.members)} machines did not get there"
        return replace(run, status=FlowStatus.FAILED, reason=reason, ended=now)
    return replace(run, status=FlowStatus.DONE, reason="", ended=now)
