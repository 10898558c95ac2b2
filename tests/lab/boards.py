"""Simulated boards for tests: one machine without QEMU behind one board, its chassis at work."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from provisioner.lab.board import Account, Accounts, Board, Network, Role
from provisioner.lab.chassis import Chassis
from provisioner.lab.fake import ALL_TARGETS, FakeMachine
from provisioner.lab.hardware import BootChoice, Firmware, Identity
from provisioner.model.bmc import BootTarget
from provisioner.model.net import Mac

USER, PASSWORD = "admin", "correct-horse-1"
UUID = "00000077-0000-4000-8000-000000000017"


@dataclass
class Rig:
    """A fake machine, its chassis and its board; `boots` lists what each boot tried first."""

    boots: list[BootChoice] = field(default_factory=list)
    lag_s: float = 0.0
    firmware: Firmware = Firmware.UEFI_PXE
    targets: frozenset[BootTarget] = ALL_TARGETS

    def __post_init__(self) -> None:
        identity = Identity("node17", UUID, "LAB0017", (Mac("52:54:00:77:00:17"),), self.firmware)
        self.machine = FakeMachine(identity, lag_s=self.lag_s, booted=self.boots.append)
        self.machine.targets = self.targets
        self.chassis = Chassis(self.machine, clock=lambda: 1_700_000_000.0)
        first = Account(2, USER, PASSWORD, Role.ADMINISTRATOR, enabled=True)
        self.board = Board(self.chassis, Accounts(first), Network("127.0.0.1", "52:54:00:78:00:17"))

    async def settle(self) -> None:
        """Let the chassis carry out what it was asked for."""
        await self.chassis.idle()


@contextlib.asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[Rig]:
    """The rig with its chassis at work."""
    async with asyncio.TaskGroup() as group:
        work = group.create_task(rig.chassis.run())
        yield rig
        work.cancel()
