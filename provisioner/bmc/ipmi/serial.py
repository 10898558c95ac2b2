"""A serial console in the worker: a session of its own, SOL activated in it, bytes both ways (IPMI 2.0 section 15)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from provisioner.bmc.ipmi.messages import Answer, CloseConsole, Failed, Keys, OpenConsole, Output, Reply, Trouble
from provisioner.bmc.ipmi.session import LanSession, SessionError
from provisioner.bmc.ipmi.sol import Sol
from provisioner.errors import BmcProtocolError

NETFN_APP = 0x06
ACTIVATE, DEACTIVATE, INSTANCE_INFO = 0x48, 0x49, 0x4B
SOL_PAYLOAD = 1
ENCRYPTED = 0xC0
KEEPALIVE_S = 20.0
"""A BMC ends a session after 60 s without a request; output does not count as one."""

OPEN_S = 10.0
_REFUSALS = {
    0x80: (Trouble.BUSY, "the console is in use by somebody else"),
    0x81: (Trouble.UNSUPPORTED, "serial over LAN is switched off at this BMC"),
    0x82: (Trouble.BUSY, "the BMC has as many consoles open as it can"),
    0x83: (Trouble.UNSUPPORTED, "the BMC does not encrypt consoles, and ours are encrypted"),
    0x84: (Trouble.UNSUPPORTED, "the BMC refuses the console's settings"),
}
"""Completion codes of Activate Payload (IPMI 2.0 table 24-2)."""


class SerialLine:
    """One open console."""

    def __init__(self, request: OpenConsole, say: Callable[[Reply], None]) -> None:
        self._request = request
        self._say = say
        self._session = LanSession(request.target.username, request.target.password)
        self._sol = Sol(chunk=1)
        self._opening: asyncio.Timeout | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended: asyncio.Future[Failed] = asyncio.get_running_loop().create_future()
        self._id = request.id

    async def run(self) -> None:
        """Open, carry bytes until one side ends it, and say how it ended."""
        target = self._request.target
        try:
            if not self._ended.done():
                async with asyncio.timeout(OPEN_S) as self._opening:
                    await self._session.open(target.host, target.port)
                    await self._activate()
                self._opening = None
                self._say(Answer(self._id, 0, b""))
            end = await self._carry()
        except SessionError as error:
            end = Failed(self._id, error.trouble, error.said)
        except TimeoutError:
            self._end(Trouble.UNREACHABLE, f"no console within {OPEN_S:.0f} s")
            end = self._ended.result()
        finally:
            self._opening = None
            self._disarm()
            self._session.sol_handler = None
            self._session.leave()
        self._say(end)

    def take(self, request: Keys | CloseConsole) -> None:
        """Take keys, or the wish to end."""
        if isinstance(request, CloseConsole):
            self._end(Trouble.CLOSED, "closed")
            if self._opening is not None and not self._opening.expired():
                self._opening.reschedule(0)  # before it takes the console, from another at that
            return
        try:
            if request.brk:
                self._sol.send_break()
            self._sol.type(request.data)
        except BmcProtocolError as error:
            self._end(Trouble.PROTOCOL, error.message)
        self._pump()

    async def _activate(self) -> None:
        asked = bytes((SOL_PAYLOAD, 1, ENCRYPTED, 0, 0, 0))
        code, data = await self._session.request(NETFN_APP, ACTIVATE, asked, repeat=False)
        if code == 0x80 and self._request.take_over:
            await self._session.request(NETFN_APP, DEACTIVATE, bytes((SOL_PAYLOAD, 1, 0, 0, 0, 0)), repeat=True)
            code, data = await self._session.request(NETFN_APP, ACTIVATE, asked, repeat=False)
        if code:
            raise SessionError(*_REFUSALS.get(code, (Trouble.UNSUPPORTED, f"completion code 0x{code:02x}")))
        if len(data) < 10:
            raise SessionError(Trouble.PROTOCOL, f"the answer to Activate Payload has {len(data)} of 12 bytes")
        port = int.from_bytes(data[8:10], "little")
        if port not in (self._request.target.port, int.from_bytes(data[8:10], "big"), 0) and port != 623:
            raise SessionError(Trouble.UNSUPPORTED, f"the BMC wants the console on another port, {port}")
        self._sol = Sol(chunk=max(1, min(int.from_bytes(data[4:6], "little") - 4, 200)))
        self._session.sol_handler = self._on_payload

    async def _carry(self) -> Failed:
        """Keep the session alive until the line ends."""
        while True:
            try:
                async with asyncio.timeout(KEEPALIVE_S):
                    return await asyncio.shield(self._ended)
            except TimeoutError:
                await self._check_owner()

    async def _check_owner(self) -> None:
        code, data = await self._session.request(NETFN_APP, INSTANCE_INFO, bytes((SOL_PAYLOAD, 1)), repeat=True)
        owner = int.from_bytes(data[:4], "little")
        if code == 0 and len(data) >= 4 and owner != self._session.sessionid:
            raise SessionError(Trouble.CLOSED, "somebody else took the console over" if owner else "the BMC ended it")

    def _on_payload(self, payload: bytearray) -> None:
        if printed := self._sol.receive(bytes(payload), asyncio.get_running_loop().time()):
            self._say(Output(self._id, printed))
        self._pump()

    def _pump(self) -> None:
        now = asyncio.get_running_loop().time()
        for payload in self._sol.payloads_to_send(now):
            self._session.send_console(payload)
        self._disarm()
        if self._sol.lost:
            self._end(Trouble.UNREACHABLE, self._sol.lost)
        elif (due := self._sol.get_timer()) is not None:
            self._timer = asyncio.get_running_loop().call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._sol.handle_timer(asyncio.get_running_loop().time())
        self._pump()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, trouble: Trouble, said: str) -> None:
        if not self._ended.done():
            self._ended.set_result(Failed(self._id, trouble, said))
