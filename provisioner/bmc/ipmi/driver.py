"""The IPMI driver: our verbs as IPMI 2.0 requests through the worker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

from provisioner.bmc.ensure import PATIENCE, Patience, ensure_power
from provisioner.bmc.ipmi import chassis
from provisioner.bmc.ipmi.console import IpmiConsole
from provisioner.bmc.ipmi.link import Replies
from provisioner.bmc.ipmi.messages import Answer, Command, Failed, Forget, OpenConsole, Reply, Request, Target, Trouble
from provisioner.bmc.quirks import Quirk, Quirks, quirks_of
from provisioner.bmc.verbs import Press
from provisioner.errors import (
    BmcAuthError,
    BmcBusy,
    BmcError,
    BmcPrivilegeError,
    BmcProtocolError,
    BmcTimeout,
    BmcUnreachable,
    BmcUnsupported,
    BmcWrongState,
    WireError,
)
from provisioner.model.bmc import BmcAddress, BmcIdentity, BootOverride, BootTarget, Driver, Power

T = TypeVar("T")

READ_S = 30.0

_ERRORS: dict[Trouble, type[BmcError]] = {
    Trouble.UNREACHABLE: BmcUnreachable,
    Trouble.TIMEOUT: BmcUnreachable,
    Trouble.AUTH: BmcAuthError,
    Trouble.PRIVILEGE: BmcPrivilegeError,
    Trouble.BUSY: BmcBusy,
    Trouble.PROTOCOL: BmcProtocolError,
    Trouble.UNSUPPORTED: BmcUnsupported,
}

_HINTS: dict[Trouble, str] = {
    Trouble.UNREACHABLE: "is it powered, is UDP 623 open, is IPMI over LAN enabled?",
    Trouble.AUTH: "check user and password; nothing is retried, because accounts lock",
}


class Link(Protocol):
    """The way to a worker."""

    def next_id(self) -> int: ...

    async def ask(self, request: Request, timeout_s: float) -> Reply: ...

    async def stream(self, request: Request) -> Replies: ...

    def tell(self, request: Request) -> None: ...


class Ipmi:
    """One BMC by IPMI 2.0 (`verbs.Bmc`)."""

    def __init__(
        self,
        address: BmcAddress,
        password: str,
        link: Link,
        *,
        quirks: Sequence[Quirk] = (),
        patience: Patience = PATIENCE,
    ) -> None:
        self._address = address
        self._link = link
        self._patience = patience
        self._table = quirks
        self._known: Quirks | None = None
        self.pressed_at: float | None = None
        self._target = Target(address.host, address.port, address.username, password)

    @property
    def address(self) -> BmcAddress:
        """Say which BMC this is."""
        return self._address

    async def identify(self) -> BmcIdentity:
        """Ask for the device id and the system's GUID."""
        device = await self._device()
        try:
            guid = chassis.read_guid(await self._ask("system guid", chassis.NETFN_APP, chassis.GET_SYSTEM_GUID))
        except BmcUnsupported:
            guid = ""
        return replace(_board(device), uuid=guid)

    async def power(self) -> Power:
        """Read the chassis status."""
        data = await self._ask("power.status", chassis.NETFN_CHASSIS, chassis.GET_CHASSIS_STATUS)
        return self._read("power.status", chassis.read_power, data)

    async def press(self, press: Press) -> None:
        """Send Chassis Control. Only what names a state is sent again when its answer is lost."""
        control = bytes((chassis.CONTROLS[press],))
        again = press in (Press.ON, Press.OFF)
        self.pressed_at = asyncio.get_running_loop().time()
        await self._ask(f"power.{press}", chassis.NETFN_CHASSIS, chassis.CHASSIS_CONTROL, control, repeat=again)

    async def set_power(self, wanted: Power) -> None:
        """Bring the machine to `wanted` and see it there."""
        quirks = await self._quirks()
        await ensure_power(self, wanted, replace(self._patience, distrust_s=quirks.distrust_power_s))

    async def reset(self) -> None:
        """Hard reset of a running machine; a machine that is off stays off, and that is an error."""
        if await self.power() is Power.OFF:
            raise BmcWrongState(f"{self._address}: power.reset: the machine is off", hint="power it on instead")
        await self.press(Press.RESET)

    async def boot_once(self, target: BootTarget, uri: str = "", *, uefi: bool | None = None) -> None:
        """Set the boot flags for the next boot."""
        await self._boot(target, uri, once=True, uefi=uefi)

    async def boot_always(self, target: BootTarget, uri: str = "", *, uefi: bool | None = None) -> None:
        """Set the boot flags until they are changed again."""
        await self._boot(target, uri, once=False, uefi=uefi)

    async def boot_override(self) -> BootOverride:
        """Read the boot flags."""
        asked = bytes((chassis.PARAMETER_BOOT_FLAGS, 0, 0))
        data = await self._ask("boot.read", chassis.NETFN_CHASSIS, chassis.GET_BOOT_OPTIONS, asked)
        return self._read("boot.read", chassis.read_boot_flags, data)

    async def open_console(self, *, take_over: bool = False) -> IpmiConsole:
        """Open the serial console over LAN; `take_over` ends another's."""
        where = f"{self._address}: console.open"
        request = OpenConsole(self._link.next_id(), self._target, take_over)
        stream = await self._link.stream(request)
        match await stream.next():
            case Answer():
                return IpmiConsole(request.id, stream, self._link, partial(self._console_failure, "console"))
            case Failed() as failed:
                stream.close()
                raise self._console_failure("console.open", failed)
            case reply:
                raise BmcProtocolError(f"{where}: the IPMI worker said {type(reply).__name__}")

    def _console_failure(self, verb: str, failed: Failed) -> BmcError:
        kind = _ERRORS.get(failed.trouble, BmcUnreachable)
        return kind(f"{self._address}: {verb}: {failed.said}", hint=_HINTS.get(failed.trouble, ""))

    async def close(self) -> None:
        """Close the session."""
        await self._link.ask(Forget(self._link.next_id(), self._target), READ_S)

    async def _boot(self, target: BootTarget, uri: str, *, once: bool, uefi: bool | None) -> None:
        verb = f"boot.{'once' if once else 'always'}.{target}"
        if uri:
            raise BmcUnsupported(f"{self._address}: {verb}: IPMI cannot carry a boot URI", hint="use Redfish")
        try:
            flags = chassis.boot_flags(target, once=once, uefi=uefi)
        except BmcUnsupported as error:
            raise BmcUnsupported(f"{self._address}: {verb}: {error.message}", hint=error.hint) from error
        with contextlib.suppress(BmcUnsupported):  # else flags live for 60 s; the power press follows sooner
            await self._ask(verb, chassis.NETFN_CHASSIS, chassis.SET_BOOT_OPTIONS, chassis.KEEP_FLAG)
        await self._ask(verb, chassis.NETFN_CHASSIS, chassis.SET_BOOT_OPTIONS, flags)
        await self._confirm(verb, BootOverride(target, once=once, uefi=uefi))

    async def _confirm(self, verb: str, wanted: BootOverride) -> None:
        if not (await self._quirks()).boot_readback:
            return
        got = await self.boot_override()
        if wanted.target is BootTarget.NONE and got.target is BootTarget.NONE:
            return
        if (got.target, got.once) != (wanted.target, wanted.once):
            lasting = "once" if got.once else "always"
            raise BmcProtocolError(f"{self._address}: {verb}: taken, but the BMC reads back {got.target} ({lasting})")

    async def _quirks(self) -> Quirks:
        if self._known is None:
            self._known = quirks_of(self._table, Driver.IPMI, _board(await self._device()))
        return self._known

    async def _device(self) -> chassis.Device:
        return self._read(
            "identify", chassis.read_device, await self._ask("identify", chassis.NETFN_APP, chassis.GET_DEVICE_ID)
        )

    async def _ask(self, verb: str, netfn: int, command: int, data: bytes = b"", *, repeat: bool = True) -> bytes:
        """Send one request; return the data of an answer whose completion code is zero."""
        where = f"{self._address}: {verb}"
        request = Command(self._link.next_id(), self._target, netfn, command, data, repeat, READ_S)
        try:
            reply = await self._link.ask(request, READ_S)
        except TimeoutError as error:
            raise BmcUnreachable(f"{where}: the IPMI worker did not answer within {READ_S:.0f} s") from error
        except BmcUnreachable as error:
            raise BmcUnreachable(f"{where}: {error.message}") from error
        match reply:
            case Failed(trouble=trouble, said=said):
                raise self._failure(where, trouble, said, repeat=repeat)
            case Answer(code=0, data=answer):
                return answer
            case Answer(code=code):
                raise chassis.refusal(where, code)
            case _:
                raise BmcProtocolError(f"{where}: the IPMI worker said {type(reply).__name__}")

    def _failure(self, where: str, trouble: Trouble, said: str, *, repeat: bool) -> BmcError:
        if trouble is Trouble.UNREACHABLE and not repeat:
            return BmcTimeout(
                f"{where}: sent once, and no answer came: it may have been done", hint="read the power state"
            )
        return _ERRORS[trouble](f"{where}: {said}", hint=_HINTS.get(trouble, ""))

    def _read(self, verb: str, decode: Callable[[bytes], T], data: bytes) -> T:
        try:
            return decode(data)
        except WireError as error:
            raise BmcProtocolError(f"{self._address}: {verb}: {error.message}") from error


def _board(device: chassis.Device) -> BmcIdentity:
    """Name a board as IPMI can: by the numbers of its maker and product."""
    return BmcIdentity(
        vendor=f"iana-{device.manufacturer}", model=f"product-{device.product}", firmware=device.firmware
    )
