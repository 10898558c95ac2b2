"""Answers searches of SSDP for one simulated board: a socket in the group, on the board's address."""

from __future__ import annotations

import asyncio
import socket

from provisioner.errors import ListenError
from provisioner.lab.board import Board
from provisioner.lab.redfish.announce import GROUP, PORT, answer


class Announcer(asyncio.DatagramProtocol):
    """One board that makes itself known, unless that is switched off in its network protocols."""

    def __init__(self, board: Board, host: str, port: int) -> None:
        self._board = board
        self._host = host
        self._url = f"https://{host}:{port}/redfish/v1/"
        self._ears: asyncio.DatagramTransport | None = None
        self._mouth: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        """Join the group on the interface that has the board's address; raise `ListenError`."""
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((GROUP, PORT))
            member = socket.inet_aton(GROUP) + socket.inet_aton(self._host)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            self._mouth, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, (self._host, 0))
        except OSError as error:
            sock.close()
            raise ListenError(f"SSDP: {self._host}: {error.strerror}") from error
        self._ears, _ = await loop.create_datagram_endpoint(lambda: self, sock=sock)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer from the board's own address: who asks takes no other for it."""
        if self._mouth is not None and self._board.settings.ssdp:
            said = answer(data, self._board.chassis.hardware.identity.uuid, self._url)
            if said:
                self._mouth.sendto(said, addr)

    def close(self) -> None:
        """Leave the group."""
        for transport in (self._ears, self._mouth):
            if transport is not None:
                transport.close()
