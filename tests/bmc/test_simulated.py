"""Both drivers against the lab's own boards: the same contract as against everybody else's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from provisioner.bmc.ipmi.driver import Ipmi
from provisioner.bmc.ipmi.link import WorkerLink
from provisioner.bmc.redfish.client import RedfishClient
from provisioner.bmc.redfish.driver import Redfish
from tests.bmc.contract import check_contract
from tests.bmc.simulated import PASSWORD, Simulated, ipmi_address, redfish_address, simulated

pytestmark = pytest.mark.peer


@pytest.fixture
async def board(tmp_path: Path) -> AsyncIterator[Simulated]:
    async with simulated(1, tmp_path) as boards:
        yield boards[0]


@pytest.mark.slow
@pytest.mark.usefixtures("board")
async def test_contract_by_ipmi(worker: WorkerLink) -> None:
    await check_contract(Ipmi(ipmi_address(0), PASSWORD, worker))


@pytest.mark.slow
@pytest.mark.usefixtures("board")
async def test_contract_by_redfish() -> None:
    await check_contract(Redfish(RedfishClient(await redfish_address(0), PASSWORD)), http_boot=True)
