"""A BMC in memory that behaves: takes its time, swallows presses, stumbles. It keeps the drivers' contract."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from provisioner.bmc.ensure import PATIENCE, Patience, ensure_power
from provisioner.bmc.verbs import Press
from provisioner.errors import BmcError, BmcLacking, BmcWrongState
from provisioner.model.bmc import BmcAddress, BmcIdentity, BootOverride, BootTarget, Driver, Power

ADDRESS = BmcAddress(Driver.REDFISH, "192.0.2.1", 443, "admin")


@dataclass
class FakeBmc:
    """One board. `lag` is how long (s) a press takes to show; `deaf` how many presses are swallowed."""

    address: BmcAddress = ADDRESS
    lag: float = 0.0
    deaf: int = 0
    offers: frozenset[BootTarget] = frozenset(BootTarget) - {BootTarget.HTTP}
    patience: Patience = PATIENCE
    troubles: list[BmcError] = field(default_factory=list)
    """Raised one by one by the next calls, before they do anything."""
    pressed: list[Press] = field(default_factory=list)
    pressed_at: float | None = None
    closed: int = 0
    calls: int = 0
    _power: Power = Power.OFF
    _next: tuple[float, Power] | None = None
    _override: BootOverride = field(default_factory=lambda: BootOverride(BootTarget.NONE, once=False))

    async def whose(self) -> BmcIdentity:
        """Say what tells it from others."""
        found = await self.identify()
        return BmcIdentity(uuid=found.uuid, serial=found.serial)

    async def identify(self) -> BmcIdentity:
        self._stumble()
        return BmcIdentity(uuid="00000000-0000-4000-8000-000000000001", vendor="Fake", model="F1", firmware="1.0")

    async def power(self) -> Power:
        self._stumble()
        if self._next is not None and self._now() >= self._next[0]:
            self._power, self._next = self._next[1], None
        return self._power

    async def press(self, press: Press) -> None:
        self._stumble()
        self.pressed.append(press)
        self.pressed_at = self._now()
        if self.deaf:
            self.deaf -= 1
            return
        leads_to = {Press.ON: Power.ON, Press.OFF: Power.OFF, Press.SOFT_OFF: Power.OFF}.get(press)
        if leads_to is not None and (self._next is None or self._next[1] is not leads_to):
            self._next = self._now() + self.lag, leads_to

    async def set_power(self, wanted: Power) -> None:
        await ensure_power(self, wanted, self.patience)

    async def reset(self) -> None:
        if await self.power() is Power.OFF:
            raise BmcWrongState("the machine is off")
        await self.press(Press.RESET)

    async def boot_once(self, target: BootTarget, uri: str = "", *, uefi: bool | None = None) -> None:
        self._boot(BootOverride(target, once=True, uefi=uefi, uri=uri))

    async def boot_always(self, target: BootTarget, uri: str = "", *, uefi: bool | None = None) -> None:
        self._boot(BootOverride(target, once=False, uefi=uefi, uri=uri))

    async def boot_override(self) -> BootOverride:
        self._stumble()
        return self._override

    async def close(self) -> None:
        self.closed += 1

    def _boot(self, wanted: BootOverride) -> None:
        self._stumble()
        if wanted.target not in self.offers:
            raise BmcLacking(f"no {wanted.target}")
        none = wanted.target is BootTarget.NONE
        self._override = BootOverride(BootTarget.NONE, once=False) if none else wanted

    def _stumble(self) -> None:
        self.calls += 1
        if self.troubles:
            raise self.troubles.pop(0)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


Maker = Callable[[BmcAddress, str], FakeBmc]
