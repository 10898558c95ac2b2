"""BMCs to talk to, and the way to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from provisioner.bmc.ipmi.link import WorkerLink
from provisioner.model.bmc import BmcAddress, Driver
from tests.bmc.peers import ipmi_sim, sushy_emulator


@pytest.fixture
async def worker() -> AsyncIterator[WorkerLink]:
    """A running IPMI worker."""
    async with WorkerLink() as link:
        yield link


@pytest.fixture
async def openipmi(tmp_path: Path) -> AsyncIterator[BmcAddress]:
    """OpenIPMI's simulator; its machine's files are in `tmp_path`. The password is "test"."""
    async with ipmi_sim(tmp_path) as port:
        yield BmcAddress(Driver.IPMI, "127.0.0.1", port, "ipmiusr")


@pytest.fixture
async def sushy(tmp_path: Path) -> AsyncIterator[BmcAddress]:
    """The emulator of sushy-tools, not pinned yet. The password is "secret"."""
    async with sushy_emulator(tmp_path) as port:
        yield BmcAddress(Driver.REDFISH, "127.0.0.1", port, "admin")
