"""A simulated board of the lab's, and the driver for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from provisioner.bmc.ipmi.driver import Ipmi
from provisioner.bmc.ipmi.link import WorkerLink
from tests.bmc.simulated import PASSWORD, Simulated, ipmi_address, simulated

NUMBER = 100


@pytest.fixture
async def board(tmp_path: Path) -> AsyncIterator[Simulated]:
    """One board, listening."""
    async with simulated(1, tmp_path, first=NUMBER) as boards:
        yield boards[0]


@pytest.fixture
def bmc(board: Simulated, worker: WorkerLink) -> Ipmi:
    """The driver, as the administrator."""
    return Ipmi(ipmi_address(NUMBER), PASSWORD, worker)
