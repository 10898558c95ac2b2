"""Accounts: made, changed, proven by logging in, ended; on boards that make them and on boards that have slots."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from provisioner.bmc.redfish.client import RedfishClient
from provisioner.bmc.redfish.driver import Redfish
from provisioner.errors import BmcProtocolError, BmcUnsupported, BmcWrongState
from provisioner.model.bmc import Power
from provisioner.model.board import Account, Role
from tests.bmc.redfish.service import PASSWORD, USER, Service, complains, says

ACCOUNTS = "/redfish/v1/AccountService/Accounts"


def account(number: int, name: str, role: str = "Administrator") -> dict[str, Any]:
    return {"Id": str(number), "UserName": name, "RoleId": role, "Enabled": bool(name)}


@pytest.fixture(autouse=True)
def with_accounts(board: Service) -> None:
    """Give the board users that can log in, and let it make new ones."""
    board.resources["/redfish/v1/"]["AccountService"] = {"@odata.id": "/redfish/v1/AccountService"}
    board.resources["/redfish/v1/AccountService"] = {"Accounts": {"@odata.id": ACCOUNTS}}
    board.resources[ACCOUNTS] = {"Members": []}
    put(board, account(1, ""))
    put(board, account(2, USER))

    def make(body: dict[str, Any]) -> web.Response:
        put(board, account(len(board.resources[ACCOUNTS]["Members"]) + 1, body["UserName"], body["RoleId"]))
        board.passwords[body["UserName"]] = body["Password"]
        return web.json_response({}, status=201)

    board.actions[ACCOUNTS] = make


def put(board: Service, held: dict[str, Any]) -> None:
    path = f"{ACCOUNTS}/{held['Id']}"
    board.resources[path] = held
    board.resources[ACCOUNTS]["Members"].append({"@odata.id": path})

    def drop(_body: object) -> None:
        del board.resources[path]
        board.resources[ACCOUNTS]["Members"].remove({"@odata.id": path})

    board.actions[path] = drop


async def test_make_shut_out_and_delete(board: Service, bmc: Redfish) -> None:
    await bmc.create_account("watcher", "a long password", Role.READ_ONLY)
    assert Account("3", "watcher", Role.READ_ONLY, enabled=True) in await bmc.accounts()
    assert len(board.sessions) == 1, "the visitor that proved it has left"
    await bmc.enable_account("watcher", enabled=False)
    assert Account("3", "watcher", Role.READ_ONLY, enabled=False) in await bmc.accounts()
    await bmc.delete_account("watcher")
    await bmc.delete_account("watcher")  # gone already is success
    assert [one.name for one in await bmc.accounts()] == [USER]


async def test_an_account_that_exists_is_not_made_again(bmc: Redfish) -> None:
    with pytest.raises(BmcWrongState, match="exists"):
        await bmc.create_account(USER, "x" * 16, Role.OPERATOR)


async def test_a_board_with_slots(board: Service, bmc: Redfish) -> None:
    put(board, account(3, ""))
    board.passwords["watcher"] = "a long password"
    board.next(f"POST {ACCOUNTS}", complains(405))
    await bmc.create_account("watcher", "a long password", Role.OPERATOR)
    assert board.resources[f"{ACCOUNTS}/3"]["UserName"] == "watcher"
    assert board.resources[f"{ACCOUNTS}/1"]["UserName"] == "", "the first slot is reserved"
    board.next(f"DELETE {ACCOUNTS}/3", complains(405))
    await bmc.delete_account("watcher")
    assert board.resources[f"{ACCOUNTS}/3"]["UserName"] == ""


async def test_no_slot_is_free(board: Service, bmc: Redfish) -> None:
    board.next(f"POST {ACCOUNTS}", complains(405))
    with pytest.raises(BmcUnsupported, match="no slot is free"):
        await bmc.create_account("watcher", "x" * 16, Role.OPERATOR)


async def test_our_own_password_is_rotated_and_used_from_then_on(board: Service, bmc: Redfish) -> None:
    assert await bmc.power() is Power.OFF

    async def change(request: web.Request) -> web.StreamResponse:
        board.passwords[USER] = (await request.json())["Password"]
        board.sessions.clear()
        return web.Response(status=204)

    board.next(f"PATCH {ACCOUNTS}/2", change)
    await bmc.set_password(USER, "another password")
    assert await bmc.power() is Power.OFF
    assert PASSWORD != "another password"


async def test_a_password_that_is_the_name_of_its_user_is_rotated_too(board: Service) -> None:
    board.passwords[USER] = USER

    async def change(request: web.Request) -> web.StreamResponse:
        board.passwords[USER] = (await request.json())["Password"]
        return web.Response(status=204)

    board.next(f"PATCH {ACCOUNTS}/2", change)
    async with RedfishClient(board.address, USER) as client:
        bmc = Redfish(client)
        assert [one.name for one in await bmc.accounts()] == [USER]
        await bmc.set_password(USER, "a long password")
    assert board.passwords[USER] == "a long password"


async def test_a_password_that_is_taken_but_does_not_work(board: Service, bmc: Redfish) -> None:
    board.next(f"PATCH {ACCOUNTS}/2", says(204))
    with pytest.raises(BmcProtocolError, match="cannot log in with it") as caught:
        await bmc.set_password(USER, "another password")
    assert "another password" not in str(caught.value)


async def test_we_do_not_shut_ourselves_out(bmc: Redfish) -> None:
    with pytest.raises(BmcWrongState, match="the account that we use ourselves"):
        await bmc.enable_account(USER, enabled=False)
    with pytest.raises(BmcWrongState, match="the account that we use ourselves"):
        await bmc.delete_account(USER)


async def test_what_does_not_stick(board: Service, bmc: Redfish) -> None:
    put(board, account(3, "watcher"))
    board.next(f"PATCH {ACCOUNTS}/3", says(204))
    with pytest.raises(BmcProtocolError, match="is as it was"):
        await bmc.enable_account("watcher", enabled=False)
    board.next(f"DELETE {ACCOUNTS}/3", says(204))
    with pytest.raises(BmcProtocolError, match="is still there"):
        await bmc.delete_account("watcher")
    with pytest.raises(BmcWrongState, match="no account 'nobody'"):
        await bmc.set_password("nobody", "x")
