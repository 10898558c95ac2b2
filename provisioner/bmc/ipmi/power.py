"""Power and boot device by IPMI: chassis commands, read back."""

from __future__ import annotations

import asyncio
import contextlib

from provisioner.bmc.ensure import ensure_power
from provisioner.bmc.ipmi import chassis
from provisioner.bmc.ipmi.base import IpmiBoard
from provisioner.bmc.verbs import Press
from provisioner.errors import BmcProtocolError, BmcUnsupported, BmcWrongState
from provisioner.model.bmc import BootOverride, BootTarget, Power


class PowerVerbs(IpmiBoard):
    """Power status, the presses that change it, and the boot flags."""

    async def power(self) -> Power:
        """Read the chassis status."""
        data = await self.ask("power.status", chassis.NETFN_CHASSIS, chassis.GET_CHASSIS_STATUS)
        return self.read("power.status", chassis.read_power, data)

    async def press(self, press: Press) -> None:
        """Send Chassis Control. Only what names a state is sent again when its answer is lost."""
        control = bytes((chassis.CONTROLS[press],))
        again = press in (Press.ON, Press.OFF)
        self.pressed_at = asyncio.get_running_loop().time()
        await self.ask(f"power.{press}", chassis.NETFN_CHASSIS, chassis.CHASSIS_CONTROL, control, repeat=again)

    async def set_power(self, wanted: Power) -> None:
        """Bring the machine to `wanted` and see it there."""
        await ensure_power(self, wanted, await self.patience())

    async def reset(self) -> None:
        """Hard reset of a running machine; a machine that is off stays off, and that is an error."""
        if await self.power() is Power.OFF:
            raise BmcWrongState(f"{self.address}: power.reset: the machine is off", hint="power it on instead")
        await self.press(Press.RESET)

    async def boot_once(self, target: BootTarget, uri: str = "", *, uefi: bool | None = None) -> None:
        """Set the boot flags for the next boot."""
        await self._boot(target, uri, once=True, uefi=uefi)

    async def boot_always(self, target: BootTarget, uri: str = "", *, uefi: bool | None = None) -> None:
        """Set the boot flags until they are changed again."""
        await self._boot(target, uri, once=False, uefi=uefi)

    async def boot_override(self) -> BootOverride:
        """Read the boot flags."""
        return self.read("boot.read", chassis.read_boot_flags, await self._flags())

    async def _flags(self) -> bytes:
        asked = bytes((chassis.PARAMETER_BOOT_FLAGS, 0, 0))
        return await self.ask("boot.read", chassis.NETFN_CHASSIS, chassis.GET_BOOT_OPTIONS, asked)

    async def _boot(self, target: BootTarget, uri: str, *, once: bool, uefi: bool | None) -> None:
        verb = f"boot.{'once' if once else 'always'}.{target}"
        if uri:
            raise BmcUnsupported(f"{self.address}: {verb}: IPMI cannot carry a boot URI", hint="use Redfish")
        readable = (await self.quirks()).boot_readback
        if uefi is None and readable and target in chassis.DEVICES:  # the flags cannot say "as it is": leave the bit
            uefi = chassis.read_efi(await self._flags())
        try:
            flags = chassis.boot_flags(target, once=once, uefi=uefi)
        except BmcUnsupported as error:
            raise BmcUnsupported(f"{self.address}: {verb}: {error.message}", hint=error.hint) from error
        with contextlib.suppress(BmcUnsupported):  # else flags live for 60 s; the power press follows sooner
            await self.ask(verb, chassis.NETFN_CHASSIS, chassis.SET_BOOT_OPTIONS, chassis.KEEP_FLAG)
        await self.ask(verb, chassis.NETFN_CHASSIS, chassis.SET_BOOT_OPTIONS, flags)
        if readable:
            await self._confirm(verb, BootOverride(target, once=once, uefi=uefi))

    async def _confirm(self, verb: str, wanted: BootOverride) -> None:
        """Read the flags back."""
        got = await self.boot_override()
        if wanted.target is BootTarget.NONE and got.target is BootTarget.NONE:
            return
        if (got.target, got.once) != (wanted.target, wanted.once):
            lasting = "once" if got.once else "always"
            raise BmcProtocolError(f"{self.address}: {verb}: taken, but the BMC reads back {got.target} ({lasting})")
