"""A machine without QEMU: powers on and off, boots nothing. Thousands of them fit in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from provisioner.errors import LabError
from provisioner.lab.console import Console
from provisioner.lab.hardware import OWN_ORDER, BootChoice, Identity, Medium
from provisioner.model.bmc import BootTarget, Power

ALL_TARGETS = frozenset(BootTarget)


class FakeMachine:
    """Hardware with behaviour and no guest. Power takes `lag_s` to change; `booted` is told of each boot."""

    def __init__(
        self, identity: Identity, *, lag_s: float = 0.0, booted: Callable[[BootChoice], None] = lambda _: None
    ) -> None:
        self.identity = identity
        self.console = Console()
        self.on_boot: Callable[[BootChoice], BootChoice] = lambda _: OWN_ORDER
        self.targets = ALL_TARGETS
        self.interrupts = 0
        self.medium = Medium()
        self._booted = booted
        self._lag_s = lag_s
        self._choice = OWN_ORDER
        self._power = Power.OFF

    @property
    def power(self) -> Power:
        return self._power

    async def run(self) -> None:
        """Nothing has to run for a machine without a guest."""

    async def choose(self, choice: BootChoice) -> None:
        self._choice = choice

    async def insert(self, medium: Medium) -> None:
        self.medium = medium

    async def power_on(self) -> None:
        if self._power is Power.OFF:
            await self._change(Power.ON)
            self._boot()

    async def power_off(self) -> None:
        if self._power is Power.ON:
            await self._change(Power.OFF)

    async def _change(self, power: Power) -> None:
        if self._lag_s:
            await asyncio.sleep(self._lag_s)
        self._power = power

    async def reset(self) -> None:
        if self._power is Power.OFF:
            raise LabError(f"{self.identity.name} is off")
        self._boot()

    def guest_restarts(self) -> None:
        """What `reboot` in the guest does."""
        self._boot()

    def guest_powers_off(self) -> None:
        """What `poweroff` in the guest does."""
        self._power = Power.OFF

    async def press_button(self) -> None:
        """The guest obeys the power button."""
        await self._change(Power.OFF)

    async def interrupt(self) -> None:
        self.interrupts += 1

    def _boot(self) -> None:
        tried = self._choice
        self._booted(tried)
        self._choice = self.on_boot(tried)
