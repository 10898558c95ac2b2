"""Our server as a program of its own, for load: `python -m tests.bench.dhcp.serve FILE` (JSON, see `Settings`)."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

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
    """One of many machines with a fixed address, below the pool."""
    high, low = divmod(number, 65536)
    third, fourth = divmod(low + 256, 256)
    return Reservation(
        mac=f"02:00:00:{high:02x}:{low >> 8:02x}:{low & 255:02x}", address=f"10.{96 + high}.{third}.{fourth}"
    )


def decide(client: BootClient) -> Plan:
    """The usual plan."""
    return RunScript("discovery") if client.asker is Asker.IPXE else LoadFile("ipxe.efi", "chain to iPXE")


async def main(settings: Settings) -> None:
    """Serve until SIGTERM."""
    synchronous = "FULL" if settings.durability == "durable" else "NORMAL"
    database = Database(Path(settings.state), synchronous=synchronous)  # type: ignore[arg-type]
    await database.open()
    reservations = tuple(reservation(number) for number in range(settings.reservations))
    config = Dhcp(subnets=(subnet(settings.interface),), reservations=reservations)
    server = DhcpServer(config, decide=decide, leases=LeaseStore(database), observe=lambda _: None)
    await server.start()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print("ready", flush=True)
    await stop.wait()
    await server.stop()
    await database.close()
    print(json.dumps(server.trace.counts), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Settings(**json.loads(Path(sys.argv[1]).read_text()))))
