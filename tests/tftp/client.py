"""A small TFTP client on a real socket, for the tests of the server."""

from __future__ import annotations

import asyncio
import socket

from provisioner.tftp.options import Agreed
from provisioner.tftp.packet import Error, Mode, OptionAck, Options, Packet, Request, decode, encode
from tests.tftp.receiver import Receiver

TIMEOUT_S = 10.0


class Client:
    """One socket. The first answer tells which port the transfer is on."""

    def __init__(self, server: tuple[str, int], *, bind: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind(("::1" if family == socket.AF_INET6 else bind, 0))
        self.server = server
        self.peer: tuple[str, int] | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes, to: tuple[str, int] | None = None) -> None:
        self.sock.sendto(data, to or self.peer or self.server)

    def ask(self, name: str, options: Options = (), mode: Mode = Mode.OCTET) -> None:
        self.send(encode(Request(name, mode, options)), self.server)

    async def receive(self) -> Packet:
        async with asyncio.timeout(TIMEOUT_S):
            data, peer = await asyncio.get_running_loop().sock_recvfrom(self.sock, 70_000)
        self.peer = peer[:2]
        return decode(data)

    async def get(self, name: str, options: Options = (), mode: Mode = Mode.OCTET) -> bytes | Error:
        """Fetch a file, or the error that came instead."""
        self.ask(name, options, mode)
        receiver = Receiver()
        while not receiver.finished:
            packet = await self.receive()
            if isinstance(packet, Error):
                return packet
            if isinstance(packet, OptionAck):
                agreed = granted(packet)
                receiver.blksize, receiver.windowsize = agreed.blksize, agreed.windowsize
            for answer in receiver.receive(encode(packet)):
                self.send(answer)
        return bytes(receiver.content)


def granted(packet: OptionAck) -> Agreed:
    options = dict(packet.options)
    return Agreed(int(options.get("blksize", 512)), int(options.get("windowsize", 1)), None, packet.options)


async def fetch(
    server: tuple[str, int], name: str, options: Options = (), mode: Mode = Mode.OCTET, *, bind: str = "127.0.0.1"
) -> bytes | Error:
    with Client(server, bind=bind) as client:
        return await client.get(name, options, mode)
