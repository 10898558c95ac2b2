"""Boards in memory with a fault after each request: the lab's board behind both drivers, for `mark.looptime`."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from provisioner.bmc.ipmi.driver import Ipmi
from provisioner.bmc.ipmi.link import Replies
from provisioner.bmc.ipmi.messages import Answer, Command, Failed, Reply, Trouble
from provisioner.bmc.ipmi.messages import Request as Asked
from provisioner.bmc.pool import Bmcs
from provisioner.bmc.quirks import Quirk
from provisioner.bmc.redfish import answers
from provisioner.bmc.redfish.client import RedfishClient
from provisioner.bmc.redfish.driver import Redfish
from provisioner.bmc.redfish.way import READ_S, Body
from provisioner.bmc.verbs import Bmc
from provisioner.errors import BmcUnreachable
from provisioner.lab.board import Account, Accounts, Board, Network, Role
from provisioner.lab.chassis import Chassis
from provisioner.lab.fake import FakeMachine
from provisioner.lab.hardware import BootChoice, Identity
from provisioner.lab.ipmi.call import LAN_CHANNEL, Caller
from provisioner.lab.ipmi.commands import respond
from provisioner.lab.ipmi.message import Request as IpmiRequest
from provisioner.lab.redfish.service import Request, Service
from provisioner.model.bmc import BmcAddress, BootTarget, Driver
from provisioner.model.net import Mac

USER, PASSWORD = "admin", "in memory"
SILENCE_S = 60.0
"""How long a BMC is away that restarts."""

WAIT_S = 7.0
"""How long a request without an answer takes, by either driver."""


class Fault(StrEnum):
    """What goes wrong with one request."""

    LOST = "the request is lost"
    ANSWER_LOST = "the answer is lost, what was asked is done"
    BUSY = "the BMC is busy"
    REFUSED = "the BMC fails inside"
    GARBAGE = "the answer cannot be read"
    RESTART = "the BMC restarts: it is silent for a minute and forgets its sessions"


IDENTITY = Identity("m1", "4c4c4544-0042-4310-8052-b7c04f4d3132", "S1", (Mac("52:54:00:00:00:01"),))


@dataclass
class Wire:
    """Counts requests, and spoils number `at` (from 0) of them."""

    fault: Fault | None = None
    at: int = -1
    asked: int = 0
    log: list[str] = field(default_factory=list)
    silent_until: float = 0.0

    def next(self, what: str) -> Fault | None:
        """Say what goes wrong with this request."""
        number, self.asked = self.asked, self.asked + 1
        self.log.append(what)
        now = asyncio.get_running_loop().time()
        if self.fault is Fault.RESTART and number == self.at:
            self.silent_until = now + SILENCE_S
            return Fault.RESTART
        if now < self.silent_until:
            return Fault.LOST
        return self.fault if number == self.at else None


class SimulatedBoard:
    """The lab's board with a machine that remembers what it tried to boot."""

    def __init__(self, wire: Wire, lag_s: float = 2.0, identity: Identity = IDENTITY) -> None:
        self.wire = wire
        self.booted: list[BootTarget] = []
        self.boots: Callable[[BootTarget], None] = lambda _target: None
        """Told of each boot, and what it tries first."""
        self.machine = FakeMachine(identity, lag_s=lag_s, booted=self._note)
        first = Account(2, USER, PASSWORD, Role.ADMINISTRATOR, enabled=True)
        network = Network("192.0.2.1", "52:54:00:00:00:0f")
        self.board = Board(Chassis(self.machine, lambda: 0.0), Accounts(first), network)
        self._tokens = 0
        self.service = Service(self.board, self._token)

    def _note(self, tried: BootChoice) -> None:
        self.booted.append(tried.target)
        self.boots(tried.target)

    def _token(self) -> str:
        self._tokens += 1
        return f"token{self._tokens}"

    def driver(self, address: BmcAddress, password: str, quirks: tuple[Quirk, ...] = ()) -> Bmc:
        """Make the driver for this board."""
        if address.driver is Driver.IPMI:
            return Ipmi(address, password, MemoryLink(self), quirks=quirks)
        return Redfish(RedfishClient(address, password, way=MemoryWay(self)), quirks=quirks)


class MemoryWay:
    """A way to the board's Redfish service without a network (`redfish.way.Way`)."""

    def __init__(self, board: SimulatedBoard) -> None:
        self._board = board

    async def exchange(self, method: str, path: str, body: Body, headers: Mapping[str, str]) -> answers.Reply:
        """Answer one request, unless it is spoilt."""
        fault = self._board.wire.next(f"{method} {path}")
        if fault in (Fault.LOST, Fault.RESTART):
            if fault is Fault.RESTART:
                self._board.service.sessions.drop_all()
            await self._nobody(method, path)
        if fault is Fault.BUSY:
            return answers.Reply(path, 503, {"retry-after": "2"}, b"{}")
        if fault is Fault.REFUSED:
            return answers.Reply(path, 500, {}, b"<html>Internal error</html>")
        assert body is None or isinstance(body, Mapping)
        octets = b"" if body is None else json.dumps(dict(body)).encode()
        answer = self._board.service.handle(Request(method, path, headers, octets), 0.0)
        if fault is Fault.ANSWER_LOST:
            await self._nobody(method, path)
        if answer.delay_s:
            await asyncio.sleep(min(answer.delay_s, READ_S))
            if answer.delay_s > READ_S:
                raise BmcUnreachable(f"{method} {path}: no answer")
        if answer.is_cut:
            raise BmcUnreachable(f"{method} {path}: the answer broke off")
        if fault is Fault.GARBAGE or answer.page:
            return answers.Reply(path, answer.status, {}, answer.page.encode() or b"<html>Welcome</html>")
        text = b"" if answer.body is None else json.dumps(answer.body).encode()
        return answers.Reply(path, answer.status, {name.lower(): text for name, text in answer.headers.items()}, text)

    async def hang_up(self) -> None:
        """There is nothing to close."""

    async def _nobody(self, method: str, path: str) -> None:
        await asyncio.sleep(WAIT_S)
        raise BmcUnreachable(f"{method} {path}: no answer")


class MemoryLink:
    """A way to the board's IPMI commands without worker and network (`ipmi.base.Link`)."""

    def __init__(self, board: SimulatedBoard) -> None:
        self._board = board
        self._ids = 0

    def next_id(self) -> int:
        self._ids += 1
        return self._ids

    async def ask(self, request: Asked, timeout_s: float) -> Reply:
        """Answer one request, unless it is spoilt."""
        if not isinstance(request, Command):
            return Answer(request.id, 0, b"")
        fault = self._board.wire.next(f"{request.netfn:02x} {request.command:02x} {request.data.hex()}")
        if fault in (Fault.LOST, Fault.RESTART):
            return await self._nobody(request)
        if fault in (Fault.BUSY, Fault.REFUSED):
            return Answer(request.id, 0xC0 if fault is Fault.BUSY else 0xFF, b"")
        caller = Caller(LAN_CHANNEL, Role.ADMINISTRATOR, Role.ADMINISTRATOR)
        asked = IpmiRequest(request.netfn, request.command, request.data)
        answer = respond(asked, self._board.board, caller, 0.0, {})
        if fault is Fault.ANSWER_LOST or self._board.board.faults.loses_packet():
            return await self._nobody(request)
        if fault is Fault.GARBAGE:
            return Failed(request.id, Trouble.PROTOCOL, "only packets that cannot be read")
        return Answer(request.id, answer.code, answer.data)

    async def stream(self, request: Asked) -> Replies:
        raise NotImplementedError

    def tell(self, request: Asked) -> None:
        raise NotImplementedError

    async def _nobody(self, request: Command) -> Reply:
        await asyncio.sleep(WAIT_S)
        return Failed(request.id, Trouble.UNREACHABLE, "no answer", sent=True)


@contextlib.asynccontextmanager
async def spoilt(driver: Driver, wire: Wire) -> AsyncIterator[tuple[Bmcs, BmcAddress, SimulatedBoard]]:
    """Run one board whose wire is spoilt, behind the door that the daemon uses."""
    board = SimulatedBoard(wire)
    address = BmcAddress(driver, "192.0.2.1", 1, USER, "ab" * 32)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(board.board.chassis.run())
        try:
            yield Bmcs(quirks=(), make=board.driver), address, board
        finally:
            running.cancel()
