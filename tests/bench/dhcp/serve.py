"""Our server as a program of its own, for load: `python -m tests.bench.dhcp.serve FILE` (JSON, see `Settings`).

Says "ready", serves until SIGTERM, then says in one line of JSON what it counted.
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sqlite3
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from provisioner.dhcp.leases import Lease
from provisioner.dhcp.server import DhcpServer
from provisioner.dhcp.subnets import Dhcp, Reservation, Subnet
from provisioner.model.boot import Asker, BootClient, LoadFile, Plan, RunScript
from provisioner.store.db import Database
from provisioner.store.leases import LeaseStore
from tests.bench.dhcp.wire import NETWORK, POOL, SERVER


@dataclass(frozen=True, slots=True)
class Settings:
    """One run."""

    interface: str
    state: str
    durability: str = "durable"
    reservations: int = 0
    change_every_s: float = 0.0
    """Change one reservation this often; 0: never."""
    stall_s: float = 0.0
    """What the disk takes longer for each commit."""


class StallingStore(LeaseStore):
    """A store on a disk that takes its time."""

    def __init__(self, database: Database, stall_s: float) -> None:
        super().__init__(database)
        self._database = database
        self._stall_s = stall_s

    def save(self, leases: list[Lease]) -> asyncio.Future[None]:  # type: ignore[override]
        self._database.submit(self._stall)
        return super().save(leases)

    def _stall(self, _: sqlite3.Cursor) -> None:
        threading.Event().wait(self._stall_s)


def subnet(interface: str) -> Subnet:
    """The same network and options as the peers have."""
    return Subnet(
        network=NETWORK,
        interface=interface,
        pools=(POOL,),
        router=(SERVER,),
        dns=(SERVER, SERVER),
        domain="example.tst",
        ntp=(SERVER,),
        options={"host-name": "node01"},
        new_per_s=0,
        known_spare=0,
    )


def reservation(number: int) -> Reservation:
    """One of many machines with a fixed address, below the pool where there is room and inside it beyond that."""
    high, low = divmod(number, 65536)
    third, fourth = divmod(low, 256)
    mac = f"02:00:00:{high:02x}:{low >> 8:02x}:{low & 255:02x}"
    return Reservation(mac=mac, address=f"10.{96 + high}.{third}.{fourth}" if number > 1 else "")


def decide(client: BootClient) -> Plan:
    """The usual plan."""
    return RunScript("discovery") if client.asker is Asker.IPXE else LoadFile("ipxe.efi", "chain to iPXE")


class Changes:
    """Changes one reservation after the other, and keeps how late each was done after it was due."""

    def __init__(self, server: DhcpServer, settings: Settings) -> None:
        self._server = server
        self._settings = settings
        self._number = 2
        self.took_s: list[float] = []

    def start(self) -> None:
        self._next(time.monotonic() + self._settings.change_every_s)

    def _next(self, due: float) -> None:
        asyncio.get_running_loop().call_later(max(0.0, due - time.monotonic()), self._change, due)

    def _change(self, due: float) -> None:
        self._number = 2 + (self._number + 1) % (self._settings.reservations - 2)
        mac = reservation(self._number).mac
        self._server.set_reservation(Reservation(mac=mac, name=f"changed-{len(self.took_s)}"))
        self._server.set_reservation(reservation(self._number))
        self.took_s.append(time.monotonic() - due)
        self._next(due + self._settings.change_every_s)


async def main(settings: Settings) -> None:
    """Serve until SIGTERM."""
    synchronous = "FULL" if settings.durability == "durable" else "NORMAL"
    database = Database(Path(settings.state), synchronous=synchronous)  # type: ignore[arg-type]
    await database.open()
    reservations = tuple(reservation(number) for number in range(settings.reservations))
    config = Dhcp(subnets=(subnet(settings.interface),), reservations=reservations)
    store = StallingStore(database, settings.stall_s) if settings.stall_s else LeaseStore(database)
    server = DhcpServer(config, decide=decide, leases=store, observe=lambda _: None)
    await server.start()
    changes = Changes(server, settings)
    if settings.change_every_s:
        changes.start()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print("ready", flush=True)
    await stop.wait()
    await server.stop()
    await database.close()
    print(json.dumps({"counts": server.trace.counts, "changes_s": changes.took_s}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Settings(**json.loads(Path(sys.argv[1]).read_text()))))
