"""Users and network by IPMI, against the lab's board."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from provisioner.bmc.ipmi.driver import Ipmi
from provisioner.bmc.ipmi.link import WorkerLink
from provisioner.bmc.ipmi.messages import Answer, Command, Reply, Request
from provisioner.bmc.ipmi.users import SET_USER_PASSWORD
from provisioner.bmc.verbs import Press
from provisioner.errors import (
    BmcAuthError,
    BmcError,
    BmcPrivilegeError,
    BmcProtocolError,
    BmcUnsupported,
    BmcWrongState,
)
from provisioner.model.bmc import BmcAddress, Driver, Power
from provisioner.model.board import Account, BmcNetwork, Role
from tests.bmc.faults import MemoryLink, SimulatedBoard, Wire
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


class Picky(MemoryLink):
    """A board with rules for passwords: those of more than sixteen octets are cut off, or are refused."""

    def __init__(self, board: SimulatedBoard, *, cuts: bool) -> None:
        super().__init__(board)
        self._cuts = cuts

    async def ask(self, request: Request, timeout_s: float) -> Reply:
        sets = isinstance(request, Command) and (request.command, request.data[1:2]) == (SET_USER_PASSWORD, b"\x02")
        if not sets or not any(request.data[18:]):
            return await super().ask(request, timeout_s)
        if not self._cuts:
            return Answer(request.id, 0xC8, b"")
        return await super().ask(msgspec.structs.replace(request, data=request.data[:18] + bytes(4)), timeout_s)


@pytest.mark.looptime
@pytest.mark.parametrize(("cuts", "kind"), [(False, BmcUnsupported), (True, BmcProtocolError)])
async def test_a_password_that_the_board_does_not_take_leaves_no_user(cuts: bool, kind: type[BmcError]) -> None:
    board = SimulatedBoard(Wire())
    bmc = Ipmi(BmcAddress(Driver.IPMI, "192.0.2.1", 623, "admin"), "p", Picky(board, cuts=cuts))
    with pytest.raises(kind):
        await bmc.create_account("watcher", "x" * 18, Role.OPERATOR)
    assert [(one.name, one.enabled) for one in board.board.accounts if one.name or one.enabled] == [("admin", True)]
    await bmc.create_account("watcher", "x" * 16, Role.OPERATOR)


async def test_network(board: Simulated, bmc: Ipmi) -> None:
    found = await bmc.network()
    assert found.address == board.board.network.address
    assert found.mac == board.board.network.mac
    assert found.prefix == 24
    await bmc.set_network(found)  # nothing differs, nothing is sent
    with pytest.raises(BmcUnsupported, match="use Redfish"):
        await bmc.set_network(BmcNetwork(hostname="bmc17"))
