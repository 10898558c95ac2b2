"""The rack in memory with workflows: agents, installers and new systems that do steps, BMCs that do verbs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from provisioner import yamlfile
from provisioner.errors import CatalogError
from provisioner.fields import Faults
from provisioner.lifecycle.conductor import Conductor
from provisioner.model.bmc import Power
from provisioner.model.machine import Machine
from provisioner.model.workflow import FlowRun, Wish
from provisioner.store.db import Database
from provisioner.workflow.decode import decode_workflow
from provisioner.workflow.engine import Engine
from provisioner.workflow.jobs import of_job
from provisioner.workflow.load import Library
from provisioner.workflow.machines import FlowAgents
from provisioner.workflow.perform import Performer
from provisioner.workflow.planning import Planning
from tests.lifecycle.points import Points
from tests.lifecycle.rack import Metal, Rack

PACE_S = 0.02
PIECE_BYTES = 65536
"""Of what a step prints, in one post: as `log_limit` of the agent."""


class FakeBoards:
    """BMCs whose verbs leave a mark, unless they are told to refuse."""

    def __init__(self, rack: FlowRack, points: Points) -> None:
        self._rack = rack
        self._points = points

    async def do(self, machine: Machine, verb: str, given: Mapping[str, Any]) -> Any:
        self._points.point(f"before {verb}")
        metal = self._rack.one(machine.name)
        metal.log.append(verb)
        self._points.point(f"after {verb}")
        return {"verb": verb, **given}

    async def cannot(self, machine: Machine, verb: str) -> str:
        return self._rack.cannot.get(verb, "")


class FlowRack(Rack):
    """A rack whose daemon has workflows. `does` is told of every script; what it returns is its status."""

    def __init__(self, folder: Path, names: Sequence[str] = ("node17",), *texts: str) -> None:
        super().__init__(folder, names)
        faults = Faults(CatalogError)
        self.library = Library([decode_workflow(yamlfile.load(text, "test.yaml"), faults) for text in texts])
        faults.check("workflows")
        self.cannot: dict[str, str] = {}
        self.does: Callable[[Metal, str], int | None] = lambda _metal, _step: 0
        """None: the power is lost in the middle of it."""
        self.prints = ""
        self.engine: Engine
        self.planning: Planning
        self.agents: FlowAgents
        self.scripts: list[str] = []
        self.fetched: Callable[[Metal, str], bool] = lambda _metal, _step: True
        """Whether the answer with a script arrives."""

    async def beside(self, conductor: Conductor, db: Database, points: Points) -> list[Callable[[], Any]]:
        boards = FakeBoards(self, points)
        self.engine = Engine(conductor, db, Performer(conductor, db, boards), tick_s=PACE_S, unsaved_pause_s=PACE_S)
        await self.engine.open()
        self.agents = FlowAgents(self.engine, conductor.doors.next_password)
        conductor.serve(self.agents)
        self.planning = Planning(conductor, self.library, boards, self.agents)
        return [self.engine.run]

    async def begin(self, workflow: str, select: str = "name=*", key: str = "k", **wish: Any) -> FlowRun:
        return await self.engine.begin(Wish(workflow, select, **wish), self.planning.run, key=key)

    # what machines do with steps

    async def _job(self, metal: Metal, token: str, job_id: str) -> str | None:
        if of_job(job_id) is None:
            return await super()._job(metal, token, job_id)
        return await self._step(metal, token, job_id)

    async def _step(self, metal: Metal, token: str, job_id: str) -> str | None:
        script = await self._until(metal, lambda c: c.booter.agent_job(token, metal.ip, job_id))
        if not script:
            return None
        step = re.search(r"^STEP=(\S+)$", script.decode(), re.MULTILINE)
        assert step
        if not self.fetched(metal, step[1]):
            return None  # the connection broke; it asks what to do
        self.scripts.append(script.decode())
        metal.log.append(f"{step[1]}")
        status = self.does(metal, step[1])
        if status is None:
            metal.power = Power.OFF
            return None
        await self._until(metal, lambda c: c.booter.agent_progress(token, metal.ip, "work", 50.0, ""))
        text = (self.prints or f"{step[1]} on {metal.name}\n").encode()
        for place in range(0, len(text), PIECE_BYTES):
            piece = text[place : place + PIECE_BYTES]
            await self._until(metal, lambda c, at=place, p=piece: c.booter.agent_output(token, metal.ip, job_id, at, p))
        command: str | None = await self._until(
            metal, lambda c: c.booter.agent_done(token, metal.ip, job_id, status, text.decode())
        )
        return command

    async def steps(self, metal: Metal, token: str) -> None:
        """What an installer or a new system does: ask for steps until there are no more."""
        while metal.power is Power.ON:
            command = await self._until(metal, lambda c: c.booter.agent_step(token, metal.ip, 0.5))
            if command is None or command == "continue":
                return
            if command.startswith("run "):
                await self._step(metal, token, command[4:])
