"""What a run that was cancelled amid an order to its machine's power has left: nobody knows, but its BMC."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from provisioner.errors import ProvisionerError
from provisioner.lifecycle.actions import Actions
from provisioner.lifecycle.plans import ENSURES
from provisioner.lifecycle.runner import Runner
from provisioner.model.bmc import Power
from provisioner.model.machine import Machine, Run

log = logging.getLogger(__name__)

LOOK_S = 15.0
"""How long who cancels waits for a BMC to say what it has done."""


async def look_after(machine: Machine, runner: Runner, actions: Actions) -> Machine:
    """Put on record whether a machine is on, where an order to its power was broken off and its BMC answers."""
    if not _broke_off(machine.run):
        return machine
    try:
        async with asyncio.timeout(LOOK_S):
            await runner.quiet(machine.id)
            power = await actions.look_after(machine)
        return await runner.change(machine.id, lambda m, _: (replace(m, power=power), []))
    except (ProvisionerError, TimeoutError) as error:
        log.warning("life.power-unknown machine=%s error=%s", machine.name, error or "no answer")
        return machine


def _broke_off(run: Run | None) -> bool:
    if run is None or run.outcome != "cancelled" or not run.journal:
        return False
    line = run.journal[-1]
    return line.outcome == "cancelled" and isinstance(ENSURES.get(line.step), Power)
