"""Machines that are switched on at once: `python -m tests.bench.storm.clients MACHINES WRITERS` prints JSON.

Each takes a loader by TFTP as UEFI does, then kernel and initrd by HTTP, and notes the longest time for which it heard
nothing. Writers take an image all the while, and echoes are asked 200 times a second.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import struct
import sys
import time
from dataclasses import dataclass, field

from tests.bench.http.serve import ECHO_PORT, PORT
from tests.bench.tftp.wire import SERVER

BLKSIZE, WINDOW = 1468, 4  # OVMF
LOADER, FILES, IMAGE = "loader", ("kernel", "initrd"), "image"


@dataclass
class Silence:
    """The longest wait of one machine, by protocol."""

    longest: dict[str, float] = field(default_factory=dict)

    def heard(self, what: str, since: float) -> float:
        """Note that something came; return now."""
        now = time.monotonic()
        self.longest[what] = max(self.longest.get(what, 0.0), now - since)
        return now


class Tftp(asyncio.DatagramProtocol):
    """One transfer; `done` resolves with the bytes that came."""

    def __init__(self, silence: Silence) -> None:
        self._silence, self._since = silence, time.monotonic()
        self.done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._next, self._size = 1, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.DatagramTransport = transport  # type: ignore[assignment]
        options = f"blksize\0{BLKSIZE}\0windowsize\0{WINDOW}\0".encode()
        self._transport.sendto(struct.pack(">H", 1) + LOADER.encode() + b"\0octet\0" + options, (SERVER, 69))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._since = self._silence.heard("tftp", self._since)
        opcode = struct.unpack_from(">H", data)[0]
        if opcode == 6:
            self._ack(0, addr)
        elif opcode == 3:
            self._data(struct.unpack_from(">H", data, 2)[0], len(data) - 4, addr)

    def _data(self, block: int, length: int, addr: tuple[str, int]) -> None:
        if block != self._next & 0xFFFF:
            return
        self._size += length
        last = length < BLKSIZE
        if last or self._next % WINDOW == 0:
            self._ack(self._next, addr)
        self._next += 1
        if last and not self.done.done():
            self.done.set_result(self._size)

    def _ack(self, block: int, addr: tuple[str, int]) -> None:
        self._transport.sendto(struct.pack(">HH", 4, block & 0xFFFF), addr)


def address(number: int) -> tuple[str, int]:
    """Each machine is somebody else (tests/bench/tftp/wire.py)."""
    return f"10.94.{128 + number // 250}.{number % 250 + 1}", 0


async def loader(number: int, silence: Silence) -> None:
    """Take the loader."""
    make = asyncio.get_running_loop().create_datagram_endpoint
    transport, protocol = await make(lambda: Tftp(silence), local_addr=address(number))
    try:
        await asyncio.wait_for(protocol.done, 600)
    finally:
        transport.close()


async def http(number: int, name: str, silence: Silence | None) -> int:
    """Take a file; return how many bytes came."""
    since = time.monotonic()
    reader, writer = await asyncio.open_connection(SERVER, PORT, local_addr=address(number))
    writer.write(f"GET /files/{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    size = 0
    while chunk := await reader.read(1 << 16):
        size += len(chunk)
        if silence is not None:
            since = silence.heard("http", since)
    writer.close()
    return size


async def machine(number: int, silence: Silence) -> float:
    """Boot; return how long it took."""
    began = time.monotonic()
    await loader(number, silence)
    for name in FILES:
        await http(number, name, silence)
    return time.monotonic() - began


async def writer(number: int) -> None:
    """Take an image again and again."""
    while True:
        await http(number, IMAGE, None)


class Echo(asyncio.DatagramProtocol):
    """Counts how long echoes take."""

    def __init__(self) -> None:
        self.took_ms: list[float] = []
        self.asked = 0

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.took_ms.append((time.monotonic() - struct.unpack("d", data[:8])[0]) * 1000)


async def echoes(protocol: Echo, transport: asyncio.DatagramTransport) -> None:
    """Ask, as DHCP clients do."""
    while True:
        transport.sendto(struct.pack("d", time.monotonic()) + bytes(292))
        protocol.asked += 1
        await asyncio.sleep(0.005)


async def storm(machines: int, writers: int) -> dict[str, float]:
    """Switch all of them on."""
    loop = asyncio.get_running_loop()
    transport, echo = await loop.create_datagram_endpoint(Echo, remote_addr=(SERVER, ECHO_PORT))
    silences = [Silence() for _ in range(machines)]
    async with asyncio.TaskGroup() as group:
        others = [group.create_task(writer(machines + number)) for number in range(writers)]
        others.append(group.create_task(echoes(echo, transport)))
        booting = [group.create_task(machine(number, silence)) for number, silence in enumerate(silences)]
        await asyncio.wait(booting)
        for other in others:
            other.cancel()
    transport.close()
    took = sorted(task.result() for task in booting)
    return {
        "machines": len(took),
        "first_s": took[0],
        "median_s": statistics.median(took),
        "last_s": took[-1],
        "tftp_silence_s": max(silence.longest["tftp"] for silence in silences),
        "http_silence_s": max(silence.longest["http"] for silence in silences),
        "dhcp_p99_ms": statistics.quantiles(echo.took_ms, n=100)[98],
        "dhcp_answered": len(echo.took_ms) / echo.asked,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(storm(int(sys.argv[1]), int(sys.argv[2])))))
