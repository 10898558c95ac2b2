"""What keeps workflows from the disks of machines in use. No I/O.

Asked three times: when a run is planned, when a destructive step begins, and when its script is handed out. And what
keeps them from a run of a machine that is not theirs: asked when a step begins.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence

from provisioner.bmc.table import VERBS
from provisioner.lifecycle.rest import in_use
from provisioner.model.machine import Machine, Run, State
from provisioner.model.workflow import FlowMember, FlowRun, FlowStep, Where

BOOTS = frozenset({"boot", "release"})
"""Actions that begin a run of a machine."""


def spares_users(step: FlowStep) -> bool:
    """Say whether a step may be carried out on a machine in use.

    A release is what gives it back. A script for the new system is fetched by none but the one that this run installed.
    """
    return not step.destructive or step.action == "release" or step.where is Where.SYSTEM


def refusal(step: FlowStep, machine: Machine) -> str:
    """Say why a step must not be carried out on a machine as it stands; empty where it may."""
    if spares_users(step) or not in_use(machine):
        return ""
    return f"{machine.name} is {machine.state}, and {step.name} destroys what is on its disk{_first(machine)}"


def disturbs(run: FlowRun, member: FlowMember, step: FlowStep, machine: Machine) -> str:
    """Say why a step must not be carried out on a machine that has a run which the workflow did not begin.

    A machine that failed in its workflow is free, so others may have begun one by the time that it goes on there. Such
    a run is left alone: its power and its board, and what it runs on the machine. Intents are refused by themselves.
    """
    theirs = machine.run
    if theirs is None or theirs.step is None or not _touches(step) or _began(run, member, theirs):
        return ""
    hint = f"wait for it, or `provisionctl cancel {machine.name}`, then `provisionctl workflow resume {run.id}`"
    return f"{machine.name} has a run of its own ({theirs.name}), and {step.name} would be in its way: {hint}"


def _touches(step: FlowStep) -> bool:
    return VERBS[step.verb].changes if step.verb else step.on_machine


def _began(run: FlowRun, member: FlowMember, theirs: Run) -> bool:
    """Say whether a run was begun by a step of the workflow: while that is under way, all others are refused."""
    booted = (line for line in member.journal if line.step in run.steps and run.steps[line.step].action in BOOTS)
    return any(line.started <= theirs.started <= line.ended for line in booted)


def destroyers(
    path: Iterable[tuple[FlowStep, FlowStep | None]], installs: Container[str], machine: Machine
) -> Iterator[str]:
    """Name those steps and handlers of a path that would come to a machine in use; `installs` names the installs.

    It is in use as it stands until a step releases it, and again when a step has installed it.
    """
    theirs = used = in_use(machine)
    for step, handler in path:
        for each in (step, handler):
            if each is None or not each.destructive or each.action == "release":
                continue
            if theirs or (used and not spares_users(each)):
                yield each.name
        if step.action == "release":
            theirs = used = False
        elif step.name in installs:
            used = step.given.get("until") != "installer"
        elif step.action == "wait" and step.given.get("state") == State.ACTIVE:
            used = True


def in_the_way(names: Sequence[str], machine: Machine) -> str:
    """Say which steps are refused, and what to do."""
    state = f"{machine.name} is {machine.state}" if in_use(machine) else f"{machine.name} is active by then"
    return f"{state}, and {', '.join(names)} destroys what is on its disk{_first(machine)}"


def _first(machine: Machine) -> str:
    return f": `provisionctl release {machine.name}` first"
