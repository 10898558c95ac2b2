"""Power by Redfish: ComputerSystem.Reset with what the board offers, and nothing in its place (DSP0268)."""

from __future__ import annotations

import asyncio

from provisioner.bmc.ensure import ensure_power
from provisioner.bmc.redfish.board import Board
from provisioner.bmc.verbs import Press
from provisioner.errors import BmcBusy, BmcProtocolError, BmcWrongState
from provisioner.model.bmc import Power

RESET_TYPES = {
    Press.ON: ("On", "ForceOn"),
    Press.OFF: ("ForceOff",),
    Press.SOFT_OFF: ("GracefulShutdown",),
    Press.CYCLE: ("PowerCycle",),
    Press.RESET: ("ForceRestart",),
    Press.NMI: ("Nmi",),
}
"""What names the same effect. A verb is never replaced by another: no PushPowerButton for On."""

POWER_STATES = {
    "On": Power.ON,
    "PoweringOff": Power.ON,  # on its way, not there
    "Paused": Power.ON,
    "Off": Power.OFF,
    "PoweringOn": Power.OFF,
}


class PowerVerbs(Board):
    """Power status, and the presses that change it."""

    async def power(self) -> Power:
        """Read PowerState. It is null in the middle of a change on some boards (DSP0268 lets it be)."""
        system = await self.system()
        if system.data.get("PowerState") is None:
            raise BmcBusy(f"{self.address}: power.status: the board does not say at this moment (PowerState is null)")
        state = system.text("PowerState")
        if state not in POWER_STATES:
            raise BmcProtocolError(f"{self.address}: power.status: PowerState is {state[:40]!r}")
        return POWER_STATES[state]

    async def press(self, press: Press) -> None:
        """Post ComputerSystem.Reset with a type that the board offers."""
        verb = f"power.{press}"
        system = await self.lately()
        offered = await self.allowed(system, "ComputerSystem.Reset", "ResetType")
        kind = next((name for name in RESET_TYPES[press] if not offered or name in offered), "")
        if not kind:
            raise self.lacking(verb, f"the board offers only {', '.join(offered)}")
        self.pressed_at = asyncio.get_running_loop().time()
        names_a_state = press in (Press.ON, Press.OFF)
        await self.act(verb, system, "ComputerSystem.Reset", {"ResetType": kind}, repeat=names_a_state)

    async def set_power(self, wanted: Power) -> None:
        """Bring the machine to `wanted` and see it there."""
        await ensure_power(self, wanted, await self.patience())

    async def reset(self) -> None:
        """Force a restart; a machine that is off stays off, and that is an error."""
        if await self.power() is Power.OFF:
            raise BmcWrongState(f"{self.address}: power.reset: the machine is off", hint="power it on instead")
        await self.press(Press.RESET)
