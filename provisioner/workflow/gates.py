"""Where machines of one run wait for each other: barriers and leaders. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from provisioner.model.workflow import FlowMember, FlowRun, FlowStatus, FlowStep, Stage

NAMED = 5
"""Machines that a sentence names; of the others it says how many there are."""


class Gate(StrEnum):
    """How it stands with a step that a machine has come to."""

    OPEN = "open"
    SHUT = "shut"
    BROKEN = "broken"  # it will never open
    BY_LEADER = "by-leader"  # its leader has done it for all


Found = tuple[Gate, str]
OPEN: Found = (Gate.OPEN, "")


@dataclass(frozen=True, slots=True)
class _Stand:
    """What holds at one step for every machine; `leader` is the machine that carries it out, empty where each does."""

    found: Found
    leader: FlowMember | None = None


class Gates:
    """All gates of a run as it stands: what holds for a step is looked at once, however many machines ask."""

    def __init__(self, run: FlowRun) -> None:
        self._run = run
        self._stands: dict[str, _Stand] = {}

    def gate(self, member: FlowMember, step: FlowStep) -> Found:
        """Say whether a machine may begin a step, and what it waits for where not."""
        if not (step.barrier or step.leader):
            return OPEN
        stand = self._stands.get(step.name)
        if stand is None:
            stand = self._stands[step.name] = _stand(self._run, step)
        if stand.found != OPEN or stand.leader is None or stand.leader.machine == member.machine:
            return stand.found
        return Gate.SHUT, f"waits for its leader {stand.leader.name} to do {step.name}"


def _stand(run: FlowRun, step: FlowStep) -> _Stand:
    group = [(member, member.plan.index(step.name)) for member in run.members if step.name in member.plan]
    members = [member for member, _ in group]
    if step.leader and (done := next((m for m in members if _carried_out(m, step)), None)):
        return _Stand((Gate.BY_LEADER, f"done by {done.name}"))
    if step.barrier:
        found = _barrier(run, group, step)
        if found != OPEN:
            return _Stand(found)
    return _leader(members, step) if step.leader else _Stand(OPEN)


def _barrier(run: FlowRun, group: list[tuple[FlowMember, int]], step: FlowStep) -> Found:
    gone = [m for m, place in group if m.stage in (Stage.FAILED, Stage.ABORTED) and m.at <= place]
    failed = run.count(Stage.FAILED)
    if gone and failed > run.max_failures:
        text = f"{failed} machines failed, {run.max_failures} may"
        return Gate.BROKEN, f"the barrier before {step.name} stays shut: {text} ({names(gone)})"
    behind = [m for m, place in group if not m.over and m.at < place]
    return (Gate.SHUT, f"waits at the barrier before {step.name} for {names(behind)}") if behind else OPEN


def _leader(members: list[FlowMember], step: FlowStep) -> _Stand:
    tried = [m for m in members if was_begun(m, step)]
    if broken := next((m for m in tried if m.stage is Stage.FAILED), None):
        return _Stand((Gate.BROKEN, f"its leader {broken.name} failed at {step.name}"))
    able = [m for m in tried or members if not m.over]
    if not able:  # who comes later would begin it a second time
        return _Stand((Gate.BROKEN, f"no machine is left to lead {step.name}"))
    return _Stand(OPEN, min(able, key=lambda m: m.name))


def was_begun(member: FlowMember, step: FlowStep) -> bool:
    """Say whether a machine has begun a step at any time in this run."""
    under_way = member.stage is Stage.RUNNING and member.next == step.name
    return under_way or any(line.step == step.name and line.outcome != "by-leader" for line in member.journal)


def _carried_out(member: FlowMember, step: FlowStep) -> bool:
    return any(line.step == step.name and line.outcome in ("done", "skipped", "gone-on") for line in member.journal)


def names(members: list[FlowMember]) -> str:
    """Name some machines in a sentence."""
    shown = ", ".join(member.name for member in members[:NAMED])
    return f"{shown} and {len(members) - NAMED} more" if len(members) > NAMED else shown


def waits(run: FlowRun, member: FlowMember, now: float, gates: Gates | None = None) -> str:
    """Say what a machine does or waits for; where it is over, why."""
    step = run.step(member)
    if member.over or step is None:
        return member.reason
    if member.stage is Stage.RUNNING:
        unfetched = f": nothing in its {step.where} has fetched the script yet"
        since = f"{step.name}, since {max(0.0, now - member.began):.0f} s"
        return since + (unfetched if step.on_machine and not member.taken else "")
    if run.status is FlowStatus.PAUSED:
        return f"the run is paused before {step.name}"
    if now < member.not_before:
        last = member.journal[-1].note if member.journal else ""
        return f"tries {step.name} again in {member.not_before - now:.0f} s ({last})"
    which, text = OPEN if member.handling else (gates or Gates(run)).gate(member, step)
    return text if which is not Gate.OPEN else f"waits for a place to begin {step.name}"
