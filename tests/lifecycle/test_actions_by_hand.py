"""What an operator had a machine's board do: in its trace, and of its power what was read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.errors import BmcTimeout
from provisioner.lifecycle import rest
from provisioner.model.bmc import Power
from provisioner.model.machine import Machine, Phase, Run, State, Step
from tests.lifecycle.rack import Rack

ON, OFF = Power.ON, Power.OFF
FAILED = BmcTimeout("bmc-node17: no answer")

DONE: dict[str, tuple[Power, str, object, Power, list[tuple[str, bool]]]] = {
    # what its board says, the verb and what came of it, and what is on record and in the trace then
    "switched off": (OFF, "power.off", None, OFF, [("power.off asked for, it is off", True)]),
    "switched on": (ON, "power.on", None, ON, [("power.on asked for, it is on", True)]),
    "a push is looked after": (OFF, "power.soft-off", None, OFF, [("power.soft-off asked for, it is off", True)]),
    "a reading": (OFF, "power.status", OFF, OFF, []),
    "a reading of something else": (OFF, "sensors.read", [], ON, []),
    "a change of something else": (OFF, "boot.once.cd", None, ON, [("boot.once.cd asked for, it is done", True)]),
    "a failure": (OFF, "power.off", FAILED, ON, [("power.off asked for, it failed: bmc-node17: no answer", False)]),
}


@pytest.mark.parametrize(("says", "verb", "outcome", "power", "lines"), DONE.values(), ids=DONE.keys())
async def test_what_was_done_by_hand(
    tmp_path: Path, says: Power, verb: str, outcome: object, power: Power, lines: list[tuple[str, bool]]
) -> None:
    rack = Rack(tmp_path)
    async with rack.daemon() as conductor:
        await rack.enrol()
        machine = await conductor.power("node17", "on")
        seen = [seq for seq, _ in await conductor.trace("node17")]
        rack.one().power = says
        await conductor.did_by_hand(machine, verb, outcome)
        assert conductor.machines.get("node17").power is power
        found = await conductor.trace("node17", after=seen[-1])
        assert [(line.text, line.ok) for _, line in found if line.event == "bmc.by-hand"] == lines


def test_a_run_that_is_under_way_knows_better() -> None:
    run = Run("r1", "deploy", "debian-12", State.READY, (Step("wait.facts", Phase.FETCH, 60.0),))
    resting = Machine("m1", "node17", State.READY, power=ON)
    assert rest.found(replace(resting, state=State.DEPLOYING, run=run), OFF).power is ON
    assert rest.found(resting, OFF).power is OFF


async def test_a_machine_that_is_gone_meanwhile_has_no_record(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    async with rack.daemon() as conductor:
        machine = await rack.enrol()
        await conductor.forget("node17")
        await conductor.did_by_hand(machine, "power.status", ON)
        assert len(conductor.machines) == 0
