"""The daemon's end of netwatch: starts its process, starts it again when it dies, and works on without it.

Whoever asks whether an address is in use is answered within `LIMIT_S`, whatever becomes of the process: "nobody",
where it cannot be known. A DHCP server without probes is as good as most; one that waits is none.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import socket
import subprocess
import sys
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from provisioner.children import hearing_no_signals
from provisioner.errors import WireError
from provisioner.netwatch.messages import (
    MAX_BYTES,
    MAX_EARS,
    Ask,
    Ask6,
    Asked,
    Deaf,
    Heard,
    Heard6,
    Listen,
    Look,
    Looked,
    Ready,
    Report,
    Request,
    Tally,
    decode_report,
    encode,
)
from provisioner.netwatch.privileges import give_to_next_child

log = logging.getLogger(__name__)

LIMIT_S = 0.45
"""How long an offer is held back at most: netwatch needs 0.3 s."""
FREE_FOR_S = 60.0
"""An address at which nobody was is not looked at again for so long: a client that asks again is offered the same."""
REMEMBERED = 8192
QUEUED = 4096
"""Requests that wait for the process to read them, 100 octets each."""
PAUSES_S = (0.2, 1.0, 5.0, 15.0, 60.0)
"""Growing, so that a process that cannot run keeps no core busy."""
HEALTHY_S = 30.0
"""A process that ran for so long is started again at once."""
SILENT_S = 30.0
"""A process that says nothing for so long, though it was asked, hangs: it answers within milliseconds."""
BATCH = 64
STOP_S = 3.0
STARTS = "it starts"
TOO_MANY = f"of more than {MAX_EARS} interfaces it is left out: addresses are looked for by ping alone"
NOWHERE = "/dev/null/none"
"""No directory, and none can be made there: scapy keeps nothing then."""
COMMAND = (sys.executable, "-m", "provisioner.netwatch.helper")

Place = tuple[str, int]
"""An interface, empty where the kernel routes, and an address."""


class _Waiting(NamedTuple):
    place: Place
    future: asyncio.Future[str]
    timer: asyncio.TimerHandle


class Netwatch:
    """One netwatch process. `run` keeps it going until cancelled."""

    def __init__(
        self,
        *,
        command: Sequence[str] = COMMAND,
        pauses_s: Sequence[float] = PAUSES_S,
        limit_s: float = LIMIT_S,
        silent_s: float = SILENT_S,
    ) -> None:
        self._command = tuple(command)
        self._limit_s = limit_s
        self._silent_s = silent_s
        self._said_something = False
        self._pauses_s = tuple(pauses_s)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._queue: deque[bytes] = deque()
        self._gone = asyncio.Event()
        self._ids = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._same: dict[Place, asyncio.Future[str]] = {}
        self._free: OrderedDict[Place, float] = OrderedDict()
        self._wanted: tuple[str, ...] = ()
        self._wanted6: tuple[str, ...] = ()
        self._tally = Tally(0, 0)
        self.counts: Counter[str] = Counter()
        """Looks by what came of them: free, used, known (free a moment ago), late (no answer), blind (not made)."""
        self.restarts = 0
        self._deaf: dict[str, str] = {}
        self._deaf6: dict[str, str] = {}
        """Listened on, but nothing can be asked in IPv6."""
        self.fault = STARTS
        """Why nothing is watched; empty while the process runs."""
        self.on_heard: Callable[[Heard], None] = lambda _: None
        self.on_heard6: Callable[[Heard6], None] = lambda _: None
        self.on_asked: Callable[[Asked], None] = lambda _: None
        self.on_up: Callable[[], None] = lambda: None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None else None

    @property
    def interfaces(self) -> tuple[str, ...]:
        """What is listened on: the first of those that are to be."""
        return self._wanted[:MAX_EARS]

    @property
    def deaf(self) -> dict[str, str]:
        """Where nobody can be heard, or in IPv6 asked, and why; "" stands for echo requests through routers."""
        return self._deaf6 | self._deaf

    @property
    def unread(self) -> int:
        """Messages of DHCP servers that were left unread, since they were too many."""
        return self._tally.unread

    async def run(self) -> None:
        """Start the process, again whenever it ends, until cancelled."""
        loop, tries = asyncio.get_running_loop(), 0
        try:
            while True:
                began = loop.time()
                try:
                    await self._spawn()
                except OSError as error:
                    self._lost(f"it cannot be started: {error.strerror}")
                else:
                    await self._attend()
                    await self._bury()
                tries = 0 if loop.time() - began >= HEALTHY_S else tries + 1
                pause_s = self._pauses_s[min(tries, len(self._pauses_s)) - 1] if tries else 0.0
                log.error("netwatch.died why=%s again_s=%g", self.fault, pause_s)
                await asyncio.sleep(pause_s)
                self.restarts += 1
        finally:
            self._lost("the daemon stops")
            await self._bury()

    async def _attend(self) -> None:
        """Wait until the process is gone, or says nothing any more: it has an answer to each `Listen`."""
        while not self._gone.is_set():
            self._said_something = False
            self._tell_wanted()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._silent_s):
                    await self._gone.wait()
            if not (self._said_something or self._gone.is_set()):
                self._lost(f"it did not answer for {self._silent_s:g} s")

    # what the daemon asks

    def listen(self, interfaces: Sequence[str], six: Sequence[str] = ()) -> None:
        """Listen on these interfaces from now on, also after a restart of the process; `six`: where `ask6` will be."""
        wanted, wanted6 = tuple(dict.fromkeys(interfaces)), tuple(dict.fromkeys(six))
        if (wanted, wanted6) == (self._wanted, self._wanted6):
            return
        left_out = wanted[MAX_EARS:] if wanted != self._wanted else ()
        self._wanted, self._wanted6 = wanted, wanted6
        heard = {"", *self.interfaces}
        self._deaf = {name: why for name, why in self._deaf.items() if name in heard and why != TOO_MANY}
        self._deaf6 = {name: why for name, why in self._deaf6.items() if name in heard and name in wanted6}
        self._leave_out()
        if left_out:
            log.warning("netwatch.deaf interface=%s why=%s", ",".join(left_out), TOO_MANY)
        self._tell_wanted()

    def _tell_wanted(self) -> None:
        heard = set(self.interfaces)
        self._tell(Listen(self.interfaces, tuple(name for name in self._wanted6 if name in heard)))

    def _leave_out(self) -> None:
        self._deaf |= dict.fromkeys(self._wanted[MAX_EARS:], TOO_MANY)

    def ask6(self, interface: str) -> None:
        """Ask for an IPv6 address there: whoever answers is heard."""
        self._tell(Ask6(interface))

    def ask(self, interface: str) -> None:
        """Ask for an address there, to hear who answers."""
        self._tell(Ask(interface))

    def look(self, interface: str, address: int, us: int = 0) -> asyncio.Future[str]:
        """Say who uses an address; resolves to "" where nobody answers, or within `LIMIT_S` where it is not known."""
        loop, key = asyncio.get_running_loop(), (interface, address)
        if (under_way := self._same.get(key)) is not None:
            return under_way
        future: asyncio.Future[str] = loop.create_future()
        if self._free.get(key, 0.0) > loop.time():
            self.counts["known"] += 1
            future.set_result("")
            return future
        id = next(self._ids)
        self._same[key] = future
        self._waiting[id] = _Waiting(key, future, loop.call_later(self._limit_s, self._end, id, "", "late"))
        blind = self.fault or ("" in self._deaf and interface in ("", *self._deaf))
        if blind or not self._tell(Look(id, interface, address, us)):
            self._end(id, "", "blind")
        return future

    # what the process says

    def _on_readable(self) -> None:
        for _ in range(BATCH):
            try:
                assert self._socket is not None
                data = self._socket.recv(MAX_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._lost("its process ended")
                return
            try:
                self._take(decode_report(data))
            except WireError as error:
                self._lost(f"it said what cannot be read: {error}")
                return

    def _take(self, report: Report) -> None:
        self._said_something = True
        match report:
            case Ready():
                self._is_up()
            case Looked(id, user):
                self._end(id, user, "used" if user else "free")
            case Heard():
                self.on_heard(report)
            case Heard6():
                self.on_heard6(report)
            case Asked():
                self.on_asked(report)
            case Deaf(interface, why, six):
                self._is_deaf(self._deaf6 if six else self._deaf, interface, why)
            case Tally():
                self._tally = report

    def _is_up(self) -> None:
        if self.fault:
            self.fault = ""
            log.info("netwatch.up pid=%d", self.pid)
            self.on_up()

    def _is_deaf(self, deaf: dict[str, str], interface: str, why: str) -> None:
        if why:
            deaf[interface] = why
            log.warning("netwatch.deaf interface=%s why=%s", interface or "(routed)", why)
        else:
            deaf.pop(interface, None)
            log.info("netwatch.hears interface=%s", interface)

    def _end(self, id: int, user: str, how: str) -> None:
        waiting = self._waiting.pop(id, None)
        if waiting is None:  # it came too late
            return
        waiting.timer.cancel()
        del self._same[waiting.place]
        self.counts[how] += 1
        if how == "free":
            self._free.pop(waiting.place, None)
            self._free[waiting.place] = asyncio.get_running_loop().time() + FREE_FOR_S
            if len(self._free) > REMEMBERED:
                self._free.popitem(last=False)
        if not waiting.future.done():
            waiting.future.set_result(user)

    # the process

    async def _spawn(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        started: list[subprocess.Popen[bytes] | Exception] = []
        # a thread of its own: capabilities that children inherit are the thread's, and this one ends
        thread = threading.Thread(target=_start, args=(self._command, theirs.fileno(), started))
        with theirs:
            thread.start()
            try:
                await asyncio.to_thread(thread.join)
            except asyncio.CancelledError:
                await asyncio.to_thread(thread.join)
                ours.close()
                await asyncio.to_thread(_end, started[0])
                raise
        if isinstance(found := started[0], Exception):
            ours.close()
            raise found
        self._process, self._socket = found, ours
        self._gone.clear()
        self.fault, self._tally = STARTS, Tally(0, 0)
        self._deaf.clear()
        self._deaf6.clear()
        self._leave_out()
        asyncio.get_running_loop().add_reader(ours.fileno(), self._on_readable)

    def _tell(self, request: Request) -> bool:
        """Send or queue a request; False where the process takes none."""
        if self._socket is None or len(self._queue) >= QUEUED:
            return False
        self._queue.append(encode(request))
        if len(self._queue) == 1:
            self._flush()
        return True

    def _flush(self) -> None:
        loop, sock = asyncio.get_running_loop(), self._socket
        if sock is None:
            return
        try:
            while self._queue:
                sock.send(self._queue[0])
                self._queue.popleft()
        except BlockingIOError:
            loop.add_writer(sock.fileno(), self._flush)
            return
        except OSError:
            self._lost("its process ended")
            return
        loop.remove_writer(sock.fileno())

    def _lost(self, why: str) -> None:
        """Let go of a process that is gone or talks nonsense; what was asked of it is answered with "nobody"."""
        self.fault = why
        if self._socket is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket.fileno())
            loop.remove_writer(self._socket.fileno())
            self._socket.close()
            self._socket = None
        self._queue.clear()
        for id in list(self._waiting):
            self._end(id, "", "blind")
        self._gone.set()

    async def _bury(self) -> None:
        """It ends by itself when its socket does; where it does not, it is killed."""
        if self._process is not None:
            await asyncio.to_thread(_end, self._process)
            self._process = None


def environment() -> dict[str, str]:
    """As ours; without a cache of somebody else's (su and sudo hand its place on), in which scapy fails to start."""
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
        (cache / "scapy" / "services.pickle").exists()
    except (OSError, RuntimeError):  # the latter: a user whom nobody knows, without HOME
        return os.environ | {"XDG_CACHE_HOME": NOWHERE}
    return dict(os.environ)


def _start(command: Sequence[str], fd: int, started: list[subprocess.Popen[bytes] | Exception]) -> None:
    give_to_next_child()
    try:
        words, given = [*command, str(fd)], environment()
        with hearing_no_signals():
            started.append(
                subprocess.Popen(words, pass_fds=[fd], stdin=subprocess.DEVNULL, start_new_session=True, env=given)
            )
    except Exception as error:  # noqa: BLE001  raised by who waits
        started.append(error)


def _end(process: subprocess.Popen[bytes] | Exception) -> None:
    if isinstance(process, Exception):
        return
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
        return
    process.kill()
    process.wait()
