"""A machine that is in use by the time that a destructive step comes to it is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.errors import ConflictError, TicketError
from provisioner.lifecycle.rest import adopt
from provisioner.model.workflow import FlowRun, FlowStatus, Wish
from provisioner.workflow.progress import Order
from tests.lifecycle.test_conductor import settled
from tests.lifecycle.test_faults import until, working
from tests.workflow.rack import FlowRack
from tests.workflow.test_engine import WIPE, over, ready, reasons


async def test_what_destroys_does_not_begin_on_a_machine_that_is_in_use_since(tmp_path: Path) -> None:
    paused = FlowRack(tmp_path, ("node17",), WIPE)
    async with paused.alive(), paused.daemon() as conductor:
        await ready(paused)

        async def plan(wish: Wish) -> FlowRun:
            planned = await paused.planning.run(wish)
            await conductor.adopt("node17", "theirs")  # before the machine is in the run
            return planned

        run = await over(paused, await paused.engine.begin(Wish("wipe", "node17"), plan))
        assert reasons(run)["node17"].startswith("node17 is active, and wipe destroys what is on its disk")
        assert not [each for each in paused.one().log if not each.startswith("power")]
        with pytest.raises(ConflictError, match="only a machine that is not in use"):
            await conductor.adopt("node17", "theirs")


CYCLE = """
name: cycle
title: something that fails, and then the power
goal: [cycle.done]
steps:
  look: {where: daemon, action: webhook, with: {url: "http://127.0.0.1:1/"}, provides: [look.done]}
  cycle: {where: bmc, verb: power.cycle, requires: [look.done], provides: [cycle.done]}
"""


async def test_a_run_that_began_since_its_machine_failed_is_not_switched_off(tmp_path: Path) -> None:
    rack = FlowRack(tmp_path, ("node17",), CYCLE)
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        run = await over(rack, await rack.begin("cycle"))
        rack.during_job = lambda _metal: False
        await conductor.boot("node17", "debian-12")
        await until(conductor, working)
        run = await over(rack, await rack.engine.order(run.id, Order.SKIP))
        assert "node17 has a run of its own (deploy debian-12)" in reasons(run)["node17"]
        assert "power.cycle" not in rack.one().log
        await conductor.cancel("node17")
        await settled(conductor)
        run = await over(rack, await rack.engine.order(run.id, Order.RESUME))
        assert (run.status, rack.one().log.count("power.cycle")) == (FlowStatus.DONE, 1)


async def test_a_script_that_destroys_is_not_handed_out_to_a_machine_that_is_in_use_by_now(tmp_path: Path) -> None:
    rack = FlowRack(tmp_path, ("node17",), WIPE)
    async with rack.daemon() as conductor:
        async with rack.alive():
            await ready(rack)
        run = await rack.begin("wipe")  # nobody asks any more
        member, agents = run.members[0], conductor._agents.flows
        machine = await conductor._runner.change(run.members[0].machine, lambda m, now: (adopt(m, "theirs", now), []))
        with pytest.raises(TicketError):
            await agents.job(machine, f"{run.id}.w{member.fence}", "one")
        run = await over(rack, run)
        assert "node17 is active, and wipe destroys what is on its disk" in reasons(run)["node17"]
