"""A machine behind a simulated board, and the real daemon parts that drive it, in virtual time.

Conductor, store and both BMC drivers are the daemon's own; the board is the lab's, reached without a network; what the
machine does once it boots is that of tests/lifecycle/rack.py. Time stands still while the store writes: its threads
live in real time.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from provisioner.bmc.pool import Bmcs
from provisioner.bmc.quirks import Quirk
from provisioner.clock import SteadyClock
from provisioner.errors import ProvisionerError
from provisioner.lab.chassis import Chassis
from provisioner.lab.faults import Faults
from provisioner.lab.hardware import Identity
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.runner import DEFAULT_PACE
from provisioner.model.bmc import BmcAddress, BootTarget, Driver, Power
from provisioner.model.intent import EnrolRequest
from provisioner.model.machine import Machine
from provisioner.store.db import T, Work
from tests.bmc.faults import PASSWORD, USER, SimulatedBoard, Wire
from tests.lifecycle.points import KillableDatabase, Points
from tests.lifecycle.rack import Metal, Rack

EPOCH = 1_700_000_000.0
TRIES = 4
PAUSE_S = 150.0
"""An operator tries again after this; longer than the breaker's longest rest."""
LIMIT_S = 4 * 3600.0


class TimelessDatabase(KillableDatabase):
    """The real store; no virtual time passes while it works."""

    _at_work = 0
    _holding = False
    """One `_hold` follows another: two would see each other as work to be done, and never wait for the thread."""

    def submit(self, work: Work[T]) -> asyncio.Future[T]:
        future = super().submit(work)
        self._begin()
        future.add_done_callback(self._end)
        return future

    async def read(self, work: Work[T]) -> T:
        self._begin()
        try:
            return await super().read(work)
        finally:
            self._end()

    def _begin(self) -> None:
        self._at_work += 1
        if not self._holding:
            self._holding = True
            asyncio.get_running_loop().call_soon(self._hold)

    def _end(self, _done: object = None) -> None:
        self._at_work -= 1

    def _hold(self) -> None:
        loop: Any = asyncio.get_running_loop()
        self._holding = self._at_work > 0
        if self._holding:
            if not loop._ready:  # nobody else has anything to do until the thread answers
                select.select([loop._ssock], [], [], 0.01)
            loop.call_soon(self._hold)


class BoardMetal(Metal):
    """A machine whose power is that of the simulated one."""

    board: SimulatedBoard | None = None

    @property
    def power(self) -> Power:  # type: ignore[override]
        return self.board.machine.power if self.board else Power.OFF

    @power.setter
    def power(self, _power: Power) -> None:
        """Only the board changes it."""


class World(Rack):
    """One machine on its network, with its board. `booted` is what each boot tried first."""

    database = TimelessDatabase
    pace = DEFAULT_PACE

    def __init__(
        self,
        folder: Path,
        driver: Driver,
        *,
        wire: Wire | None = None,
        faults: Faults | None = None,
        quirks: tuple[Quirk, ...] = (),
    ) -> None:
        super().__init__(folder)
        loop = asyncio.get_running_loop()
        known = self.metal[0]
        identity = Identity(known.name, known.uuid, "LAB0017", (known.mac,))
        self.board = SimulatedBoard(wire or Wire(), identity=identity)
        self.board.board.chassis = Chassis(self.board.machine, loop.time, faults)
        self.board.boots = self._boots
        self.machine = BoardMetal(known.name, known.mac, known.ip, known.uuid)
        self.machine.board = self.board
        self.metal[:] = [self.machine]
        self.address = BmcAddress(driver, "192.0.2.1", 1, USER, "ab" * 32)
        self.clock = SteadyClock(lambda: EPOCH + loop.time(), loop.time)
        self.driven = Bmcs(quirks=quirks, make=partial(self.board.driver, quirks=quirks))
        self.said: list[str] = []
        """What the operator read of what failed."""

    def bmcs(self, points: Points) -> Any:
        return self.driven

    @property
    def booted(self) -> list[BootTarget]:
        return self.board.booted

    def _boots(self, target: BootTarget) -> None:
        self.machine.once = target
        self.boots(self.machine)

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[Conductor]:
        """The world turns: board, machine and daemon."""
        async with asyncio.TaskGroup() as tasks, self.alive(), self.daemon() as conductor:
            running = tasks.create_task(self.board.board.chassis.run())
            yield conductor
            running.cancel()

    # what an operator does

    async def discovered(self, conductor: Conductor) -> Machine:
        """The machine is switched on by hand, and is found; its BMC is put on record."""
        await self.board.machine.power_on()
        while not conductor.machines.all():
            await asyncio.sleep(1)
        request = EnrolRequest("node17", self.address, PASSWORD)
        return await self.persisted(lambda: conductor.enrol(request))

    async def persisted(self, ask: Callable[[], Awaitable[Machine]]) -> Machine:
        """Ask until it is taken: an operator who reads what is said, and tries again later."""
        for _ in range(TRIES - 1):
            try:
                return await ask()
            except ProvisionerError as error:
                self.said.append(str(error))
                await asyncio.sleep(PAUSE_S)
        return await ask()

    async def settled(self, conductor: Conductor) -> Machine:
        """Wait until the run under way has ended."""
        async with asyncio.timeout(LIMIT_S):
            while (machine := conductor.machines.get("node17")).run is not None and machine.run.step is not None:
                await asyncio.sleep(1)
        return machine
