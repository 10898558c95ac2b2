"""One board by IPMI: requests through the worker, and their failures as ours. Shared by all groups of verbs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from provisioner.bmc.ensure import PATIENCE, Patience
from provisioner.bmc.ipmi import chassis
from provisioner.bmc.ipmi.link import Replies
from provisioner.bmc.ipmi.messages import Answer, Command, Failed, Forget, Reply, Request, Target, Trouble
from provisioner.bmc.pace import BUSY_PAUSES_S
from provisioner.bmc.quirks import Quirk, Quirks, quirks_of
from provisioner.errors import (
    BmcAuthError,
    BmcBusy,
    BmcError,
    BmcPrivilegeError,
    BmcProtocolError,
    BmcTimeout,
    BmcUnreachable,
    BmcUnsupported,
    WireError,
)
from provisioner.model.bmc import BmcAddress, BmcIdentity, Driver

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
    Trouble.CLOSED: BmcUnreachable,
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


class IpmiBoard:
    """A BMC, and the account that is used there."""

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
        self._target = Target(address.host, address.port, address.username, password)
        self.pressed_at: float | None = None

    @property
    def address(self) -> BmcAddress:
        """Say which BMC this is."""
        return self._address

    async def close(self) -> None:
        """Close the session."""
        await self._link.ask(Forget(self._link.next_id(), self._target), READ_S)

    async def device(self) -> chassis.Device:
        """Ask for the device id: what every BMC answers."""
        data = await self.ask("identify", chassis.NETFN_APP, chassis.GET_DEVICE_ID)
        return self.read("identify", chassis.read_device, data)

    async def quirks(self) -> Quirks:
        """Say how this board differs; asked once."""
        if self._known is None:
            self._known = quirks_of(self._table, Driver.IPMI, board_of(await self.device()))
        return self._known

    async def patience(self) -> Patience:
        """Say how long this board is waited for."""
        return replace(self._patience, distrust_s=(await self.quirks()).distrust_power_s)

    async def ask(self, verb: str, netfn: int, command: int, data: bytes = b"", *, repeat: bool = True) -> bytes:
        """Send one request; return the data of an answer whose completion code is zero. A busy node has not begun."""
        where = f"{self._address}: {verb}"
        for pause in (*BUSY_PAUSES_S, None):
            request = Command(self._link.next_id(), self._target, netfn, command, data, repeat, READ_S)
            match await self.send(where, request, READ_S, repeat=repeat):
                case Answer(code=0, data=answer):
                    return answer
                case Answer(code=chassis.NODE_BUSY) if pause is not None:
                    await asyncio.sleep(pause)
                case Answer(code=code):
                    raise chassis.refusal(where, code)
                case reply:
                    raise unexpected(where, reply)
        raise AssertionError("the last turn returns or raises")

    async def send(self, where: str, request: Request, timeout_s: float, *, repeat: bool) -> Reply:
        """Send a request to the worker; raise where there is no answer."""
        try:
            reply = await self._link.ask(request, timeout_s)
        except TimeoutError:
            late = f"the IPMI worker did not answer within {timeout_s:.0f} s"
            reply = Failed(request.id, Trouble.TIMEOUT, late, sent=True)
        if isinstance(reply, Failed):
            raise self.failure(where, reply, repeat=repeat)
        return reply

    def failure(self, where: str, failed: Failed, *, repeat: bool = True) -> BmcError:
        """Make the error for what the worker says of a request."""
        if failed.sent and not repeat and _ERRORS[failed.trouble] is BmcUnreachable:
            return BmcTimeout(
                f"{where}: sent once, and no answer came: it may have been done", hint="read the power state"
            )
        return _ERRORS[failed.trouble](f"{where}: {failed.said}", hint=_HINTS.get(failed.trouble, ""))

    def read(self, verb: str, decode: Callable[[bytes], T], data: bytes) -> T:
        """Decode an answer; what cannot be decoded is a protocol error."""
        try:
            return decode(data)
        except WireError as error:
            raise BmcProtocolError(f"{self._address}: {verb}: {error.message}") from error


def unexpected(where: str, reply: Reply) -> BmcProtocolError:
    """Make the error for an answer of the wrong kind."""
    return BmcProtocolError(f"{where}: the IPMI worker said {type(reply).__name__}")


def board_of(device: chassis.Device) -> BmcIdentity:
    """Name a board as IPMI can: by the numbers of its maker and product."""
    return BmcIdentity(
        vendor=f"iana-{device.manufacturer}", model=f"product-{device.product}", firmware=device.firmware
    )
