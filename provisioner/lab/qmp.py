"""QEMU's machine protocol over a socket: commands, their answers, and events (docs/interop/qmp-spec of QEMU)."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from collections.abc import Callable
from typing import Any, Self

from provisioner.errors import LabError

ANSWER_S = 30.0
"""An emulated machine on a loaded host answers within a second; more than this means that QEMU hangs."""
START_S = 60.0
"""A new process opens its end within a second; a loaded host may need much longer."""
LINE_BYTES = 1 << 20
"""The longest answer that we ask for (qom-list of a machine) has some 20 kB."""

OnEvent = Callable[[str, dict[str, Any]], None]


class Qmp:
    """One QMP session. `run()` reads until QEMU goes away; `execute()` may be called from any task meanwhile."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_event: OnEvent) -> None:
        self._reader = reader
        self._writer = writer
        self._on_event = on_event
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._gone = False

    @classmethod
    async def connect(cls, line: socket.socket, on_event: OnEvent) -> Self:
        """Begin the session on a socket whose other end QEMU has; raise `LabError`."""
        reader, writer = await asyncio.open_connection(sock=line, limit=LINE_BYTES)
        session = cls(reader, writer, on_event)
        try:
            async with asyncio.timeout(START_S):
                await session._greet()
        except (OSError, TimeoutError, ValueError) as error:
            writer.close()
            raise LabError(f"QEMU does not begin to talk: {error}") from error
        return session

    async def _greet(self) -> None:
        greeting = json.loads(await self._reader.readline() or b"{}")
        if "QMP" not in greeting:
            raise ValueError(f"not a QMP greeting: {str(greeting)[:80]}")
        self._send({"execute": "qmp_capabilities", "id": 0})
        while "return" not in json.loads(await self._reader.readline() or b'{"return": "closed"}'):
            continue  # events may come first

    def _send(self, message: dict[str, Any]) -> None:
        self._writer.write(json.dumps(message).encode() + b"\n")

    async def run(self) -> None:
        """Hand out answers and events until QEMU closes the socket."""
        try:
            while line := await self._reader.readline():
                self._dispatch(json.loads(line))
        except (ConnectionError, ValueError):
            pass  # QEMU was killed in the middle of a line
        finally:
            self._gone = True
            self._writer.close()
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(LabError("QEMU ended before it answered"))

    def _dispatch(self, message: dict[str, Any]) -> None:
        if "event" in message:
            self._on_event(message["event"], message.get("data", {}))
            return
        waiting = self._waiting.get(message.get("id", 0))
        if waiting is None or waiting.done():
            return
        if "error" in message:
            waiting.set_exception(LabError(f"QEMU refused: {message['error'].get('desc', message['error'])}"))
        else:
            waiting.set_result(message.get("return"))

    async def execute(self, command: str, **arguments: Any) -> Any:
        """Run one command and return its answer; raise `LabError` with QEMU's words."""
        if self._gone:
            raise LabError(f"{command}: QEMU has ended")
        number = next(self._ids)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        names = {key.replace("_", "-"): value for key, value in arguments.items()}
        self._send({"execute": command, "arguments": names, "id": number})
        try:
            async with asyncio.timeout(ANSWER_S):
                return await waiting
        except TimeoutError as error:
            raise LabError(f"{command}: QEMU gave no answer for {ANSWER_S:.0f} s") from error
        finally:
            del self._waiting[number]
