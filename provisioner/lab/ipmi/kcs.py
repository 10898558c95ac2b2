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

    async def start(self, path: Path) -> None:
        """Listen; QEMU refuses to start while nobody does."""
        self._server = await asyncio.start_unix_server(self._serve, path)

    def close(self) -> None:
        if self._server:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = Decoder()
        caller = Caller(SYSTEM_CHANNEL, GUEST, GUEST)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(CHUNK_BYTES):
                for request in decoder.feed(data):
                    response = respond(request, self._board, caller, time.time(), {})
                    writer.write(encode_response(request, response))
        writer.close()
