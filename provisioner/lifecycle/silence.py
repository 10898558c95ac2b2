"""Agents that fell silent: the power of their machines is looked at, twice, before anything follows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from provisioner.clock import SteadyClock
from provisioner.errors import ProvisionerError
from provisioner.lifecycle.inputs import Looked
from provisioner.lifecycle.registry import Machines
from provisioner.lifecycle.runner import Runner
from provisioner.lifecycle.steps import is_silent
from provisioner.model.bmc import Power
from provisioner.model.machine import Machine

log = logging.getLogger(__name__)

LOOK_LIMIT_S = 30.0
"""The most that one reading may take; a BMC that is slower tells nothing this time."""
AT_ONCE = 64
"""Machines that are looked at together: a rack that lost its power is noticed as fast as one machine."""

Look = Callable[[Machine], Awaitable[Power]]


class Silence:
    """Watches for agents that took a job and were not heard of since.

    A BMC that has just lost its power supply, or is being restarted, may say anything once: only two readings in a row
    that are alike, with no sign of life between them, are believed.
    """

    def __init__(self, machines: Machines, runner: Runner, clock: SteadyClock, look: Look, every_s: float) -> None:
        self._machines = machines
        self._runner = runner
        self._clock = clock
        self._look = look
        self._every_s = every_s
        self._readings: dict[str, tuple[float, Power]] = {}
        """What was read of a machine the last time, and when it had been heard of by then."""

    async def run(self) -> None:
        """Watch until cancelled."""
        since = self._clock.now()
        places = asyncio.Semaphore(AT_ONCE)
        while True:
            await asyncio.sleep(self._every_s)
            if self._runner.refused:  # who says something is not heard
                since = self._clock.now()
            silent = [m for m in self._machines.moving() if is_silent(m, since, self._clock.now())]
            self._readings = {m.id: self._readings[m.id] for m in silent if m.id in self._readings}
            async with asyncio.TaskGroup() as group:
                for machine in silent:
                    group.create_task(self._look_at(machine, places), name=f"look {machine.name}")

    async def _look_at(self, machine: Machine, places: asyncio.Semaphore) -> None:
        try:
            async with places, asyncio.timeout(LOOK_LIMIT_S):
                power = await self._look(machine)
        except (ProvisionerError, TimeoutError) as error:
            self._readings.pop(machine.id, None)
            log.warning("life.unseen machine=%s error=%s", machine.name, error)
            return
        except Exception:  # of this machine alone: the others are looked at
            self._readings.pop(machine.id, None)
            log.exception("life.bug machine=%s step=silent", machine.name)
            return
        reading = (machine.seen, power)
        if self._readings.get(machine.id) != reading:
            self._readings[machine.id] = reading
            return
        del self._readings[machine.id]
        assert machine.run is not None
        try:
            await self._runner.apply(machine.id, Looked(machine.run.id, machine.run.at, machine.seen, power))
        except ProvisionerError as error:
            log.error("life.unsaved machine=%s step=silent error=%s", machine.name, error)
