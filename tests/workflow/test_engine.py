"""Workflows over machines that behave: every place that a step can be in, refusals, and what breaks on the way."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType

import pytest

from provisioner.errors import ConfigError, ConflictError, NotFoundError, PreflightError, TicketError
from provisioner.model.bmc import Power
from provisioner.model.intent import Event
from provisioner.model.machine import State
from provisioner.model.workflow import FlowRun, FlowStatus, Stage, Wish
from provisioner.store.db import Database
from provisioner.workflow.progress import Order
from tests.lifecycle.rack import Metal
from tests.lifecycle.test_conductor import settled
from tests.lifecycle.test_faults import SetClock
from tests.workflow.rack import FlowRack

BURN = """
name: burn
title: every place but an installer
goal: [burnt.in]
also: [sensors.seen]
params: {minutes: {kind: number, default: 3}}
steps:
  memory: {where: discovery, provides: [memory.tested], retries: 1, pause_s: 0, script: "echo $PARAM_minutes"}
  together: {where: discovery, provides: [burnt.in], requires: [memory.tested], barrier: true, script: load}
  sensors: {where: bmc, verb: sensors.read, requires: [burnt.in], provides: [sensors.seen]}
"""
INSTALL = """
name: install
title: an installer, and the system that it made
goal: [cluster.joined]
steps:
  begin:
    {where: daemon, action: boot, with: {bootenv: fake-installer, until: installer}, destructive: true,
     provides: [installer.running]}
  disks: {where: installer, provides: [disks.prepared], script: pvcreate}
  wait:
    {where: daemon, action: wait, with: {state: active}, requires: [disks.prepared],
     provides: [os.made, system.running]}
  init: {where: system, provides: [cluster.made], requires: [os.made], barrier: true, leader: true, script: init}
  join: {where: system, provides: [cluster.joined], requires: [cluster.made], script: join}
"""
WIPE = """
name: wipe
title: something that destroys
goal: [disk.wiped]
steps:
  wipe: {where: discovery, provides: [disk.wiped], destructive: true, script: wipe, on_error: back}
  back: {where: daemon, action: hold, with: {reason: "broke in {run}"}}
"""
WAITS = """
name: waits
title: waits for what may have been said before
goal: [go.said]
steps:
  say: {where: daemon, action: wait, with: {signal: go}, provides: [go.said]}
"""
NAMES = ("node17", "node18")


async def over(rack: FlowRack, run: FlowRun, *, limit_s: float = 20) -> FlowRun:
    """Wait until a run is over, and say how it ended."""
    async with asyncio.timeout(limit_s):
        while not (found := rack.engine.get(run.id)).over:
            await asyncio.sleep(0.005)
    return found


async def until(rack: FlowRack, run: FlowRun, holds: Callable[[FlowRun], bool]) -> FlowRun:
    async with asyncio.timeout(20):
        while not holds(found := rack.engine.get(run.id)):
            await asyncio.sleep(0.005)
    return found


async def ready(rack: FlowRack) -> None:
    """Bring all machines to where their hardware is known."""
    assert rack.conductor
    for metal in rack.metal:
        await rack.enrol(metal.name)
        await rack.conductor.boot(metal.name, "discovery")
        await settled(rack.conductor, metal.name)


def reasons(run: FlowRun) -> dict[str, str]:
    return {member.name: member.reason for member in run.members}


async def test_a_burn_in_of_two_machines_with_a_barrier(tmp_path: Path) -> None:
    rack = FlowRack(tmp_path, NAMES, BURN)
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        run = await over(rack, await rack.begin("burn", params={"minutes": 5}))
        assert (run.status, reasons(run)) == (FlowStatus.DONE, {"node17": "", "node18": ""})
        assert rack.unanswered == 0, "nothing that a machine says on its way is refused"
        steps = [line.step for line in run.members[0].journal]
        assert steps == ["memory", "together", "sensors"], "its discovery system runs already"
        log = [each for metal in rack.metal for each in metal.log if not each.startswith("power")]
        assert sorted(log) == sorted(["memory", "together", "sensors.read"] * 2)
        assert any("PARAM_minutes=5\n" in script and "MACHINE=node17\n" in script for script in rack.scripts)
        assert any("GROUP='node17 node18'\n" in script for script in rack.scripts)
        text, end = await rack.engine.store.output(run.id, run.members[0].machine, 2, 0, 1000)
        assert (text, end) == (b"together on node17\n", 19)
        kinds = [event.type for event in await conductor.events(0, 1000) if event.type.startswith("workflow")]
        assert kinds[0] == "workflow.started"
        assert kinds[-1] == "workflow.done"
        assert kinds.count("workflow.step.done") == 6
        lines = [line.text for _, line in await conductor.trace("node17") if line.event == "workflow.step.done"]
        assert "workflow burn: together done: together on node17" in lines


async def test_the_discovery_system_is_started_where_it_does_not_run(tmp_path: Path) -> None:
    rack = FlowRack(tmp_path, ("node17",), BURN)
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        await conductor.power("node17", "off")
    async with rack.alive(), rack.daemon():
        run = await over(rack, await rack.begin("burn"))
        assert run.status is FlowStatus.DONE
        assert run.members[0].journal[0].step == "start-discovery"


MAKERS = {
    "a distribution's installer": ("fake-installer", ["disks", "install"]),
    "an image, by a job of the discovery system": ("debian-12", ["job job", "disks"]),
}


@pytest.mark.parametrize(("bootenv", "made"), MAKERS.values(), ids=MAKERS.keys())
async def test_an_installer_and_the_systems_that_it_makes(tmp_path: Path, bootenv: str, made: list[str]) -> None:
    rack = FlowRack(tmp_path, NAMES, INSTALL.replace("fake-installer", bootenv))
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        run = await over(rack, await rack.begin("install"))
        assert (run.status, reasons(run)) == (FlowStatus.DONE, {"node17": "", "node18": ""})
        logs = [[each for each in metal.log if not each.startswith("power")] for metal in rack.metal]
        assert logs == [[*made, "init", "join"], [*made, "join"]]
        assert conductor.machines.get("node17").state is State.ACTIVE
        async with asyncio.timeout(20):  # the way in is shut when it asks once more
            while [token for token in conductor._tokens._good.values() if token.purpose == "home"]:
                await asyncio.sleep(0.005)


async def test_a_step_that_fails_has_its_handler(tmp_path: Path) -> None:
    rack = FlowRack(tmp_path, ("node17",), WIPE)
    rack.does = lambda _metal, _step: 3
    rack.prints = "sector 17 cannot be written\n"
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        run = await over(rack, await rack.begin("wipe"))
        assert reasons(run) == {"node17": "wipe: status 3: sector 17 cannot be written"}
        machine = conductor.machines.get("node17")
        assert (machine.state, machine.hold and machine.hold.reason) == (State.MAINTENANCE, f"broke in {run.id}")
        assert rack.one().log.count("wipe") == 1


async def test_one_machine_fails_and_the_barrier_says_whose_fault_it_is(tmp_path: Path) -> None:
    rack = FlowRack(tmp_path, NAMES, BURN)
    rack.does = lambda metal, _step: 1 if metal.name == "node18" else 0
    async with rack.alive(), rack.daemon():
        await ready(rack)
        run = await over(rack, await rack.begin("burn"))
        assert reasons(run) == {
            "node17": "the barrier before together stays shut: 1 machines failed, 0 may (node18)",
            "node18": "memory: status 1: memory on node18",
        }
        rack.does = lambda _metal, _step: 0
        run = await over(rack, await rack.engine.order(run.id, Order.RESUME))
        assert run.status is FlowStatus.DONE


async def test_power_that_is_lost_in_the_middle_of_a_script(tmp_path: Path) -> None:
    """Its discovery system is gone: nothing else takes the script, and the limit says so."""
    rack = FlowRack(tmp_path, ("node17",), BURN.replace("retries: 1, pause_s: 0,", "limit_s: 600,"))
    rack.clock = clock = SetClock()
    rack.does = lambda _metal, _step: None
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        run = await rack.begin("burn")
        verdict = await conductor.why("node17")
        assert verdict.text.startswith(f"node17 is ready, in workflow burn (run {run.id}): memory, since")
        async with asyncio.timeout(20):
            while rack.one().power is not Power.OFF:
                await asyncio.sleep(0.005)
        clock.ahead_s += 600
        run = await over(rack, run)
        assert reasons(run) == {"node17": "memory: not done within 600 s"}


async def test_a_restart_of_the_machine_gives_the_script_once_more_but_not_what_destroys(tmp_path: Path) -> None:
    for flow, status in ((BURN, FlowStatus.DONE), (WIPE, FlowStatus.FAILED)):
        folder = tmp_path / status
        folder.mkdir()
        rack = FlowRack(folder, ("node17",), flow)
        lost: list[str] = []

        def reboots(metal: Metal, step: str, lost: list[str] = lost) -> int | None:
            if step in lost:
                return 0
            lost.append(step)
            return None

        rack.does = reboots
        async with rack.alive(), rack.daemon() as conductor:
            await ready(rack)
            run = await rack.begin("burn" if flow is BURN else "wipe")
            metal = rack.one()
            async with asyncio.timeout(20):
                while not rack.engine.get(run.id).over:
                    await asyncio.sleep(0.01)
                    if metal.power == "off":
                        token = await conductor._tokens.mint(
                            "agent", metal.mac, conductor.machines.get("node17").id,  # type: ignore[arg-type]
                            conductor.machines.get("node17").run.id, metal.ip, conductor.clock.now(),  # type: ignore[union-attr]
                        )  # fmt: skip
                        metal.power = type(metal.power)("on")
                        assert rack._behaviour
                        rack._behaviour.create_task(rack._agent(metal, token))
            run = rack.engine.get(run.id)
            assert run.status is status, reasons(run)
            if flow is WIPE:
                assert metal.log.count("wipe") == 1
                assert "nobody knows whether it was done" in reasons(run)["node17"]


async def test_an_answer_that_did_not_arrive_is_given_again_to_the_same_agent(tmp_path: Path) -> None:
    rack = FlowRack(tmp_path, ("node17",), WIPE)
    broken = iter([False, True])
    rack.fetched = lambda _metal, _step: next(broken)
    async with rack.alive(), rack.daemon():
        await ready(rack)
        run = await over(rack, await rack.begin("wipe"))
        assert (run.status, rack.one().log.count("wipe")) == (FlowStatus.DONE, 1)


async def test_another_token_does_not_get_the_script(tmp_path: Path) -> None:
    rack = FlowRack(tmp_path, ("node17",), WIPE)
    async with rack.daemon() as conductor:
        async with rack.alive():
            await ready(rack)
        run = await rack.begin("wipe")  # nobody asks any more
        machine, member = conductor.machines.get("node17"), run.members[0]
        agents, job = conductor._agents.flows, f"{run.id}.w{member.fence}"
        assert await agents.job(machine, job, "one") == await agents.job(machine, job, "one")
        with pytest.raises(TicketError):
            await agents.job(machine, job, "two")
        with pytest.raises(TicketError):
            await agents.output(machine, f"{run.id}.w9", 0, b"x")
        await agents.done(machine, f"{run.id}.w9", 0, "")
        assert rack.engine.get(run.id).members[0].stage is Stage.RUNNING


async def test_signals_may_come_before_they_are_waited_for(tmp_path: Path) -> None:
    rack = FlowRack(tmp_path, ("node17",), WAITS)
    async with rack.daemon():
        await rack.enrol()
        run = await rack.begin("waits", paused=True)
        await rack.engine.signal(run.id, "go")
        await rack.engine.order(run.id, Order.RESUME)
        assert (await over(rack, run)).status is FlowStatus.DONE
        run = await rack.begin("waits", key="k2")
        await until(rack, run, lambda r: r.members[0].stage is Stage.RUNNING)
        await rack.engine.signal(run.id, "go")
        assert (await over(rack, run)).status is FlowStatus.DONE
        with pytest.raises(ConflictError, match="nothing in it waits"):
            await rack.engine.signal(run.id, "go")


@pytest.mark.parametrize("what", ["signal: go", "event: machine.state"])
async def test_who_waits_reads_nothing_for_events_of_others(tmp_path: Path, what: str) -> None:
    rack, reads = FlowRack(tmp_path, NAMES, WAITS.replace("signal: go", what)), [0]

    def note(frame: FrameType, what: str, _arg: object) -> None:
        reads[0] += what == "call" and frame.f_code is Database.read.__code__

    async with rack.daemon() as conductor:
        for name in NAMES:
            await rack.enrol(name)
        run = await rack.begin("waits")
        await until(rack, run, lambda r: all(member.stage is Stage.RUNNING for member in r.members))
        changed, ids = conductor._runner._changed, [conductor.machines.get(name).id for name in NAMES]
        async with asyncio.timeout(10):  # what its steps read when they begin is over when they wait
            while not all(each in changed and changed[each]._waiters for each in ids):
                await asyncio.sleep(0)
        before = sys.getprofile()
        sys.setprofile(note)
        for seq in range(1000, 1005):
            conductor.announce([Event(seq, 0.0, "x", "another")])
            for _ in range(5):  # turns of the loop in which whoever is woken comes to read
                await asyncio.sleep(0)
        sys.setprofile(before)
        assert reads == [0]
        await rack.engine.signal(run.id, "go")
        for name in NAMES:
            await conductor.hold(name, "as is waited for", key=f"workflow/{run.id}/{name}")
        assert (await over(rack, run)).status is FlowStatus.DONE


async def test_while_a_machine_is_in_a_workflow_nobody_else_takes_it(tmp_path: Path) -> None:
    rack = FlowRack(tmp_path, ("node17",), WAITS, BURN)
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        await conductor.release("node17")
        await conductor.cancel("node17")
        run = await rack.begin("waits")
        asks: list[Callable[[], Awaitable[object]]] = [
            lambda: conductor.boot("node17", "debian-12"),
            lambda: conductor.resume("node17"),
            lambda: conductor.hold("node17", "new fan"),
            lambda: conductor.let_go("node17"),
            lambda: conductor.adopt("node17", "theirs"),
            lambda: conductor.retire("node17"),
            lambda: conductor.unretire("node17"),
            lambda: conductor.forget("node17"),
        ]
        for ask in asks:
            with pytest.raises(ConflictError, match=f"node17 is in workflow waits \\(run {run.id}\\)"):
                await ask()
        with pytest.raises(ConflictError, match="are in another workflow"):
            await rack.begin("burn", key="k2")
        assert (await rack.begin("waits")).id == run.id, "the same key"
        await rack.engine.order(run.id, Order.ABORT)
        assert rack.engine.get(run.id).over
        await conductor.boot("node17", "debian-12")
        await settled(conductor)


async def test_a_machine_that_is_forgotten_ends_its_part(tmp_path: Path) -> None:
    rack = FlowRack(tmp_path, ("node17",), WAITS)
    async with rack.daemon() as conductor:
        await rack.enrol()
        run = await rack.begin("waits")
        with pytest.raises(ConflictError, match="node17 is in workflow waits"):
            await conductor.forget("node17")
        await conductor._runner.forget(conductor.machines.get("node17").id, lambda _: None)  # as `apply --prune` does
        assert reasons(await over(rack, run)) == {"node17": "the machine was forgotten"}


REFUSED: dict[str, tuple[str, dict[str, object], type[Exception], str]] = {
    "no such workflow": ("brun", {}, NotFoundError, "did you mean burn"),
    "no such machine": ("burn", {"select": "node99"}, NotFoundError, "there is no machine node99"),
    "nobody is meant": ("burn", {"select": "rack=r9"}, ConfigError, "0 machines; 1 to 1000"),
    "a parameter that is none": ("burn", {"params": {"minuts": 1}}, ConfigError, "burn has no such parameter"),
    "a parameter of another kind": ("burn", {"params": {"minutes": "x"}}, ConfigError, "'x' is no number"),
    "how many at once": ("burn", {"at_once": -1}, ConfigError, "at_once: -1"),
    "a destructive step on a machine in use": ("wipe", {}, PreflightError, "wipe destroys what is on its disk"),
    "an install that does not say that it destroys": ("bad", {}, PreflightError, "has to say destructive: true"),
    "a handler that installs a machine in use": ("redo", {}, PreflightError, "redo destroys what is on its disk"),
    "a handler that does not say that it destroys": ("bare", {}, PreflightError, "redo writes the machine's disk"),
    "a bootenv that is not there": ("worse", {}, PreflightError, "no bootenv 'debain'"),
}
BAD = """
name: bad
title: installs and does not say so
goal: [os.made]
steps: {one: {where: daemon, action: boot, with: {bootenv: debian-12}, provides: [os.made]}}
"""
REDO = """
name: redo
title: a look, whose handler installs
goal: [site.seen]
steps:
  look: {where: daemon, action: http, with: {url: "http://127.0.0.1:9/"}, provides: [site.seen], on_error: redo}
  redo: {where: daemon, action: boot, with: {bootenv: debian-12}, destructive: true}
"""


async def test_refused(tmp_path: Path) -> None:
    worse = BAD.replace("name: bad", "name: worse").replace("debian-12", "debain")
    bare = REDO.replace(", destructive: true", "").replace("name: redo", "name: bare")
    rack = FlowRack(tmp_path, ("node17",), BURN, WIPE, BAD, REDO, bare, worse)
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        await conductor.adopt("node17", "theirs")
        for what, (name, wish, error, text) in REFUSED.items():
            with pytest.raises(error) as refused:
                await rack.begin(name, **wish)  # type: ignore[arg-type]
            assert text in str(refused.value), what
        assert rack.engine.all() == []
        rack.cannot["sensors.read"] = "ipmi: failed on this firmware"
        (planned,) = await rack.planning.plans(Wish("burn", "node17"))
        assert "-  sensors: sensors.read: ipmi: failed on this firmware" in planned.plan.lines()
