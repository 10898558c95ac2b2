"""Rendering beside the loop: templates and contexts go to a process of its own, which is killed when it hangs.

A rendering that takes too long or too much memory fails, alone: the process is started again, and what waited behind
it is asked once more. Nothing CPU-bound runs in the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections import deque
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from provisioner.catalog.renderchild import (
    Answer,
    Failed,
    Load,
    Render,
    Rendered,
    error_of,
    frame_of,
    take_frame,
)
from provisioner.children import hearing_no_signals
from provisioner.errors import RenderError

log = logging.getLogger(__name__)

WALL_S = 5.0
"""How long the process may think about one request before it is killed."""
START_S = 30.0
"""How long it may take to start, on a busy machine."""
PAUSE_S = 2.0
"""Between attempts to start a process that does not start."""
HANG_UP_S = 2.0
"""What a process that hung up is given to end."""
MAX_WAITING = 4096
"""Requests in line: a rack's worth, some 8 kB each."""


@dataclass(slots=True)
class _Asked:
    """One request under way. `frame` is kept to ask again when another one took the process down."""

    frame: bytes
    future: asyncio.Future[str]
    limit_s: float


class RenderProcess:
    """One renderer process. Use as `async with RenderProcess() as renderer`, and `load` what it renders."""

    def __init__(self, *, wall_s: float = WALL_S) -> None:
        self._codes: Mapping[str, bytes] = {}
        self._wall_s = wall_s
        self._process: asyncio.subprocess.Process | None = None
        self._pipe: _Pipe | None = None
        self._gone = False
        """The process hung up: it ends by itself. Killing what is dead takes its end from asyncio, which warns then."""
        self._waiting: deque[_Asked] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._limit_s = wall_s
        self._since = 0.0
        """When the request at the head of the line got there, on the loop's clock."""
        self._task: asyncio.Task[None] | None = None
        self._tasks = asyncio.TaskGroup()
        self._restart = asyncio.Event()
        self.restarts = 0
        """How often a request took the process down."""

    async def __aenter__(self) -> RenderProcess:
        """Start the process. It comes up while others work; whoever asks it for something waits until it is."""
        self._pipe = await self._spawn()
        await self._tasks.__aenter__()
        self._task = self._tasks.create_task(self._supervise(), name="renderer")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """End the process; what still waits fails."""
        if self._task is not None:
            self._task.cancel()
        await self._tasks.__aexit__(None, None, None)
        self._fail_all("the renderer is closed")
        await self._end()

    @property
    def pid(self) -> int | None:
        """The id of the process while one runs."""
        return self._process.pid if self._process is not None else None

    def load(self, codes: Mapping[str, bytes]) -> Awaitable[object]:
        """Render these templates (`render.Renderer.codes`) from this call on; what was asked before, with the old ones.

        Raise `RenderError` where the process does not start.
        """
        self._codes = codes
        return self._ask(Load(codes))

    async def render(self, template: str, context: Mapping[str, Any]) -> str:
        """Render one template; raise `RenderError`."""
        return await self._ask(Render(template, dict(context)))

    def _ask(self, request: Load | Render) -> asyncio.Future[str]:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        try:
            limit_s = START_S if isinstance(request, Load) else self._wall_s
            asked = _Asked(self._frame(request), future, limit_s)
        except RenderError as error:
            future.set_exception(error)
            return future
        self._waiting.append(asked)
        if self._pipe is not None:
            self._pipe.send(asked.frame)
            if len(self._waiting) == 1:
                self._arm(limit_s)
        return future

    def _frame(self, request: Load | Render) -> bytes:
        if len(self._waiting) >= MAX_WAITING:
            raise RenderError("too many renderings wait already")
        return frame_of(request)

    # the process

    async def _spawn(self) -> _Pipe:
        ours, theirs = socket.socketpair()
        self._gone = False
        with theirs, hearing_no_signals():
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "provisioner.catalog.renderchild",
                str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        ours.setblocking(False)
        pipe = _Pipe(self._answered, self._hung_up)
        await asyncio.get_running_loop().create_connection(lambda: pipe, sock=ours)
        return pipe

    async def _spawn_again(self) -> None:
        """Start a process in place of one that is gone, and ask it for all that waits."""
        pipe = await self._spawn()
        ready = asyncio.get_running_loop().create_future()
        first = _Asked(frame_of(Load(self._codes)), ready, START_S)
        self._waiting.appendleft(first)
        self._pipe = pipe
        for asked in self._waiting:
            pipe.send(asked.frame)
        self._arm(START_S)
        await ready

    async def _end(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if self._process is not None:
            await self._bury(self._process)

    async def _bury(self, process: asyncio.subprocess.Process) -> None:
        """Wait for the end of a process that hung up; any other one is killed."""
        if self._gone:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HANG_UP_S):
                    await process.wait()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _supervise(self) -> None:
        """Start the process again whenever it is gone."""
        while True:
            await self._restart.wait()
            self._restart.clear()
            await self._end()
            self.restarts += 1
            try:
                await self._spawn_again()
            except (OSError, RenderError) as error:
                log.error("render.lost the renderer does not start: %s", error)
                await asyncio.sleep(PAUSE_S)
                self._restart.set()

    def _arm(self, limit_s: float) -> None:
        """Watch the request that is at the head of the line from now on. One timer runs, however many there are."""
        loop = asyncio.get_running_loop()
        self._since, self._limit_s = loop.time(), limit_s
        if self._watch is not None and self._watch.when() > self._since + limit_s:
            self._watch.cancel()  # the start of the process is given longer
            self._watch = None
        if self._watch is None:
            self._watch = loop.call_later(limit_s, self._look)

    def _look(self) -> None:
        """See whether the head of the line has been there for too long."""
        loop, self._watch = asyncio.get_running_loop(), None
        if not self._waiting or self._pipe is None:
            return
        if (due := self._since + self._limit_s) > loop.time():
            self._watch = loop.call_at(due, self._look)
        else:
            self._lost(f"did not end within {self._limit_s:g} s, and was killed")

    def _answered(self, answer: Answer) -> None:
        asked = self._waiting.popleft()
        self._arm(self._waiting[0].limit_s if self._waiting else self._wall_s)
        if asked.future.done():
            return
        match answer:
            case Rendered(text):
                asked.future.set_result(text)
            case Failed():
                asked.future.set_exception(error_of(answer))

    def _hung_up(self) -> None:
        self._gone = True
        self._lost("took the renderer down, most likely with too much memory")

    def _lost(self, why: str) -> None:
        """The process is gone or has to go: the request at the head is what it worked on."""
        if self._pipe is None:
            return
        log.error("render.killed %s", why)
        self._pipe.close()
        self._pipe = None
        if self._waiting:
            asked = self._waiting.popleft()
            if not asked.future.done():
                asked.future.set_exception(RenderError(f"the rendering {why}"))
        self._restart.set()

    def _fail_all(self, why: str) -> None:
        while self._waiting:
            asked = self._waiting.popleft()
            if not asked.future.done():
                asked.future.set_exception(RenderError(why))


class _Pipe(asyncio.Protocol):
    """Frames to and from the process."""

    def __init__(self, answered: Any, hung_up: Any) -> None:
        self._answered = answered
        self._hung_up = hung_up
        self._decoder = msgspec.msgpack.Decoder(Answer)
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, frame: bytes) -> None:
        """Send a frame; those of one turn of the loop leave together."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(frame)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and not self._closed:
            self._transport.write(b"".join(out))

    def data_received(self, data: bytes) -> None:
        """Hand out whole answers."""
        self._buffer += data
        while not self._closed and (frame := take_frame(self._buffer)) is not None:
            self._answered(self._decoder.decode(frame))

    def connection_lost(self, error: Exception | None) -> None:
        """Tell that the process is gone, unless we let it go."""
        if not self._closed:
            self._hung_up()

    def close(self) -> None:
        """Let it go."""
        self._closed = True
        if self._transport is not None:
            self._transport.close()
