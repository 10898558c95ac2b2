"""The process inside the rack's namespace: machines, their BMCs, and a small control socket.

Everything ends with it: the kernel kills QEMU when its parent dies, and interfaces go with the namespace.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from provisioner.errors import LabError, ProvisionerError
from provisioner.lab import faults
from provisioner.lab import spec as specs
from provisioner.lab.board import Account, Accounts, Board, Network, Role
from provisioner.lab.chassis import Chassis, Verb
from provisioner.lab.ipmi.kcs import KcsServer
from provisioner.lab.ipmi.server import IpmiServer
from provisioner.lab.machine import QemuMachine
from provisioner.lab.redfish.announcer import Announcer
from provisioner.lab.redfish.server import RedfishServer
from provisioner.lab.spec import MachineSpec, RackSpec
from provisioner.lab.ssh import SshServer, host_key
from provisioner.lab.tls import server_context, shown

log = logging.getLogger(__name__)

IPMI_PORT = 623
REDFISH_PORT = 443
SSH_PORT = 22
REQUEST_BYTES = 64 * 1024

Json = dict[str, Any]


class Slot:
    """One machine in the rack with its board and the board's doors."""

    def __init__(self, rack: RackSpec, machine: MachineSpec) -> None:
        self.spec = machine
        self.machine = QemuMachine(machine.identity, rack.root_of(machine), machine.tap, rack.accelerator)
        first = Account(2, specs.USERNAME, machine.password, Role.ADMINISTRATOR, enabled=True)
        network = Network(machine.bmc_address, machine.bmc_mac)
        self.board = Board(Chassis(self.machine), Accounts(first), network)
        self.ipmi = IpmiServer(self.board)
        self.redfish = RedfishServer(self.board)
        self.ssh = SshServer(self.board)
        self.kcs = KcsServer(self.board)
        self.announcer = Announcer(self.board, machine.bmc_address, REDFISH_PORT)

    async def start(self) -> None:
        """Build the machine and open the board's doors; raise `ListenError` or `LabError`."""
        await asyncio.to_thread(self.machine.build)
        name, address = self.spec.identity.name, self.spec.bmc_address
        certificate = self.machine.files.root / "bmc.pem"
        context = await asyncio.to_thread(server_context, certificate, name, address)
        await self.ipmi.start(address, IPMI_PORT)
        await self.redfish.start(address, REDFISH_PORT, context, await asyncio.to_thread(shown, certificate))
        key = await asyncio.to_thread(host_key, self.machine.files.root / "bmc_ssh_key")
        await self.ssh.start(address, SSH_PORT, key)
        await self.announcer.start()
        await self.kcs.start(self.machine.files.kcs)

    async def close(self) -> None:
        await self.machine.power_off()
        await self.kcs.close()
        self.ipmi.close()
        self.announcer.close()
        await self.ssh.close()
        await self.redfish.close()

    def status(self) -> Json:
        """What `provisionctl lab status` shows."""
        override = self.board.chassis.override
        return {
            "name": self.spec.identity.name,
            "firmware": self.spec.identity.firmware.value,
            "mac": self.spec.identity.macs[0],
            "bmc": f"{self.spec.driver}://{self.spec.bmc_address}",
            "power": self.board.chassis.power.value,
            "boots": self.board.chassis.boots,
            "next_boot": override.next_boot().target.value,
            "pid": self.machine.pid,
            "faults": self.board.faults.listed(),
        }


class Supervisor:
    """The rack at work."""

    def __init__(self, rack: RackSpec) -> None:
        self.rack = rack
        self.slots = {machine.identity.name: Slot(rack, machine) for machine in rack.machines}
        self._stop = asyncio.Event()
        self._requests: dict[str, Callable[[Json], Any]] = {
            "status": self._status,
            "power": self._power,
            "fault": self._fault,
            "repair": self._repair,
        }

    async def run(self) -> None:
        """Serve until told to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            tasks = []
            for slot in self.slots.values():
                await slot.start()
                stack.push_async_callback(slot.close)
                tasks += [group.create_task(slot.machine.run()), group.create_task(slot.board.chassis.run())]
            control = await asyncio.start_unix_server(self._serve, self.rack.control, limit=REQUEST_BYTES)
            log.info("lab.ready rack=%s machines=%d", self.rack.name, len(self.slots))
            await self._stop.wait()
            control.close()
            await asyncio.gather(*(slot.machine.power_off() for slot in self.slots.values()))
            for task in tasks:
                task.cancel()

    def _slot(self, request: Json) -> Slot:
        return self.slots[self.rack.machine(str(request.get("machine", ""))).identity.name]

    def _status(self, request: Json) -> list[Json]:
        return [slot.status() for slot in self.slots.values()]

    def _power(self, request: Json) -> None:
        chassis = self._slot(request).board.chassis
        verb = Verb(request["verb"])
        if chassis.refuses(verb):
            raise LabError(f"{request['machine']} is off")
        chassis.request(verb)

    def _fault(self, request: Json) -> list[str]:
        board = self._slot(request).board
        board.faults.start(faults.parse(str(request["fault"])), request.get("times"))
        return board.faults.listed()

    def _repair(self, request: Json) -> list[str]:
        board = self._slot(request).board
        if request.get("fault"):
            board.faults.stop(faults.parse(str(request["fault"])))
        else:
            board.faults.clear()
        return board.faults.listed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer, each a line of JSON."""
        with contextlib.suppress(ConnectionError):
            answer = self._answer(await reader.readline())
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    def _answer(self, line: bytes) -> Json:
        try:
            request = json.loads(line)
            return {"ok": self._requests[request["do"]](request)}
        except ProvisionerError as error:
            return {"error": error.message, "hint": error.hint}
        except (ValueError, KeyError, TypeError) as error:
            return {"error": f"not a request: {error!r}", "hint": ""}


def main(arguments: list[str]) -> None:
    """`python -m provisioner.lab.supervisor RECORD`: run the rack that is written down there."""
    logging.basicConfig(level="INFO", stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    rack = specs.decode(Path(arguments[0]).read_text())
    try:
        asyncio.run(Supervisor(rack).run())
    except* (ProvisionerError, OSError) as group:
        raise SystemExit("; ".join(str(error) for error in group.exceptions)) from group


if __name__ == "__main__":
    main(sys.argv[1:])
