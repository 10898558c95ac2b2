"""A board that is told what to be, and the driver for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from provisioner.bmc.redfish.client import RedfishClient
from provisioner.bmc.redfish.driver import Redfish
from tests.bmc.redfish.service import PASSWORD, Service, serve


@pytest.fixture
async def board(tmp_path: Path) -> AsyncIterator[Service]:
    """A well-behaved service on loopback."""
    served = Service()
    async with serve(served, tmp_path):
        yield served


@pytest.fixture
async def bmc(board: Service) -> AsyncIterator[Redfish]:
    """The driver, logged in as the administrator."""
    made = Redfish(RedfishClient(board.address, PASSWORD))
    yield made
    await made.close()


@pytest.fixture
def service(board: Service) -> Service:
    """The same board, for tests of what is asked of it."""
    return board


@pytest.fixture
async def client(service: Service) -> AsyncIterator[RedfishClient]:
    """A client of it, as the administrator."""
    async with RedfishClient(service.address, PASSWORD) as made:
        yield made
