"""The board's system interface: the socket that QEMU's KCS device connects to."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

from provisioner.lab.board import Board
from provisioner.lab.ipmi.call import GUEST, SYSTEM_CHANNEL, Caller
from provisioner.lab.ipmi.commands import respond
from provisioner.lab.ipmi.guest import Decoder, encode_response

CHUNK_BYTES = 4096


class KcsServer:
    """Answers the guest's IPMI commands, from the same board that speaks LAN."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._server: asyncio.Server | None = None
        self._guests: set[asyncio.Task[None]] = set()

    async def start(self, path: Path) -> None:
        """Listen; QEMU refuses to start while nobody does."""
        self._server = await asyncio.start_unix_server(self._serve, path)

    async def close(self) -> None:
        """Hang up on the guest."""
        if self._server:
            self._server.close()
        for guest in self._guests:
            guest.cancel()
        await asyncio.gather(*self._guests, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._guests.add(task)
        try:
            with contextlib.suppress(ConnectionError):
                await self._answer(reader, writer)
        finally:
            self._guests.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = Decoder()
        caller = Caller(SYSTEM_CHANNEL, GUEST, GUEST)
        while data := await reader.read(CHUNK_BYTES):
            for request in decoder.feed(data):
                response = respond(request, self._board, caller, time.time(), {})
                writer.write(encode_response(request, response))
