"""A serial console on this terminal: bytes as they come, keys as they are typed, Enter ~ . to leave."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import select
import socket
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from provisioner.cli.client import Client
from provisioner.cli.exits import ApiProblem
from provisioner.cli.session import Session, is_terminal
from provisioner.errors import ApiError, ProvisionerError

if TYPE_CHECKING:
    from provisioner.bmc.capabilities import ConsoleLine
    from provisioner.cli.bmc_direct import Direct

CHUNK_BYTES = 4096


class Line(Protocol):
    """A console that is open."""

    def read(self) -> bytes:
        """Wait for output; empty when the console has ended."""
        ...

    def type(self, keys: bytes) -> None: ...

    def end(self) -> None:
        """Have `read` return, that of another thread too: a machine that prints nothing keeps nobody here."""
        ...


class Escape:
    """Finds the way out among the keys: ~ and a dot, at the beginning of a line, as in ssh."""

    def __init__(self) -> None:
        self._fresh = True
        self._held = b""
        self.leaving = False

    def feed(self, keys: bytes) -> bytes:
        """Take keys; return those that are for the machine."""
        out = bytearray()
        for key in keys:
            out += self._one(bytes((key,)))
        return bytes(out)

    def _one(self, key: bytes) -> bytes:
        if self._held:
            self._held = b""
            if key == b".":
                self.leaving = True
                return b""
            self._fresh = False
            return key if key == b"~" else b"~" + key
        if self._fresh and key == b"~":
            self._held = key
            return b""
        self._fresh = key in b"\r\n"
        return key


class ApiLine:
    """The console through the daemon."""

    def __init__(self, client: Client, path: str) -> None:
        self._client = client
        self._path = path
        self._stack = contextlib.ExitStack()
        self._ended = False

    def __enter__(self) -> ApiLine:
        self._response = self._stack.enter_context(self._client.open("GET", self._path))
        self._connection = self._stack.enter_context(socket.socket(fileno=os.dup(self._response.fileno())))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()
        self._stack.close()

    def read(self) -> bytes:
        """Wait for output. Raises `ApiError` where it ends by itself: the board has none, or the daemon is gone."""
        try:
            data = self._response.read1(CHUNK_BYTES)
        except (OSError, http.client.HTTPException, ValueError):
            data = b""
        if not data and not self._ended:
            raise ApiError("the console ended", hint="`provisionctl bmc why MACHINE console.open`")
        return data

    def type(self, keys: bytes) -> None:
        """Type keys into the machine."""
        self._client.open("POST", self._path, keys).close()

    def end(self) -> None:
        """End the connection. To close the response would wait for who reads it."""
        self._ended = True
        with contextlib.suppress(OSError):  # it has ended
            self._connection.shutdown(socket.SHUT_RDWR)


class LoopLine:
    """The console from this process: the line lives on a loop in another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, line: ConsoleLine) -> None:
        self._loop = loop
        self._line = line
        self._output = line.output()
        self._awaited: Future[bytes] | None = None
        self._ended = False

    def read(self) -> bytes:
        """Wait for output."""
        self._awaited = asyncio.run_coroutine_threadsafe(anext(self._output, b""), self._loop)
        if self._ended:
            self._awaited.cancel()
        try:
            return self._awaited.result()
        except CancelledError:
            return b""

    def type(self, keys: bytes) -> None:
        """Type keys into the machine."""
        asyncio.run_coroutine_threadsafe(self._line.type(keys), self._loop).result()

    def end(self) -> None:
        """Wait for output no more; the line itself is closed by who opened it."""
        self._ended = True
        if self._awaited is not None:
            self._awaited.cancel()


@contextlib.contextmanager
def direct_line(direct: Direct, take_over: bool) -> Iterator[LoopLine]:
    """Open the console of a BMC by its address."""
    from provisioner.bmc.pool import Bmcs

    password = direct.password()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="console", daemon=True)
    thread.start()
    stack = contextlib.AsyncExitStack()

    async def start() -> ConsoleLine:
        bmcs = await stack.enter_async_context(Bmcs())
        bmcs.host_keys.first_use = direct.trusts
        line = await bmcs.open_console(await direct.pinned(bmcs), password, take_over=take_over)
        stack.push_async_callback(line.close)
        return line

    try:
        yield LoopLine(loop, asyncio.run_coroutine_threadsafe(start(), loop).result())
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def attach(session: Session, line: Line, *, read_only: bool) -> None:
    """Join this terminal to a console until one side ends it."""
    if is_terminal(sys.stdin) and not read_only:
        session.note("connected: leave with Enter, then ~ and a dot\r")
    done: Future[None] = Future()
    reader = threading.Thread(target=_print, args=(line, done), name="output", daemon=True)
    with _raw(sys.stdin.fileno(), wanted=is_terminal(sys.stdin) and not read_only):
        try:
            reader.start()
            if not read_only and is_terminal(sys.stdin):
                _type(session, line, done)
            else:
                done.result()
        finally:
            line.end()
            if reader.ident is not None:  # Ctrl-C may have come before it began
                reader.join()
    done.result()


def _print(line: Line, done: Future[None]) -> None:
    """Print until the console ends; `done` has why it was lost, where it was."""
    try:
        while data := line.read():
            os.write(sys.stdout.fileno(), data)
    except (ProvisionerError, OSError) as error:
        done.set_exception(error)
    else:
        done.set_result(None)


def _type(session: Session, line: Line, done: Future[None]) -> None:
    """Type until the console ends. Keys for one that is away are dropped, and that is said, once for each reason."""
    escape, told = Escape(), ""
    while not done.done() and not escape.leaving:
        ready, _, _ = select.select([sys.stdin], [], [], 0.2)
        if not ready:
            continue
        keys = os.read(sys.stdin.fileno(), CHUNK_BYTES)
        if not keys:
            return
        if not (meant := escape.feed(keys)):
            continue
        try:
            line.type(meant)
        except ApiProblem as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            if error.message != told:
                session.note(f"\r\nnot typed: {error.message}\r")
            told = error.message
        else:
            told = ""


@contextlib.contextmanager
def _raw(descriptor: int, *, wanted: bool) -> Iterator[None]:
    """Have the terminal hand over every key, and put it back afterwards."""
    if not wanted:
        yield
        return
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
