"""The daemon's end of the IPMI worker: starts it, restarts it when it dies, matches replies to requests."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import sys
from collections import deque

from provisioner.bmc.ipmi.messages import (
    LENGTH_SIZE,
    MAX_STUDIES,
    Failed,
    GiveUp,
    Reply,
    Request,
    Study,
    Trouble,
    decode_reply,
    frame,
    frame_size,
)
from provisioner.children import hearing_no_signals
from provisioner.errors import WireError

log = logging.getLogger(__name__)

RESTART_PAUSES_S = (0.1, 1.0, 5.0, 15.0)
"""Growing, so that a worker that cannot start at all does not keep a core busy."""

STOP_S = 3.0
GRACE_S = 5.0
"""Beyond a request's own deadline the worker is believed to hang."""

MAX_QUEUED = 1024
"""Replies of one stream that wait for their reader: a console at 115200 baud fills it in twenty seconds."""

DIED = "the IPMI worker ended before the answer came"


class Replies:
    """What the worker answers to one request, until the reader closes it. The oldest go first when nobody reads."""

    def __init__(self, link: WorkerLink, id: int) -> None:
        self._link = link
        self._id = id
        self._queue: deque[Reply] = deque(maxlen=MAX_QUEUED)
        self._came = asyncio.Event()

    def put(self, reply: Reply) -> None:
        """Hand over a reply."""
        self._queue.append(reply)
        self._came.set()

    async def next(self) -> Reply:
        """Wait for the next reply."""
        while not self._queue:
            self._came.clear()
            await self._came.wait()
        return self._queue.popleft()

    def close(self) -> None:
        """Want no more."""
        self._link.drop(self._id)


class WorkerLink:
    """A supervised worker process and the requests under way in it."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._waiting: dict[int, Replies] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._up = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None
        self._tasks = asyncio.TaskGroup()
        self._studies = asyncio.Semaphore(MAX_STUDIES)
        self.restarts = 0

    async def __aenter__(self) -> WorkerLink:
        await self._tasks.__aenter__()
        self._supervisor = self._tasks.create_task(self._supervise())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
        await self._tasks.__aexit__(None, None, None)

    @property
    def pid(self) -> int | None:
        """The worker's process id while one runs."""
        return self._process.pid if self._process is not None else None

    def next_id(self) -> int:
        """Return a number that no request under way has."""
        return next(self._ids)

    async def ask(self, request: Request, timeout_s: float) -> Reply:
        """Send a request and wait for its reply. One that is given up before it was sent is not sent.

        A study waits for others before its time begins.
        """
        turn = self._studies if isinstance(request, Study) else contextlib.nullcontext()
        async with turn, asyncio.timeout(timeout_s + GRACE_S):
            replies = await self.stream(request)
            try:
                return await replies.next()
            except BaseException:
                self.tell(GiveUp(request.id))
                raise
            finally:
                replies.close()

    async def stream(self, request: Request) -> Replies:
        """Send a request that has many replies; its reader closes it."""
        await self._up.wait()
        replies = self._waiting[request.id] = Replies(self, request.id)
        self.tell(request)
        return replies

    def tell(self, request: Request) -> None:
        """Send a request that has no reply; lost while the worker restarts."""
        if self._writer is not None and self._up.is_set():
            self._writer.write(frame(request))

    def drop(self, id: int) -> None:
        """Forget a request."""
        self._waiting.pop(id, None)

    async def _supervise(self) -> None:
        deaths = 0
        while True:
            try:
                replies = await self._run_once()
            except OSError as error:
                replies = 0
                log.error("bmc.worker-start-failed error=%s", error)
            deaths = 0 if replies else deaths + 1
            self.restarts += 1
            pause = RESTART_PAUSES_S[min(deaths, len(RESTART_PAUSES_S) - 1)]
            log.error("bmc.worker-died restarts=%d pause_s=%.1f", self.restarts, pause)
            await asyncio.sleep(pause)

    async def _run_once(self) -> int:
        """Start a worker and read from it until it ends; return how many replies it gave."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            with hearing_no_signals():
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "provisioner.bmc.ipmi.worker", str(theirs.fileno()),
                    pass_fds=(theirs.fileno(),), stdin=asyncio.subprocess.DEVNULL, start_new_session=True,
                )  # fmt: skip
            theirs.close()
            try:
                return await self._talk(ours)
            finally:
                ours.close()
                # a task of the group: whoever cancels this one waits for the worker's end all the same
                await asyncio.shield(self._tasks.create_task(self._end(self._process)))

    async def _talk(self, ours: socket.socket) -> int:
        """Read from a worker that runs until it ends; return how many replies it gave."""
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._up.set()
        try:
            return await self._read(reader)
        finally:
            self._up.clear()
            self._writer.transport.abort()  # at once: the socket is closed next
            self._fail_waiting()

    async def _read(self, reader: asyncio.StreamReader) -> int:
        count = 0
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, WireError):
            while True:
                head = await reader.readexactly(LENGTH_SIZE)
                reply = decode_reply(await reader.readexactly(frame_size(head)))
                count += 1
                if replies := self._waiting.get(reply.id):
                    replies.put(reply)
        return count

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """Wait for the worker to end by itself (its socket is closed), then see to it."""
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        self._process = None

    def _fail_waiting(self) -> None:
        for id, replies in self._waiting.items():
            replies.put(Failed(id, Trouble.CLOSED, DIED, sent=True))
