"""What keeps workflows from the disks of machines in use. No I/O.

Asked three times: when a run is planned, when a destructive step begins, and when its script is handed out.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence

from provisioner.lifecycle.rest import in_use
from provisioner.model.machine import Machine, State
from provisioner.model.workflow import FlowStep, Where


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
