"""Simulated BMCs of the lab on loopback, any number in one process. `python -m tests.bmc.simulated COUNT DIRECTORY`.

Each board has an address of its own on loopback, in a network that only this process and its children use: tests run
beside each other. It speaks IPMI on UDP 6230 and Redfish on TCP 4430 there.
As a program it prints one line when all of them listen, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

from provisioner.bmc.redfish.way import fingerprint
from provisioner.lab.board import Account, Accounts, Board, Network, Role
from provisioner.lab.chassis import Chassis
from provisioner.lab.fake import FakeMachine
from provisioner.lab.hardware import Identity
from provisioner.lab.ipmi.server import IpmiServer
from provisioner.lab.redfish.server import RedfishServer
from provisioner.lab.ssh import SshServer, host_key
from provisioner.lab.tls import server_context, shown
from provisioner.model.bmc import BmcAddress, Driver
from provisioner.model.net import Mac

USER, PASSWORD = "admin", "simulated pass"
IPMI_PORT, REDFISH_PORT, SSH_PORT = 6230, 4430, 2200
NETS = 200
CLAIM_PORT = 4431


def claim_net() -> str:
    """Take a network of loopback that no other run of the tests has; it is held as long as this process lives."""
    for at in range(NETS):
        net = f"127.{44 + (os.getpid() + at) % NETS}"
        claim = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with contextlib.suppress(OSError):
            claim.bind((f"{net}.255.254", CLAIM_PORT))
            claim.detach()  # the descriptor stays open
            return net
        claim.close()
    raise OSError(f"{NETS} runs of the tests hold all networks of loopback")


_KEY = f"SIMULATED_NET_{os.environ.get('PYTEST_XDIST_WORKER', '')}"
NET = os.environ.get(_KEY) or os.environ.setdefault(_KEY, claim_net())


def host(number: int) -> str:
    """Return the loopback address of the board with this number."""
    return f"{NET}.{number // 250}.{number % 250 + 1}"


def hole(number: int) -> str:
    """Return a loopback address beside the boards', where nobody is."""
    return f"{NET}.{128 + number // 250}.{number % 250 + 1}"


class Simulated:
    """One board with a machine that has no guest."""

    def __init__(self, number: int, *, lag_s: float = 0.0) -> None:
        identity = Identity(
            name=f"sim{number}",
            uuid=str(uuid.UUID(int=number + 1, version=4)),
            serial=f"SIM{number:06}",
            macs=(Mac(f"52:54:42:00:{number // 256:02x}:{number % 256:02x}"),),
        )
        self.machine = FakeMachine(identity, lag_s=lag_s)
        first = Account(2, USER, PASSWORD, Role.ADMINISTRATOR, enabled=True)
        network = Network(host(number), f"52:54:43:00:{number // 256:02x}:{number % 256:02x}")
        self.board = Board(Chassis(self.machine), Accounts(first), network)
        self.ipmi, self.redfish = IpmiServer(self.board), RedfishServer(self.board)
        self.ssh = SshServer(self.board)


@contextlib.asynccontextmanager
async def simulated(
    count: int, root: Path, *, first: int = 0, lag_s: float = 0.0, ssh: bool = False
) -> AsyncIterator[list[Simulated]]:
    """Run boards `first` to `first + count - 1`; with `ssh`, they have consoles there."""
    context = await asyncio.to_thread(server_context, root / "bmc.pem", "sim", "127.0.0.1")
    certificate = await asyncio.to_thread(shown, root / "bmc.pem")
    boards = [Simulated(number, lag_s=lag_s) for number in range(first, first + count)]
    async with asyncio.TaskGroup() as tasks:
        running = []
        for number, board in enumerate(boards, first):
            await board.ipmi.start(host(number), IPMI_PORT)
            await board.redfish.start(host(number), REDFISH_PORT, context, certificate)
            if ssh:
                await board.ssh.start(host(number), SSH_PORT, await asyncio.to_thread(host_key, root / "host_key"))
            running.append(tasks.create_task(board.board.chassis.run()))
        try:
            yield boards
        finally:
            for task in running:
                task.cancel()
            for board in boards:
                board.ipmi.close()
                await board.ssh.close()
                await board.redfish.close()


def ipmi_address(number: int) -> BmcAddress:
    """Return the board's address for the IPMI driver."""
    return BmcAddress(Driver.IPMI, host(number), IPMI_PORT, USER)


async def redfish_address(number: int) -> BmcAddress:
    """Return the board's address for the Redfish driver, with its certificate pinned."""
    plain = BmcAddress(Driver.REDFISH, host(number), REDFISH_PORT, USER)
    return BmcAddress(Driver.REDFISH, plain.host, plain.port, USER, await fingerprint(plain))


async def main(count: int, root: Path) -> None:
    """Run until standard input ends."""
    async with simulated(count, root):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
