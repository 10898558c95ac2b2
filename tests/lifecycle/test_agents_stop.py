"""What an agent hears whose run is over: that it is to stop, and nothing of the image any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.errors import BmcUnreachable, ConflictError, RunOverError, TicketError
from provisioner.lifecycle.agents import _take
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.inputs import Cancel
from provisioner.lifecycle.plans import job_id
from provisioner.lifecycle.steps import advance
from provisioner.model.bmc import Power
from provisioner.model.machine import Machine, State
from tests.lifecycle.rack import Metal, Rack
from tests.lifecycle.test_conductor import ready, settled
from tests.lifecycle.test_faults import until, working
from tests.lifecycle.test_steps import at_step


class Writing(Rack):
    """Machines whose agent has taken its job and works, and whose tokens a test may speak with."""

    token = ""
    job = ""

    async def _agent(self, metal: Metal, token: str) -> None:
        self.token = token
        await super()._agent(metal, token)

    async def _job(self, metal: Metal, token: str, job_id: str) -> str | None:
        self.job = job_id
        return await super()._job(metal, token, job_id)


async def writing(rack: Writing, conductor: Conductor) -> Machine:
    """Bring node17 to where its job is under way, and stays."""
    await ready(rack)
    rack.during_job = lambda _metal: False
    await conductor.boot("node17", "debian-12")
    return await until(conductor, working)


async def refused(rack: Writing, conductor: Conductor) -> None:
    """Hold that an agent is told to stop, whatever it says."""
    ip = rack.one().ip
    assert not conductor.booter.boots.serves(ip), "nor is it given artefacts"
    assert conductor.booter.boots.serves("10.0.0.99"), "as others are"
    with pytest.raises(RunOverError):
        await conductor.booter.agent_progress(rack.token, ip, "write", 50.0, "")
    with pytest.raises(RunOverError):
        await conductor.booter.agent_done(rack.token, ip, rack.job, 0, "")
    with pytest.raises(RunOverError):
        conductor.agent_machine(rack.token, ip)
    with pytest.raises(TicketError):
        await conductor.booter.agent_job(rack.token, ip, rack.job)


async def test_an_install_that_is_cancelled_ends_with_the_power(tmp_path: Path) -> None:
    rack = Writing(tmp_path)
    async with rack.alive(), rack.daemon() as conductor:
        await writing(rack, conductor)
        assert conductor.agent_machine(rack.token, rack.one().ip)
        assert conductor.booter.boots.serves(rack.one().ip)
        await conductor.booter.agent_progress(rack.token, rack.one().ip, "write", 50.0, "")
        await conductor.cancel("node17")
        machine = await settled(conductor)
        assert (machine.state, machine.power, rack.one().power) == (State.READY, Power.OFF, Power.OFF)
        assert machine.failure
        assert machine.failure.reason == "cancelled by the operator"
        await refused(rack, conductor)
        assert rack.one().log == ["power on", "power off", "power on", "power off"]


async def test_without_its_bmc_its_agent_stops_and_the_operator_is_told(tmp_path: Path) -> None:
    rack = Writing(tmp_path)
    async with rack.alive(), rack.daemon() as conductor:
        await writing(rack, conductor)
        rack.one().broken = BmcUnreachable("no answer")
        await conductor.cancel("node17")
        await refused(rack, conductor)  # at once, while the BMC is still asked
        machine = await settled(conductor)
        assert machine.failure
        assert "not switched off: no answer. It may go on writing to its disk" in machine.failure.reason
        assert rack.one().power is Power.ON
        await refused(rack, conductor)
        rack.one().broken = None
        rack.during_job = lambda _metal: True
        await conductor.resume("node17")
        assert (await settled(conductor)).state is State.ACTIVE


async def test_the_agent_of_a_run_before_this_one_is_told_to_stop(tmp_path: Path) -> None:
    rack = Writing(tmp_path)
    async with rack.alive(), rack.daemon() as conductor:
        await writing(rack, conductor)
        await conductor.cancel("node17")
        await settled(conductor)
        before = rack.token
        rack.during_job = lambda _metal: True
        await conductor.boot("node17", "discovery")
        assert conductor.booter.boots.serves(rack.one().ip), "it boots anew"
        with pytest.raises(RunOverError):
            await conductor.booter.agent_progress(before, rack.one().ip, "write", 50.0, "")
        await settled(conductor)


def test_a_job_is_not_given_out_whose_run_ended_while_it_was_rendered() -> None:
    machine = at_step("wait.job")
    assert machine.run
    assert _take(machine, machine.run, job_id(machine.run), 1.0)[0].run.job_taken  # type: ignore[union-attr]
    ended, _ = advance(machine, Cancel(), 1.0)
    with pytest.raises(ConflictError):
        _take(ended, machine.run, job_id(machine.run), 2.0)
