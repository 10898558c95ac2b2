"""What a change of a machine is called in the outbox and in its trace. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

from provisioner.model.machine import Machine, Run
from provisioner.model.names import run_name
from provisioner.model.trace import Channel, TraceLine

Named = tuple[str, dict[str, Any]]


def describe(before: Machine | None, after: Machine | None) -> list[Named]:
    """Name what differs between two states of one machine, in the order that it happened."""
    if after is None:
        return [("machine.forgotten", {"name": before.name if before else ""})]
    if before is None:
        return [("machine.created", {"name": after.name, "state": after.state})]
    found: list[Named] = []
    if before.name != after.name:
        found.append(("machine.renamed", {"from": before.name, "to": after.name}))
    if before.facts != after.facts:
        found.append(("machine.facts", {"profile": after.profile}))
    found += _of_run(before.run, after.run)
    if before.state != after.state:
        found.append(("machine.state", {"from": before.state, "to": after.state, "run": after.run and after.run.id}))
    return found


def _of_run(before: Run | None, after: Run | None) -> list[Named]:
    if after is None or after == before:
        return []
    found: list[Named] = []
    if before is None or before.id != after.id:
        found.append(("run.started", {"run": after.id, "verb": after.verb, "bootenv": after.bootenv}))
        before = None
    old = len(before.journal) if before else 0
    for line in after.journal[old:]:
        data = {"run": after.id, "step": line.step, "phase": line.phase, "attempt": line.attempt}
        found.append((f"step.{line.outcome}", {**data, "note": line.note} if line.note else data))
    if after.step is None and (before is None or before.outcome != after.outcome):
        found.append((f"run.{after.outcome}", {"run": after.id, "verb": after.verb, "bootenv": after.bootenv}))
    return found


_MACHINE = tuple(each.name for each in fields(Machine) if each.name not in ("seen", "run"))
_RUN = tuple(each.name for each in fields(Run) if each.name not in ("percent", "note"))
_of_machine, _of_its_run = attrgetter(*_MACHINE), attrgetter(*_RUN)


def is_lasting(before: Machine, after: Machine) -> bool:
    """Say whether a change has to outlive a crash: not when a machine was last heard of, nor how far a download is."""
    if _of_machine(before) != _of_machine(after):
        return True
    if before.run is None or after.run is None:
        return before.run is not after.run
    return bool(_of_its_run(before.run) != _of_its_run(after.run))


def trace_lines(machine: Machine, events: Sequence[Named], now: float) -> list[TraceLine]:
    """Put events into the operator's words."""
    run = machine.run.id if machine.run else ""
    lines = []
    for kind, data in events:
        text = _TEXT.get(kind)
        if text is None:
            continue
        ok = kind not in ("step.failed", "step.retried", "run.failed")
        called = run_name(str(data.get("verb", "")), str(data.get("bootenv", "")))
        filled = text.format_map({"note": "", "run_name": called, **data})
        lines.append(TraceLine(now, Channel.LIFE, f"life.{kind}", filled, None, machine.id, run, ok))
    return lines


_TEXT = {
    "machine.created": "new machine {name}: {state}",
    "machine.facts": "facts recorded, profile {profile}",
    "machine.state": "{from} -> {to}",
    "run.started": "{run_name}",
    "step.failed": "{step} failed: {note}",
    "step.retried": "{step} failed, trying again: {note}",
    "step.cancelled": "{step} cancelled",
    "run.done": "{run_name} done",
    "run.failed": "{run_name} failed",
    "run.cancelled": "{run_name} cancelled",
}
