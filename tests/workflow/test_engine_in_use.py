"""The discovery system of a machine in use: it goes on for the machine's workflow alone."""

from __future__ import annotations

from pathlib import Path

from provisioner.model.workflow import FlowStatus
from tests.lifecycle.test_conductor import settled
from tests.workflow.rack import FlowRack
from tests.workflow.test_engine import BURN, over, ready


async def test_a_machine_in_use_stays_in_the_discovery_system_for_its_workflow_alone(tmp_path: Path) -> None:
    rack = FlowRack(tmp_path, ("node17",), BURN)
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        await conductor.adopt("node17", "theirs")
        await conductor.boot("node17", "discovery")
        machine = await settled(conductor)
        assert machine.run
        assert machine.run.steps[-1].name == "finalize.on"
        run = await over(rack, await rack.begin("burn"))
        assert run.status is FlowStatus.DONE
        assert run.members[0].journal[0].step == "start-discovery", "what ran for the inspection is gone"
        machine = conductor.machines.get("node17")
        assert machine.run
        assert machine.run.steps[-1].name == "wait.facts"
