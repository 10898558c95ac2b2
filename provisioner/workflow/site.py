"""Puts workflows together: the engine, what machines ask, the BMCs as the resolver chooses them, the API."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any

from provisioner.bmc.arguments import arguments, plain
from provisioner.bmc.bootmode import told
from provisioner.bmc.pool import Bmcs
from provisioner.bmc.rotation import spare_own
from provisioner.bmc.ways import Ways
from provisioner.errors import BmcUnsupported
from provisioner.lifecycle.conductor import Conductor
from provisioner.model.bmc import BmcAddress
from provisioner.model.machine import Machine
from provisioner.store.db import Database
from provisioner.web.workflows import WorkflowApi
from provisioner.workflow.engine import Engine
from provisioner.workflow.load import Library
from provisioner.workflow.machines import FlowAgents
from provisioner.workflow.perform import Boards, Performer
from provisioner.workflow.planning import Planning


class SiteBoards:
    """The BMCs of machines as workflows ask them: every verb by its name, through the resolver."""

    def __init__(self, bmcs: Bmcs, ways: Ways) -> None:
        self._bmcs, self._ways = bmcs, ways

    async def do(self, machine: Machine, verb: str, given: Mapping[str, Any]) -> Any:
        """Do a verb; returns plain values."""
        read = arguments(verb, given)
        spare_own(machine, verb, read)
        if reason := await self.cannot(machine, verb):
            raise BmcUnsupported(f"{machine.name}: {verb}: {reason}", hint="nothing was done in its place")

        def call(to: BmcAddress, password: str) -> Awaitable[Any]:
            return self._bmcs.do(to, password, verb, **told(machine, to, verb, read))

        return plain(await self._ways.ask(machine, verb, call))

    async def cannot(self, machine: Machine, verb: str) -> str:
        """Say why no driver of a machine can do a verb; empty where one can."""
        found = await self._bmcs.resolve(verb, await self._ways.all(machine))
        return "" if found.order else "; ".join(f"{one.driver}: {one.reason}" for one in found.left_out)


@dataclass(frozen=True, slots=True)
class SiteWorkflows:
    """Workflows, put together: `engine` runs, `api` answers."""

    engine: Engine
    api: WorkflowApi


async def site_workflows(conductor: Conductor, db: Database, boards: Boards, library: Library) -> SiteWorkflows:
    """Put workflows behind the conductor and the API."""
    engine = Engine(conductor, db, Performer(conductor, db, boards))
    await engine.open()
    agents = FlowAgents(engine, conductor.doors.next_password)
    conductor.serve(agents)
    return SiteWorkflows(engine, WorkflowApi(engine, Planning(conductor, library, boards, agents)))
