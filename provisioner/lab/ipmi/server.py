"""The UDP socket of a simulated BMC: gives the value machine what came, sends what it has, arms its timer."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from provisioner.errors import ListenError
from provisioner.lab.board import Board
from provisioner.lab.ipmi.session import Lan


class IpmiServer(asyncio.DatagramProtocol):
    """One BMC's IPMI over LAN."""

    def __init__(self, board: Board) -> None:
        self.lan = Lan(board, os.urandom)
        self._console = board.chassis.hardware.console
        self._transport: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._console.attach(self._guest_printed)

    async def start(self, host: str, port: int) -> None:
        """Listen; raise `ListenError`."""
        loop = asyncio.get_running_loop()
        try:
            self._transport, _ = await loop.create_datagram_endpoint(lambda: self, (host, port))
        except OSError as error:
            raise ListenError(f"IPMI: {host}:{port}/udp: {error.strerror}") from error
        self.lan.board.rmcp_port = self.port

    @property
    def port(self) -> int:
        assert self._transport is not None
        return int(self._transport.get_extra_info("sockname")[1])

    def close(self) -> None:
        self._console.detach(self._guest_printed)
        if self._timer:
            self._timer.cancel()
        if self._transport:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self.lan.receive_datagram(data, addr, time.time())
        self._pump()

    def _guest_printed(self, data: bytes) -> None:
        if self.lan.console_is_active:
            self.lan.guest_printed(data, time.time())
            self._pump()

    def _on_timer(self) -> None:
        self.lan.handle_timer(time.time())
        self._pump()

    def _pump(self) -> None:
        assert self._transport is not None
        for data, peer in self.lan.datagrams_to_send():
            self._transport.sendto(data, peer)
        if self._timer:
            self._timer.cancel()
            self._timer = None
        due = self.lan.get_timer()
        if due is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, due - time.time()), self._on_timer)
