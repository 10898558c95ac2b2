"""kill -9 under load, again and again: `python -m tests.dhcp.crash [TIMES]` (20 by default, two minutes).

Clients keep a record of every ACK. After each crash and restart, every address in it must still be its holder's: in
the store, and by the word of the server, which is asked about some of them.
"""

from __future__ import annotations

import asyncio
import random
import socket
import sys
import tempfile
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from provisioner.dhcp.leases import LeaseState
from provisioner.dhcp.options import Type
from provisioner.dhcp.packet import decode, encode
from provisioner.store.db import Database
from provisioner.store.leases import LeaseStore
from tests.bench.dhcp.contest import Contest
from tests.bench.dhcp.wire import FIRST, RELAY, SERVER, Load, build, drive, wire
from tests.dhcp.clients import ip, request
from tests.dhcp.netns import inside

FIRST_CRASH = 10_000
"""Leases that are held before the first crash."""
MORE = (1000, 4000)
"""Leases between one crash and the next."""
ASKED = 100
DURABILITIES = ("written", "durable")
"""In turns: what is with the kernel outlives the server as well."""
LINE = 31
"""Bytes of a line of the record, about."""


class Crashes:
    """One server after the other on the same store, each killed in the middle of its work."""

    def __init__(self, contest: Contest, seed: int) -> None:
        self.contest = contest
        self.chance = random.Random(seed)
        self.folder = contest.folder / "state"
        self.held: dict[str, str] = {}
        """What clients were promised: hardware address and address."""
        self.next = FIRST

    async def once(self, durability: str) -> None:
        """Serve until some thousand more leases are held, kill, and see that none was lost."""
        record = self.contest.folder / "record"
        record.write_text("")
        wanted = self.chance.randint(*MORE) + (0 if self.held else FIRST_CRASH)
        load = Load(seconds=60, clients=200_000, first=self.next, record=record)
        process = await self.start(durability)
        driving = asyncio.get_running_loop().create_task(drive(self.contest.wire, self.contest.program, load))
        while record.stat().st_size < wanted * LINE and not driving.done():
            await asyncio.sleep(0.01)
        process.kill()
        await process.wait()
        driving.cancel()
        await asyncio.gather(driving, return_exceptions=True)
        self.remember(record)
        await self.check()

    async def start(self, durability: str = "durable") -> asyncio.subprocess.Process:
        return await self.contest.start_ours(state_dir=str(self.folder), durability=durability)

    def remember(self, record: Path) -> None:
        for line in record.read_text().splitlines():
            mac, _, address = line.partition(" ")
            if len(mac) == 17 and address.count(".") == 3:
                self.held[mac] = address
        self.next += 200_000

    async def check(self) -> None:
        """Compare the store with the record, and ask a new server about some."""
        database = Database(self.folder / "state.db")
        await database.open()
        stored = {lease.ip: lease for lease in await LeaseStore(database).load()}
        await database.close()
        for mac, address in self.held.items():
            lease = stored.get(int(IPv4Address(address)))
            assert lease is not None, f"{address} was acknowledged to {mac} and is gone"
            assert (lease.key.hex(":"), lease.state) == (mac, LeaseState.BOUND), f"{address} of {mac}: {lease}"
        process = await self.start()
        await self.ask(dict(self.chance.sample(sorted(self.held.items()), ASKED)))
        process.kill()
        await process.wait()

    async def ask(self, some: dict[str, str]) -> None:
        """INIT-REBOOT: "this was mine, is it still?"."""
        loop = asyncio.get_running_loop()
        with inside(self.contest.wire.client), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as relay:
            relay.bind((RELAY, 67))
            relay.setblocking(False)
            for mac, address in some.items():
                relay.sendto(encode(request(address, mac, giaddr=RELAY)), (SERVER, 67))
                async with asyncio.timeout(10):
                    found = decode(await loop.sock_recv(relay, 2048))
                assert (found.type, found.yiaddr) == (Type.ACK, ip(address)), f"{address} of {mac} is refused"


async def crash(times: int, seed: int = 1) -> int:
    """Crash so often; give how many leases were held in the end."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        async with wire() as it:
            crashes = Crashes(Contest(it, build(folder), folder), seed)
            for number in range(times):
                durability = DURABILITIES[number % len(DURABILITIES)]
                await crashes.once(durability)
                print(f"crash {number + 1}, {durability}: {len(crashes.held)} leases held, none lost", flush=True)
            return len(crashes.held)


def main(words: list[str]) -> Any:
    """Run as a command."""
    asyncio.run(crash(int(words[0]) if words else 20))


if __name__ == "__main__":
    main(sys.argv[1:])
