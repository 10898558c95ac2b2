"""Scripts whose try is over: they are told to stop, and nothing is taken for somebody's while one may be at work."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from provisioner.discovery.build.ramdisk import RAMDISK
from provisioner.errors import ConflictError, RunOverError, TicketError
from provisioner.lifecycle.conductor import Conductor
from provisioner.model.machine import State
from provisioner.model.workflow import FlowMember, FlowRun, FlowStatus, FlowStep, Stage, Where
from provisioner.workflow.jobs import LIBRARY, job_name, script
from provisioner.workflow.progress import Ended, Event, Lost, Order, Taken, Tick, advance
from tests.lifecycle.rack import Metal
from tests.lifecycle.test_faults import SetClock
from tests.workflow.flows import NOW, run_of
from tests.workflow.rack import FlowRack
from tests.workflow.test_engine import over, ready

FLOW = """
name: wipe
title: a script that takes longer than it may
goal: [disk.wiped]
steps:
  wipe: {where: discovery, provides: [disk.wiped], destructive: true, limit_s: LIMIT, script: dd}
"""
SCRIPT = FlowStep("script", Where.DISCOVERY, provides=("a.b",), retries=1)
WIPE = FlowStep("wipe", Where.DISCOVERY, provides=("c.d",), destructive=True, once=True)
END = NOW + SCRIPT.limit_s

LOOSE: dict[str, tuple[FlowStep, tuple[tuple[float, Event], ...], float]] = {
    "it is under way": (SCRIPT, (), 0.0),
    "it said that it ended": (SCRIPT, ((1, Ended("m1", 1, True)),), 0.0),
    "it said that it failed": (WIPE, ((1, Ended("m1", 1, False, "status 3")),), 0.0),
    "its limit is over": (WIPE, ((SCRIPT.limit_s, Tick()),), END),
    "its limit is over, and it is given again": (SCRIPT, ((SCRIPT.limit_s, Tick()),), END),
    "it was not heard of": (SCRIPT, ((5, Lost("m1", 1, "silent")),), END),
    "it was not heard of, and may be begun only once": (WIPE, ((5, Lost("m1", 1, "silent")),), END),
    "its run was aborted": (WIPE, ((5, Order.ABORT),), END),
}


@pytest.mark.parametrize(("step", "events", "loose"), LOOSE.values(), ids=LOOSE.keys())
def test_until_when_a_script_may_go_on(step: FlowStep, events: tuple[tuple[float, Event], ...], loose: float) -> None:
    run, _ = advance(run_of(step), Tick(), NOW)
    untaken = run
    run, _ = advance(run, Taken("m1", 1, "agent"), NOW)
    for after_s, event in events:
        run, _ = advance(run, event, NOW + after_s)
        untaken, _ = advance(untaken, event, NOW + after_s)
    assert (run.members[0].loose, untaken.members[0].loose) == (loose, 0.0)


class Working(FlowRack):
    """Machines whose agents have fetched their script, and work on it until they are let."""

    token = job = ""

    def __init__(self, folder: Path, limit: str) -> None:
        super().__init__(folder, ("node17",), FLOW.replace("LIMIT", limit))
        self.ended = asyncio.Event()

    async def _step(self, metal: Metal, token: str, job_id: str) -> str | None:
        self.token, self.job = token, job_id
        await self._until(metal, lambda c: c.booter.agent_job(token, metal.ip, job_id))
        metal.log.append("wipe begins")
        await self.ended.wait()
        command: str | None = await self._until(
            metal, lambda c: c.booter.agent_done(token, metal.ip, job_id, 0, "done")
        )
        return command

    async def begun(self) -> FlowRun:
        """Bring the script to where it is at work."""
        await ready(self)
        run = await self.begin("wipe")
        while "wipe begins" not in self.one().log:
            await asyncio.sleep(0.01)
        return run

    async def says(self, conductor: Conductor) -> list[type[Exception] | None]:
        """What the agent hears for a sign of life, and for what the script prints."""
        heard: list[type[Exception] | None] = []
        ip = self.one().ip
        for told in (
            conductor.booter.agent_progress(self.token, ip, "wipe", 1.0, ""),
            conductor.booter.agent_output(self.token, ip, self.job, 0, b"x"),
        ):
            try:
                await told
            except TicketError as error:
                heard.append(type(error))
            else:
                heard.append(None)
        return heard

    async def adopted(self, conductor: Conductor) -> State:
        """Adopt as soon as that is taken."""
        while True:
            try:
                return (await conductor.adopt("node17", "debian-12")).state
            except ConflictError:
                await asyncio.sleep(0.01)


async def test_a_script_over_its_limit_is_told_to_stop_before_its_machine_is_taken(tmp_path: Path) -> None:
    rack = Working(tmp_path, "600")
    rack.clock = clock = SetClock()
    async with rack.alive(), rack.daemon() as conductor:
        run = await rack.begun()
        assert await rack.says(conductor) == [None, None]
        clock.ahead_s += 600
        run = await over(rack, run)
        assert (run.status, run.members[0].reason) == (FlowStatus.FAILED, "wipe: not done within 600 s")
        with pytest.raises(ConflictError, match="a script of a workflow may go on on it: wipe: not done within 600 s"):
            await conductor.adopt("node17", "debian-12")
        assert await rack.says(conductor) == [RunOverError, RunOverError]
        rack.ended.set()  # killed, its agent reports that, and asks what to do
        assert await rack.adopted(conductor) is State.ACTIVE


async def test_a_script_of_an_aborted_run_comes_to_its_end_before_its_machine_is_taken(tmp_path: Path) -> None:
    rack = Working(tmp_path, "3600")
    async with rack.alive():
        async with rack.daemon() as conductor:
            run = await rack.engine.order((await rack.begun()).id, Order.ABORT)
            assert run.members[0].reason == "wipe was under way; what it does is not stopped"
        async with rack.daemon() as conductor:
            for asked in (conductor.adopt("node17", "debian-12"), conductor.forget("node17")):
                with pytest.raises(ConflictError, match="may go on on it"):
                    await asked
            assert await rack.says(conductor) == [None, TicketError]
            rack.ended.set()
            assert await rack.adopted(conductor) is State.ACTIVE


async def test_a_machine_that_was_switched_off_has_no_script_at_work(tmp_path: Path) -> None:
    rack = Working(tmp_path, "3600")
    async with rack.alive(), rack.daemon() as conductor:
        await rack.engine.order((await rack.begun()).id, Order.ABORT)
        await conductor.power("node17", "off")
        assert (await conductor.adopt("node17", "debian-12")).state is State.ACTIVE


@pytest.mark.peer
@pytest.mark.slow
async def test_a_script_ends_itself_where_nobody_can_tell_it(tmp_path: Path) -> None:
    """With all that it started; its own `wait` does not wait for what ends it."""
    step = FlowStep("burn", Where.DISCOVERY, script="sleep 0.1 & wait; echo waited; sleep 60", limit_s=600.0)
    run = run_of(step)
    member = FlowMember("m1", "node1", ("burn",), fence=1, stage=Stage.RUNNING)
    (tmp_path / "work").mkdir()
    text = script(run, member, step, left_s=0.5).decode().replace(LIBRARY, "/dev/null")
    (tmp_path / "work/script").write_text(text)
    command = f". {RAMDISK}/lib.sh; . {RAMDISK}/work.sh; execute {job_name(run, member)}"
    environment = os.environ | {"PROVISIONER_STATE": str(tmp_path)}
    process = await asyncio.create_subprocess_exec(
        "busybox", "sh", "-c", command, env=environment, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert printed == b"waited\nnot done within 600 s\n"
    assert (tmp_path / "work/status").read_text() == "137\n"
