"""The IPMI worker: a process that keeps the sessions with all BMCs. `python -m provisioner.bmc.ipmi.worker FD`.

It reads requests from the socket whose number it is given and writes replies to it, in any order. It ends when the
socket does. Being a process, it keeps pyghmi's cryptography off the daemon's interpreter, and takes nothing with it
when it dies.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import sys
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from provisioner.bmc.ipmi.messages import (
    LENGTH_SIZE,
    MAX_STUDIES,
    Answer,
    CloseConsole,
    Command,
    Failed,
    Forget,
    GiveUp,
    Keys,
    OpenConsole,
    Reply,
    Request,
    Study,
    Subject,
    Target,
    Trouble,
    decode_request,
    frame,
    frame_size,
    rows,
)
from provisioner.bmc.ipmi.serial import SerialLine
from provisioner.bmc.ipmi.session import LanSession, SessionError
from provisioner.bmc.ipmi.study import Bridge, study
from provisioner.services import cause

log = logging.getLogger(__name__)

CONNECT_S = 12.0
"""A login takes five round trips, and a busy board seconds for each. One that is silent is given up after 4.5 s."""

IDLE_S = 40.0
"""A BMC drops a session after 60 s +-3 without a request (IPMI 2.0 section 6.12.15): ours ends first, and is closed."""

SWEEP_S = 10.0
MAX_SESSIONS = 4096
"""One socket each. Beyond this the one that was idle longest is closed."""

SPARE_FILES = 64


@dataclass(slots=True)
class Line:
    """One BMC and account: its session and the order of its requests."""

    order: asyncio.Lock = field(default_factory=asyncio.Lock)
    session: LanSession | None = None


@dataclass(slots=True)
class Turn:
    """How far a request is. One that nobody waits for any more is not sent; what is on its way is waited for."""

    limit: asyncio.Timeout | None = None
    """Its time, from when it is waited for."""
    sent: bool = False
    given_up: bool = False

    def check(self) -> None:
        """Raise `SessionError` where nobody waits for it."""
        if self.given_up:
            raise SessionError(Trouble.TIMEOUT, "it was given up before it was sent")

    def begin(self) -> None:
        """Note that it is sent now; raise `SessionError` where nobody waits for it."""
        self.check()
        self.sent = True

    def give_up(self) -> None:
        """Send it no more."""
        self.given_up = True
        if not self.sent and self.limit is not None and not self.limit.expired():
            self.limit.reschedule(0)


class Worker:
    """Answers requests from sessions that it opens, reuses and closes."""

    def __init__(self, writer: asyncio.StreamWriter, max_sessions: int = MAX_SESSIONS) -> None:
        self._writer = writer
        self._max_sessions = max_sessions
        self._lines: dict[Target, Line] = {}
        self._turns: dict[int, Turn] = {}
        self._consoles: dict[int, SerialLine] = {}
        self._threads = ThreadPoolExecutor(MAX_STUDIES, "study")

    async def run(self, reader: asyncio.StreamReader) -> None:
        """Serve until the other side closes."""
        async with asyncio.TaskGroup() as tasks:
            sweeper = tasks.create_task(self._sweep_often())
            try:
                while head := await reader.read(LENGTH_SIZE):
                    head += await reader.readexactly(LENGTH_SIZE - len(head))
                    self._take(decode_request(await reader.readexactly(frame_size(head))), tasks)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass  # the daemon is gone
            sweeper.cancel()
            self._close_all()
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _take(self, request: Request, tasks: asyncio.TaskGroup) -> None:
        """Begin what is asked, noted before its task runs: what ends it may be the next thing that is read."""
        match request:
            case OpenConsole():
                line = self._consoles[request.id] = SerialLine(request, self._say)
                tasks.create_task(self._alone(request, self._hold(request.id, line)))
            case Keys() | CloseConsole():
                if console := self._consoles.get(request.id):
                    console.take(request)
            case GiveUp():
                if turn := self._turns.get(request.id):
                    turn.give_up()
            case Forget():
                tasks.create_task(self._alone(request, self._forget(request)))
            case Study():
                turn = self._turns[request.id] = Turn()
                tasks.create_task(self._alone(request, self._study(request, turn)))
            case Command():
                turn = self._turns[request.id] = Turn()
                tasks.create_task(self._alone(request, self._serve(request, turn)))

    async def _alone(self, request: Request, work: Coroutine[None, None, None]) -> None:
        """Carry out a request; what nobody expected of one board ends no session of another."""
        try:
            await work
        except Exception as error:
            log.exception("bmc.worker-bug request=%s", type(request).__name__)
            self._say(Failed(request.id, Trouble.PROTOCOL, f"internal error: {cause(error)}"))

    async def _serve(self, request: Command, turn: Turn) -> None:
        try:
            reply: Reply = Answer(request.id, *await self._asked(request, turn))
        except SessionError as error:
            reply = Failed(request.id, error.trouble, error.said, error.sent)
        finally:
            del self._turns[request.id]
        self._say(reply)

    async def _forget(self, request: Forget) -> None:
        line = self._lines.setdefault(request.target, Line())
        async with line.order:
            self._drop(line)
        self._say(Answer(request.id, 0, b""))

    def _say(self, reply: Reply) -> None:
        if not self._writer.is_closing():
            self._writer.write(frame(reply))

    async def _study(self, request: Study, turn: Turn) -> None:
        """Read many records in a thread; each of its requests takes its turn with the others'."""

        async def ask(netfn: int, command: int, data: bytes, lun: int) -> tuple[int, bytes]:
            turn.check()
            one = Command(request.id, request.target, netfn, command, data, lun=lun)
            return await self._asked(one, Turn())

        loop = asyncio.get_running_loop()
        try:
            bridge = Bridge(ask, request.timeout_s)
            found = await loop.run_in_executor(self._threads, study, request.subject, bridge)
        except SessionError as error:
            self._say(Failed(request.id, error.trouble, error.said))
        else:
            self._say(rows(request.id, found, newest=request.subject is Subject.EVENTS))
        finally:
            del self._turns[request.id]

    async def _hold(self, id: int, line: SerialLine) -> None:
        """Keep a console open until it ends."""
        try:
            await line.run()
        finally:
            del self._consoles[id]

    async def _asked(self, request: Command, turn: Turn) -> tuple[int, bytes]:
        """Ask when it is the request's turn, if that comes within its time and while somebody waits for it."""
        turn.check()  # it may have been given up before there was a limit to end
        line = self._lines.setdefault(request.target, Line())
        try:
            async with asyncio.timeout(request.timeout_s) as turn.limit, line.order:
                return await self._ask(line, request, turn)
        except TimeoutError as error:
            said = "no answer in time" + ("" if turn.sent else " to what was asked before: it was not sent")
            raise SessionError(Trouble.TIMEOUT, said, sent=turn.sent) from error

    async def _ask(self, line: Line, request: Command, turn: Turn) -> tuple[int, bytes]:
        """Ask over the open session; log in where there is none, or again where it had died unnoticed."""
        session = line.session
        if session is not None and session.usable:
            turn.begin()
            try:
                return await _send(session, request)
            except SessionError:
                session.abandon()
                line.session = None
                if not request.repeat or turn.given_up:
                    raise  # it may have been done: the caller reads the state
                turn.sent = False
            except asyncio.CancelledError:
                session.abandon()  # an answer that comes late would be taken for the next one's
                line.session = None
                raise
        session = line.session = await self._open(request.target)
        turn.begin()
        try:
            return await _send(session, request)
        except BaseException:
            session.abandon()
            line.session = None
            raise

    async def _open(self, target: Target) -> LanSession:
        self._make_room()
        session = LanSession(target.username, target.password)
        try:
            async with asyncio.timeout(CONNECT_S):
                await session.open(target.host, target.port)
        except TimeoutError as error:
            session.abandon()
            raise SessionError(Trouble.UNREACHABLE, f"no session within {CONNECT_S:.0f} s") from error
        except BaseException:
            session.abandon()
            raise
        return session

    def _make_room(self) -> None:
        open_lines = [line for line in self._lines.values() if line.session is not None]
        if len(open_lines) >= self._max_sessions:
            idle = [line for line in open_lines if not line.order.locked()]
            if not idle:
                raise SessionError(Trouble.BUSY, f"{self._max_sessions} sessions are open, all in use")
            self._drop(min(idle, key=_used_at))

    async def _sweep_often(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep(asyncio.get_running_loop().time())

    def sweep(self, now: float) -> None:
        """Close what has been idle, and forget lines that nobody uses."""
        for target, line in list(self._lines.items()):
            if line.order.locked():
                continue
            if line.session is None:
                del self._lines[target]
            elif now - line.session.used_at > IDLE_S:
                self._drop(line)

    def _drop(self, line: Line) -> None:
        if line.session is not None:
            line.session.leave()
            line.session = None

    def _close_all(self) -> None:
        for line in self._lines.values():
            self._drop(line)
        for id, console in self._consoles.items():
            console.take(CloseConsole(id))


async def _send(session: LanSession, request: Command) -> tuple[int, bytes]:
    return await session.request(request.netfn, request.command, request.data, repeat=request.repeat, lun=request.lun)


def _used_at(line: Line) -> float:
    return line.session.used_at if line.session else 0.0


def raise_file_limit() -> int:
    """Take as many sockets as the system gives a process; return how many sessions fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_SESSIONS + SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(1, min(MAX_SESSIONS, wanted - SPARE_FILES))


async def serve(descriptor: int) -> None:
    """Serve the daemon at the other end of an inherited socket."""
    link = socket.socket(fileno=descriptor)
    reader, writer = await asyncio.open_connection(sock=link)
    await Worker(writer, raise_file_limit()).run(reader)
    writer.close()


def main() -> None:
    """Run until the daemon closes its end."""
    asyncio.run(serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
