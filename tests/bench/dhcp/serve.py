"""The daemon, as it is anywhere, for load: `python -m tests.bench.dhcp.serve FILE` (JSON, see `Settings`).

Says "ready" and serves until SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from provisioner import fairloop
from provisioner.config import Api, Config, Store
from provisioner.daemon import Daemon
from provisioner.dhcp.subnets import Dhcp, Durability, Reservation, Subnet
from tests.bench.dhcp.wire import NETWORK, POOL, SERVER

API = "api.sock"
"""The operator's socket, in the state directory."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One run."""

    interface: str
    state_dir: str
    durability: str = "durable"
    reservations: int = 0

    def config(self) -> Config:
        """What an operator would write."""
        return Config(
            store=Store(state_dir=self.state_dir),
            api=Api(socket=f"{self.state_dir}/{API}"),
            dhcp=Dhcp(
                subnets=(subnet(self.interface),),
                reservations=tuple(reservation(number) for number in range(self.reservations)),
                durability=Durability(self.durability),
            ),
        )


def subnet(interface: str) -> Subnet:
    """The same network and options as the peers have, and as they no look whether an address is in use.

    The limit for unknown machines is in force, and beyond what a load can reach.
    """
    return Subnet(
        network=NETWORK,
        interface=interface,
        pools=(POOL,),
        router=(SERVER,),
        dns=(SERVER, SERVER),
        domain="example.tst",
        ntp=(SERVER,),
        options={"host-name": "node01"},
        new_per_s=1e9,
        new_burst=1_000_000_000,
        known_spare=0,
        probe=False,
    )


def reservation(number: int) -> Reservation:
    """One of many machines with a fixed address, below the pool where there is room and inside it beyond that."""
    high, low = divmod(number, 65536)
    third, fourth = divmod(low, 256)
    mac = f"02:00:00:{high:02x}:{low >> 8:02x}:{low & 255:02x}"
    return Reservation(mac=mac, address=f"10.{96 + high}.{third}.{fourth}" if number > 1 else "")


async def main(settings: Settings) -> None:
    """Serve until SIGTERM."""
    daemon, stop = Daemon(settings.config()), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await daemon.run(lambda: print("ready", flush=True), stop)


if __name__ == "__main__":
    logging.basicConfig(level="INFO", stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    fairloop.run(main(Settings(**json.loads(Path(sys.argv[1]).read_text()))))
