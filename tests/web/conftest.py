"""Both applications, served for real: the API on a UNIX socket, the machine side on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from provisioner.web.api import Api
from provisioner.web.app import machine_app, operator_app
from provisioner.web.machines import MachineSide
from provisioner.web.server import Server
from tests.web.dhcp import Desk
from tests.web.fakes import FakeConductor, site


@pytest.fixture
def conductor() -> FakeConductor:
    return FakeConductor()


@pytest.fixture
async def api(conductor: FakeConductor, tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    server = Server(operator_app(Api(site(conductor)).routes()))
    await server.listen_unix(tmp_path / "api.sock")
    connector = aiohttp.UnixConnector(str(tmp_path / "api.sock"))
    async with aiohttp.ClientSession("http://localhost", connector=connector) as session:
        yield session
    await server.close()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    found = await Desk(tmp_path).open()
    yield found
    await found.close()


@pytest.fixture
async def boot(conductor: FakeConductor) -> AsyncIterator[aiohttp.ClientSession]:
    server = Server(machine_app(MachineSide(conductor).routes()))
    port = await server.listen_tcp("127.0.0.1", 0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        yield session
    await server.close()
