"""Users and network by IPMI, against the lab's board."""

from __future__ import annotations

import dataclasses

import pytest

from provisioner.bmc.ipmi.driver import Ipmi
from provisioner.bmc.ipmi.link import WorkerLink
from provisioner.bmc.verbs import Press
from provisioner.errors import BmcAuthError, BmcPrivilegeError, BmcUnsupported, BmcWrongState
from provisioner.model.bmc import Power
from provisioner.model.board import Account, BmcNetwork, Role
from tests.bmc.simulated import PASSWORD, USER, Simulated

pytestmark = pytest.mark.peer


async def test_make_use_shut_out_and_delete(bmc: Ipmi, worker: WorkerLink) -> None:
    await bmc.create_account("watcher", "a long password", Role.READ_ONLY)
    assert Account("3", "watcher", Role.READ_ONLY, enabled=True) in await bmc.accounts()
    watcher = Ipmi(dataclasses.replace(bmc.address, username="watcher"), "a long password", worker)
    assert await watcher.power() is Power.OFF
    with pytest.raises(BmcPrivilegeError):
        await watcher.press(Press.ON)
    await watcher.close()
    await bmc.enable_account("watcher", enabled=False)
    with pytest.raises(BmcAuthError):
        await watcher.power()
    await bmc.delete_account("watcher")
    await bmc.delete_account("watcher")
    assert [one.name for one in await bmc.accounts()] == [USER]


async def test_our_own_password_is_rotated(bmc: Ipmi, worker: WorkerLink) -> None:
    await bmc.set_password(USER, "another password")
    assert await bmc.power() is Power.OFF
    with pytest.raises(BmcAuthError):
        await Ipmi(bmc.address, PASSWORD, worker).power()


async def test_what_is_refused(bmc: Ipmi) -> None:
    with pytest.raises(BmcWrongState, match="exists"):
        await bmc.create_account(USER, "x", Role.OPERATOR)
    with pytest.raises(BmcWrongState, match="we use ourselves"):
        await bmc.delete_account(USER)
    with pytest.raises(BmcWrongState, match="no account 'nobody'"):
        await bmc.set_password("nobody", "x")
    with pytest.raises(BmcUnsupported, match="IPMI keeps 20"):
        await bmc.create_account("watcher", "x" * 21, Role.OPERATOR)
    with pytest.raises(BmcUnsupported, match="longer than the 16"):
        await bmc.create_account("w" * 17, "x", Role.OPERATOR)
    assert [one.name for one in await bmc.accounts()] == [USER]


async def test_network(board: Simulated, bmc: Ipmi) -> None:
    found = await bmc.network()
    assert found.address == board.board.network.address
    assert found.mac == board.board.network.mac
    assert found.prefix == 24
    await bmc.set_network(found)  # nothing differs, nothing is sent
    with pytest.raises(BmcUnsupported, match="use Redfish"):
        await bmc.set_network(BmcNetwork(hostname="bmc17"))
