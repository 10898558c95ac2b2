"""Plans a workflow for machines: reads what is known of each, asks the planner, makes a run of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.errors import ConfigError, NotFoundError, PreflightError, ProvisionerError
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.plans import Verb
from provisioner.lifecycle.preflight import verb_for
from provisioner.lifecycle.runner import new_run_id
from provisioner.lifecycle.selectors import parse
from provisioner.model.machine import MOVING, Machine, State
from provisioner.model.workflow import FlowMember, FlowRun, FlowStatus, FlowStep, Where, Wish
from provisioner.workflow import guard
from provisioner.workflow.actions import filled
from provisioner.workflow.decode import Workflow
from provisioner.workflow.load import Library
from provisioner.workflow.machines import FlowAgents
from provisioner.workflow.milestones import given_to
from provisioner.workflow.perform import Boards
from provisioner.workflow.plan import FlowPlan, Ground, plan

MOST = 1000
"""Machines of one run: each of its events looks at all of them, which takes some milliseconds then."""
AT_ONCE = 64
"""BMCs that are asked together for what they can."""
POLLED_S = 60.0
"""A discovery system asks what to do every 20 s at the latest."""
AWAY = frozenset({State.RETIRED, State.EXTERNAL})


@dataclass(frozen=True, slots=True)
class MachinePlan:
    """The path for one machine, or what is in its way (`plan.faults`)."""

    machine: Machine
    plan: FlowPlan


class Planning:
    """Plans over the machines of a conductor."""

    def __init__(self, conductor: Conductor, library: Library, boards: Boards, agents: FlowAgents) -> None:
        self._conductor = conductor
        self.library = library
        self._boards = boards
        self._agents = agents

    async def plans(self, wish: Wish) -> list[MachinePlan]:
        """Plan for every machine that is meant. Raises `ConfigError`, `NotFoundError`."""
        flow = self.library.get(wish.workflow)
        run = FlowRun("", flow.name, flow.steps, params=checked_params(flow, wish.params))
        places = asyncio.Semaphore(AT_ONCE)
        meant = self._meant(wish.select)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._plan(flow, run, machine, places)) for machine in meant]
        return [task.result() for task in tasks]

    async def run(self, wish: Wish) -> FlowRun:
        """Make a run, not yet begun. Raises `PreflightError` where a machine has no path; nothing was touched."""
        flow = self.library.get(wish.workflow)
        if not 0 <= wish.at_once <= MOST:
            raise ConfigError(f"{flow.name} cannot be run", faults=[f"at_once: {wish.at_once}: 0 to {MOST}"])
        planned = await self.plans(wish)
        faults = [f"{each.machine.name}: {fault}" for each in planned for fault in each.plan.faults]
        if faults:
            raise PreflightError(f"{flow.name} cannot be run on all of these; nothing was touched", faults=faults)
        since, now = await self._conductor.last_event(), self._conductor.clock.now()
        members = tuple(
            FlowMember(each.machine.id, each.machine.name, each.plan.steps, each.plan.reasons, each.plan.left_out)
            for each in planned
        )
        used = {name for member in members for name in member.plan}
        used |= {flow.steps[name].handler for name in used}
        return FlowRun(
            new_run_id(),
            flow.name,
            {name: step for name, step in flow.steps.items() if name in used},
            wish.select,
            checked_params(flow, wish.params),
            members,
            wish.at_once,
            flow.max_failures if wish.max_failures is None else wish.max_failures,
            flow.limit_s,
            now + flow.limit_s,
            FlowStatus.PAUSED if wish.paused else FlowStatus.RUNNING,
            "begun paused" if wish.paused else "",
            since=since,
            created=now,
            paused=now if wish.paused else 0.0,
        )

    def _meant(self, select: str) -> Sequence[Machine]:
        machines, selector = self._conductor.machines.all(), parse(select)
        if unknown := selector.unknown(machines):
            more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
            raise NotFoundError(f"there is no machine {', '.join(unknown[:5])}{more}")
        meant = [machine for machine in machines if selector.selects(machine)]
        if not meant or len(meant) > MOST:
            raise ConfigError(f"select: {select[:200]!r}: {len(meant)} machines; 1 to {MOST}")
        return meant

    async def _plan(self, flow: Workflow, run: FlowRun, machine: Machine, places: asyncio.Semaphore) -> MachinePlan:
        wanted = sorted({verb for offer in flow.offers for verb in offer.verbs})
        async with places:
            verbs = {verb: await self._cannot(machine, verb) for verb in wanted}
        given = given_to(machine, self._agents.discovery_runs(machine, POLLED_S))
        found = plan(flow, Ground(given, machine.facts, verbs))
        faults = (*found.faults, *self._in_the_way(run, machine, found))
        return MachinePlan(machine, FlowPlan(found.steps, found.reasons, found.left_out, faults))

    async def _cannot(self, machine: Machine, verb: str) -> str:
        try:
            return await self._boards.cannot(machine, verb)
        except ProvisionerError as error:
            return str(error)

    def _in_the_way(self, run: FlowRun, machine: Machine, found: FlowPlan) -> list[str]:
        if machine.state in MOVING or machine.state in AWAY:
            return [f"{machine.name} is {machine.state}"]
        steps = [run.steps[name] for name in found.steps]
        handlers = dict.fromkeys(step.handler for step in steps if step.handler)
        each = [*steps, *(run.steps[name] for name in handlers if name not in found.steps)]
        faults = [fault for step in each if (fault := self._bad_boot(run, machine, step))]
        if faults:
            return faults
        installs = {step.name for step in steps if self._installs(run, machine, step)}
        path = [(step, run.steps.get(step.handler)) for step in steps]
        if names := tuple(dict.fromkeys(guard.destroyers(path, installs, machine))):
            faults.append(guard.in_the_way(names, machine))
        return faults

    def _installs(self, run: FlowRun, machine: Machine, step: FlowStep) -> bool:
        """Say whether a step installs a machine. Raises `ProvisionerError`."""
        if step.where is not Where.DAEMON or step.action != "boot":
            return False
        given = filled(step.given, run, FlowMember(machine.id, machine.name, (step.name,)))
        return verb_for(self._conductor.bootenv(given["bootenv"])) in INSTALLS

    def _bad_boot(self, run: FlowRun, machine: Machine, step: FlowStep) -> str:
        """Say what is wrong with a step that boots or gives away a machine."""
        if step.where is not Where.DAEMON or step.action not in ("boot", "release"):
            return ""
        given = filled(step.given, run, FlowMember(machine.id, machine.name, (step.name,)))
        erases = step.action == "release" and given.get("erase", True)
        try:
            installs = self._installs(run, machine, step)
        except ProvisionerError as error:
            return f"{step.name}: {error}"
        if (erases or installs) and not step.destructive:
            return f"{step.name} writes the machine's disk: the workflow has to say destructive: true"
        return ""


INSTALLS = (Verb.DEPLOY, Verb.INSTALL)


def checked_params(flow: Workflow, given: Mapping[str, Any]) -> dict[str, Any]:
    """Put defaults and given values together; raise `ConfigError` with everything that is wrong."""
    faults = [f"params.{name}: {flow.name} has no such parameter" for name in given if name not in flow.params]
    found = {}
    for name, param in flow.params.items():
        value = given.get(name, param.default)
        if value is None:
            faults.append(f"params.{name}: has to be given: {param.about or param.kind}")
        elif not param.fits(value):
            faults.append(f"params.{name}: {value!r} is no {param.kind}")
        found[name] = value
    if faults:
        raise ConfigError(f"{flow.name} cannot be run", faults=faults)
    return found
