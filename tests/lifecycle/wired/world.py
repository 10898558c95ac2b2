"""Boards, wires and machines of the faults, in a process of their own: `python -m tests.lifecycle.wired.world FOLDER`.

Says "ready", then "done N" whenever machine N has done what it does. On standard input, "late N" lets it do the rest,
and "pass S" moves the clock on by S seconds. Ends with its standard input.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from provisioner.lab.board import Account, Accounts, Board, Network, Role
from provisioner.lab.chassis import Chassis
from provisioner.lab.fake import FakeMachine
from provisioner.lab.hardware import BootChoice, Firmware, Identity
from provisioner.lab.ipmi.server import IpmiServer
from provisioner.lab.redfish.server import RedfishServer
from provisioner.lab.tls import server_context
from provisioner.model.bmc import Driver, Power
from tests.bench.lifecycle.metal import Relay
from tests.bench.lifecycle.names import BMC_PORT, PASSWORD, RELAY, USER, bmc_of, mac_of, name_of, uuid_of
from tests.lifecycle.wired import clocked
from tests.lifecycle.wired.faults import FAULTS, Fault, Life
from tests.lifecycle.wired.guest import FIRMWARE, Guest

WIRES = {"lab": RELAY, "full": "10.98.100.1", "reserved": "10.98.101.1", "elsewhere": "10.98.102.1"}
"""The relays, by the wire that they stand on; the subnets are in `site.py`."""
IPMI_PORT = 623


class Machine(FakeMachine):
    """Hardware that has been on for long, and lives once its run begins."""

    def __init__(self, at: int, fault: Fault, guest: Guest, group: asyncio.TaskGroup) -> None:
        identity = Identity(name_of(at), uuid_of(at), f"SN{at:06}", (mac_of(at),), Firmware.UEFI_PXE)
        super().__init__(identity, booted=self._booted)
        self._power = Power.ON
        self._at, self._fault, self._guest, self._group = at, fault, guest, group
        self._life: asyncio.Task[None] | None = None
        self._inspected = False
        self.board = Board(
            Chassis(self),
            Accounts(Account(2, USER, PASSWORD, Role.ADMINISTRATOR, enabled=True)),
            Network(bmc_of(at), mac_of(at)),
        )
        guest.print = lambda text: self.console.feed(f"{text}\r\n".encode())

    async def _change(self, power: Power) -> None:
        await super()._change(power)
        if power is Power.OFF:
            self._fault.off(self.board)
            if self._life is not None:
                self._life.cancel()

    def _booted(self, _choice: BootChoice) -> None:
        if self._fault.secure_boot is not None and not self._inspected:
            self._inspected = True
            self.live(lambda guest: guest.inspected(secure_boot=bool(self._fault.secure_boot)))
            return
        self._guest.boots += 1
        self.live(self._fault.life)

    def live(self, life: Life) -> None:
        self._life = self._group.create_task(self._live(life), name=self.identity.name)

    async def _live(self, life: Life) -> None:
        try:
            await life(self._guest)
        except (OSError, RuntimeError, EOFError, IndexError, TimeoutError, ValueError) as error:
            print(f"{self.identity.name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        print(f"done {self._at} {self._guest.boots}", flush=True)


async def main(folder: Path) -> None:
    relays = {name: Relay(address) for name, address in WIRES.items()}
    for relay in relays.values():
        relay.start()
    await relays["full"].lease(mac_of(0xFFFF), FIRMWARE)  # somebody has the only address there
    context = await asyncio.to_thread(server_context, folder / "bmc.pem", "faults", bmc_of(0))
    async with asyncio.TaskGroup() as group:
        machines = [Machine(at, fault, Guest(at, relays), group) for at, fault in enumerate(FAULTS.values())]
        for machine, fault in zip(machines, FAULTS.values(), strict=True):
            fault.board(machine.board)
            address = machine.board.network.address
            if fault.driver is Driver.IPMI:
                await IpmiServer(machine.board).start(address, IPMI_PORT)
            else:
                await RedfishServer(machine.board).start(address, BMC_PORT, context)
            group.create_task(machine.board.chassis.run())
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            order, value = line.split()
            if order == "pass":
                clocked.move(float(value))
                continue
            at = int(value)
            late = list(FAULTS.values())[at].late
            assert late is not None
            machines[at].live(late)
        raise asyncio.CancelledError


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(main(Path(sys.argv[1])))
