"""What a change of a workflow run is called in the outbox and in the traces of its machines. No I/O."""

from __future__ import annotations

from typing import Any

from provisioner.model.trace import Channel, TraceLine
from provisioner.model.workflow import FlowMember, FlowRun, FlowStatus, Stage

Told = tuple[str, str, dict[str, Any]]
"""Type, machine (empty: of the run as a whole), data."""

CALLED = {
    FlowStatus.RUNNING: "workflow.resumed",
    FlowStatus.PAUSED: "workflow.paused",
    FlowStatus.DONE: "workflow.done",
    FlowStatus.FAILED: "workflow.failed",
    FlowStatus.ABORTED: "workflow.aborted",
}
OF_STEP = {
    "begun": "workflow.step.begun",
    "done": "workflow.step.done",
    "retried": "workflow.step.retried",
    "failed": "workflow.step.failed",
    "lost": "workflow.step.lost",
    "by-leader": "workflow.step.by-leader",
    "skipped": "workflow.step.skipped",
    "gone-on": "workflow.step.gone-on",
}
"""By the outcome of a line of a machine's journal."""
OF_MACHINE = {
    Stage.DONE: "workflow.machine.done",
    Stage.FAILED: "workflow.machine.failed",
    Stage.ABORTED: "workflow.machine.aborted",
}
BAD = ("failed", "lost", "retried")


def describe(before: FlowRun | None, after: FlowRun) -> list[Told]:
    """Name what differs between two states of one run, in the order that it happened."""
    run = {"workflow": after.workflow, "run": after.id}
    if before is None:
        told: list[Told] = [("workflow.started", "", {**run, "select": after.select, "machines": len(after.members)})]
        return told + [each for member in after.members for each in _of_member(run, None, member)]
    told = [("workflow.signal", "", {**run, "signal": name}) for name in after.signals[len(before.signals) :]]
    for old, new in zip(before.members, after.members, strict=True):
        if old is not new and old != new:
            told += _of_member(run, old, new)
    if before.status is not after.status:
        told.append((CALLED[after.status], "", {**run, "reason": after.reason} if after.reason else run))
    return told


def _of_member(run: dict[str, Any], before: FlowMember | None, after: FlowMember) -> list[Told]:
    told: list[Told] = []
    for line in after.journal[len(before.journal) if before else 0 :]:
        data = {**run, "step": line.step, "attempt": line.attempt, **({"note": line.note} if line.note else {})}
        told.append((OF_STEP[line.outcome], after.machine, data))
    if after.stage is Stage.RUNNING and (before is None or before.fence != after.fence):
        told.append((OF_STEP["begun"], after.machine, {**run, "step": after.next, "attempt": after.attempt}))
    if after.over and not (before and before.over):
        data = {**run, "reason": after.reason} if after.reason else run
        told.append((OF_MACHINE[after.stage], after.machine, data))
    return told


def trace_lines(events: list[Told], now: float) -> list[TraceLine]:
    """Put what happened to machines into the operator's words."""
    lines = []
    for kind, machine, data in events:
        if not machine:
            continue
        what = kind.rpartition(".")[2]
        subject = data.get("step", "")
        note = data.get("note", "") or data.get("reason", "")
        text = f"workflow {data['workflow']}: {f'{subject} ' if subject else ''}{what}" + (f": {note}" if note else "")
        ok = what not in BAD
        lines.append(TraceLine(now, Channel.LIFE, kind, text, None, machine, data["run"], ok))
    return lines
