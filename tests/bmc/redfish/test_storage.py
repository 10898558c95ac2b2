"""Volumes and drives: what is made is seen, what is deleted is gone, and a drive in use is not erased."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from aiohttp import web

from provisioner.bmc.redfish.driver import Redfish
from provisioner.errors import BmcError, BmcProtocolError, BmcTimeout, BmcUnsupported, BmcWrongState
from provisioner.model.board import Volume
from tests.bmc.redfish.service import SYSTEM, Service, complains, does_then, hangs_up

STORAGE = f"{SYSTEM}/Storage"
RAID = f"{STORAGE}/RAID"
VOLUMES = f"{RAID}/Volumes"


@pytest.fixture(autouse=True)
def with_storage(board: Service) -> None:
    board.system["Storage"] = {"@odata.id": STORAGE}
    board.resources[STORAGE] = {"Members": [{"@odata.id": RAID}]}
    drives = [f"{RAID}/Drives/D{number}" for number in (1, 2, 3)]
    board.resources[RAID] = {
        "Drives": [{"@odata.id": path} for path in drives],
        "Volumes": {"@odata.id": VOLUMES},
    }
    board.resources[VOLUMES] = {"Members": []}
    for path in drives:
        board.resources[path] = {"Actions": {"#Drive.SecureErase": {"target": f"{path}/Erase"}}}

    def make(body: dict[str, Any]) -> web.Response:
        path = f"{VOLUMES}/V{len(board.bodies)}"
        board.resources[path] = {"Name": body.get("Name", ""), "RAIDType": body["RAIDType"], "Links": body["Links"]}
        board.resources[VOLUMES]["Members"].append({"@odata.id": path})
        board.actions[path] = drop
        return web.json_response({}, status=201)

    def drop(_body: object) -> None:
        board.resources[VOLUMES]["Members"].pop()

    board.actions[VOLUMES] = make


async def test_make_see_and_delete(board: Service, bmc: Redfish) -> None:
    await bmc.create_volume("RAID1", ("D1", "D2"), "system")
    assert await bmc.volumes() == (Volume("RAID/V1", "system", "RAID1", 0, ("D1", "D2")),)
    with pytest.raises(BmcWrongState, match="drive D1 is part of volume RAID/V1"):
        await bmc.erase_drive("D1")
    await bmc.delete_volume("V1")
    await bmc.delete_volume("V1")  # gone already is success
    assert await bmc.volumes() == ()


@pytest.fixture
def with_a_twin(board: Service) -> list[str]:
    """A second controller, whose volume and drive are called as the first one's; returns what is deleted, erased."""
    done: list[str] = []
    board.resources[STORAGE]["Members"].append({"@odata.id": f"{STORAGE}/BOSS"})
    for holder in (RAID, f"{STORAGE}/BOSS"):
        drive, volume = f"{holder}/Drives/0", f"{holder}/Volumes/1"
        board.resources[holder] = {"Drives": [{"@odata.id": drive}], "Volumes": {"@odata.id": f"{holder}/Volumes"}}
        board.resources[f"{holder}/Volumes"] = {"Members": [{"@odata.id": volume}]}
        board.resources[volume] = {"RAIDType": "RAID0", "Links": {"Drives": []}}
        board.resources[drive] = {"Actions": {"#Drive.SecureErase": {"target": f"{drive}/Erase"}}}

        def act(_body: object, what: str, members: list[Any] | None = None) -> None:
            done.append(what)
            if members is not None:
                members.clear()

        board.actions[f"{drive}/Erase"] = partial(act, what=drive)
        board.actions[volume] = partial(act, what=volume, members=board.resources[f"{holder}/Volumes"]["Members"])
    return done


NAMES = {"with its controller": "BOSS", "by its path": f"{STORAGE}/BOSS"}


@pytest.mark.parametrize("controller", NAMES.values(), ids=NAMES.keys())
async def test_a_name_that_two_controllers_have(bmc: Redfish, with_a_twin: list[str], controller: str) -> None:
    boss = f"{STORAGE}/BOSS"
    with pytest.raises(BmcWrongState, match=f"volume 1 may be {RAID}/Volumes/1 or {boss}/Volumes/1"):
        await bmc.delete_volume("1")
    with pytest.raises(BmcWrongState, match=f"drive 0 may be {RAID}/Drives/0 or {boss}/Drives/0"):
        await bmc.erase_drive("0")
    with pytest.raises(BmcWrongState, match="drive 0 may be"):
        await bmc.create_volume("RAID0", ("0",))
    assert with_a_twin == []
    assert [volume.id for volume in await bmc.volumes()] == ["RAID/1", "BOSS/1"]
    by_path = controller.startswith("/")
    await bmc.delete_volume(f"{controller}/Volumes/1" if by_path else f"{controller}/1")
    await bmc.erase_drive(f"{controller}/Drives/0" if by_path else f"{controller}/0")
    assert with_a_twin == [f"{boss}/Volumes/1", f"{boss}/Drives/0"]


@pytest.mark.parametrize("path", [f"{RAID}/Volumes/1", RAID], ids=["a volume", "a controller"])
async def test_what_cannot_be_read_may_hold_the_drive(
    board: Service, bmc: Redfish, with_a_twin: list[str], path: str
) -> None:
    board.next(f"GET {path}", complains(404))
    board.next(f"GET {path}/", complains(404))
    with pytest.raises(BmcUnsupported, match=f"GET {path}: HTTP 404"):
        await bmc.erase_drive("BOSS/0")
    assert with_a_twin == []


async def test_a_volume_whose_deletion_was_not_answered(board: Service, bmc: Redfish) -> None:
    await bmc.create_volume("RAID1", ("D1", "D2"))
    board.next(f"DELETE {VOLUMES}/V1", does_then(board, hangs_up), complains(404))
    await bmc.delete_volume("V1")
    assert board.asked.count(f"DELETE {VOLUMES}/V1") == 2


async def test_drives_that_are_not_there(bmc: Redfish) -> None:
    with pytest.raises(BmcWrongState, match="no controller has the drives D1, D9"):
        await bmc.create_volume("RAID1", ("D1", "D9"))
    with pytest.raises(BmcUnsupported, match="no drive was named"):
        await bmc.create_volume("RAID1", ())


async def test_erase(board: Service, bmc: Redfish) -> None:
    drive = f"{RAID}/Drives/D3"
    erased: list[object] = []
    board.actions[f"{drive}/Erase"] = erased.append
    await bmc.erase_drive("D3")
    assert len(erased) == 1
    board.resources[drive]["Status"] = {"Health": "Critical"}
    with pytest.raises(BmcProtocolError, match="the drive failed"):
        await bmc.erase_drive("D3")


MONITOR = "/redfish/v1/TaskService/TaskMonitors/7"
ENDS = {
    "it refused": (web.Response(status=400, text="The drive refused the erase"), BmcError, "refused the erase"),
    "its BMC restarted": (web.Response(status=404), BmcTimeout, "nobody confirms it"),
}


@pytest.mark.parametrize(("answer", "kind", "words"), ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize("status", [200, 202])
async def test_an_erase_that_did_not_end_well(
    board: Service, bmc: Redfish, status: int, answer: web.Response, kind: type[BmcError], words: str
) -> None:
    async def says(_request: web.Request) -> web.Response:
        return web.Response(status=answer.status, text=answer.text)

    started = web.Response(status=status, headers={"Location": MONITOR})
    board.actions[f"{RAID}/Drives/D3/Erase"] = lambda _: started
    board.next(f"GET {MONITOR}", says)
    board.next(f"GET {MONITOR}/", says)
    with pytest.raises(kind, match=words):
        await bmc.erase_drive("D3")


async def test_a_drive_that_cannot_erase_itself(board: Service, bmc: Redfish) -> None:
    board.resources[f"{RAID}/Drives/D3"] = {}
    with pytest.raises(BmcUnsupported, match=r"no action Drive\.SecureErase"):
        await bmc.erase_drive("D3")


async def test_no_storage(board: Service, bmc: Redfish) -> None:
    board.system.pop("Storage")
    with pytest.raises(BmcUnsupported, match="names no storage"):
        await bmc.volumes()
