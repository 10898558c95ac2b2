"""All machines and their BMCs in one process: Redfish over TLS, one board an address, and what each machine does.

    python -m tests.bench.lifecycle.racks COUNT FOLDER

Says "ready FINGERPRINT" when every board listens; ends when its standard input does. What goes wrong with a machine is
said on stderr, and at the end how often DHCP had to be repeated.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from provisioner.bmc.redfish.way import fingerprint
from provisioner.lab.board import Account, Accounts, Board, Network, Role
from provisioner.lab.chassis import Chassis
from provisioner.lab.fake import FakeMachine
from provisioner.lab.hardware import BootChoice, Firmware, Identity
from provisioner.lab.redfish.server import RedfishServer
from provisioner.lab.tls import server_context
from provisioner.model.bmc import BmcAddress, BootTarget, Driver, Power
from tests.bench.lifecycle.metal import Metal, Relay
from tests.bench.lifecycle.names import BMC_PORT, PASSWORD, USER, bmc_of, mac_of, name_of, uuid_of


class Machine(FakeMachine):
    """Hardware that tells when its power goes."""

    def __init__(self, identity: Identity, booted: Callable[[BootChoice], None], off: Callable[[], None]) -> None:
        super().__init__(identity, booted=booted)
        self._off = off

    async def _change(self, power: Power) -> None:
        await super()._change(power)
        if power is Power.OFF:
            self._off()


class Slot:
    """One machine in its rack: board, hardware, and the life that it leads while its power is on."""

    def __init__(self, at: int, relay: Relay, group: asyncio.TaskGroup) -> None:
        self._name = name_of(at)
        self._group = group
        self._metal = Metal(at, relay)
        self._life: asyncio.Task[None] | None = None
        identity = Identity(self._name, uuid_of(at), f"SN{at:06}", (mac_of(at),), Firmware.UEFI_HTTP)
        hardware = Machine(identity, self._boot, self._die)
        first = Account(2, USER, PASSWORD, Role.ADMINISTRATOR, enabled=True)
        self.board = Board(Chassis(hardware), Accounts(first), Network(bmc_of(at), mac_of(at)))
        self.door = RedfishServer(self.board)

    def _boot(self, choice: BootChoice) -> None:
        self._die()
        network = choice.target in (BootTarget.PXE, BootTarget.HTTP)
        self._life = self._group.create_task(self._live(network), name=self._name)

    def _die(self) -> None:
        if self._life is not None:
            self._life.cancel()
            self._life = None

    async def _live(self, network: bool) -> None:
        try:
            await self._metal.boot(network)
        except (OSError, RuntimeError, EOFError, IndexError, TimeoutError) as error:
            print(f"  {self._name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


async def main(count: int, folder: Path) -> None:
    """Run until standard input ends."""
    relay = Relay()
    relay.start()
    context = await asyncio.to_thread(server_context, folder / "bmc.pem", "bench", bmc_of(0))
    async with asyncio.TaskGroup() as group:
        slots = [Slot(at, relay, group) for at in range(count)]
        running = []
        for at, slot in enumerate(slots):
            await slot.door.start(bmc_of(at), BMC_PORT, context)
            running.append(group.create_task(slot.board.chassis.run()))
        print("ready", await fingerprint(BmcAddress(Driver.REDFISH, bmc_of(0), BMC_PORT, USER)), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for slot in slots:
            slot._die()
        for task in running:
            task.cancel()
    if relay.repeats:
        print(f"  DHCP was repeated {relay.repeats} times", file=sys.stderr, flush=True)


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
