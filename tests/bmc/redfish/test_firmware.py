"""Firmware: fetched by the BMC or pushed to it, done when its task is."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from aiohttp import web

from provisioner.bmc.redfish.driver import Redfish
from provisioner.errors import BmcTimeout, BmcUnsupported
from tests.bmc.redfish.service import Service

UPDATE = "/redfish/v1/UpdateService"


@pytest.fixture(autouse=True)
def with_update(board: Service) -> None:
    board.resources["/redfish/v1/"]["UpdateService"] = {"@odata.id": UPDATE}
    board.resources[UPDATE] = {
        "MultipartHttpPushUri": f"{UPDATE}/push",
        "Actions": {
            "#UpdateService.SimpleUpdate": {
                "target": f"{UPDATE}/fetch",
                "TransferProtocol@Redfish.AllowableValues": ["HTTPS"],
            }
        },
    }
    board.actions[f"{UPDATE}/fetch"] = lambda _: None
    board.actions[f"{UPDATE}/push"] = lambda _: web.Response(status=200)


async def test_fetched_by_the_bmc(board: Service, bmc: Redfish) -> None:
    await bmc.update_firmware("https://192.0.2.1/bios.bin")
    assert board.bodies == [{"ImageURI": "https://192.0.2.1/bios.bin", "TransferProtocol": "HTTPS"}]


@pytest.mark.parametrize("version", ["2.30", "2.31"])
async def test_a_bmc_that_restarts_loses_its_task_and_shows_its_version(
    board: Service, bmc: Redfish, version: str
) -> None:
    held = {"Version": "2.30"}
    board.resources[UPDATE]["FirmwareInventory"] = {"@odata.id": f"{UPDATE}/Firmware"}
    board.resources[f"{UPDATE}/Firmware"] = {"Members": [{"@odata.id": f"{UPDATE}/Firmware/BMC"}]}
    board.resources[f"{UPDATE}/Firmware/BMC"] = held

    def install(_body: object) -> web.Response:
        held["Version"] = version
        return web.Response(status=202, headers={"Location": "/redfish/v1/TaskService/Tasks/7"})

    board.actions[f"{UPDATE}/fetch"] = install
    with contextlib.nullcontext() if version == "2.31" else pytest.raises(BmcTimeout, match="nobody confirms it"):
        await bmc.update_firmware("https://192.0.2.1/bmc.bin")


async def test_a_board_that_does_not_show_its_versions_takes_firmware(board: Service, bmc: Redfish) -> None:
    board.resources[UPDATE]["FirmwareInventory"] = {"@odata.id": f"{UPDATE}/NotThere"}
    await bmc.update_firmware("https://192.0.2.1/bios.bin")
    assert len(board.bodies) == 1


@pytest.mark.parametrize("uri", ["http://192.0.2.1/bios.bin", "file:///etc/shadow", "bios.bin"])
async def test_what_the_board_cannot_fetch_is_not_sent(board: Service, bmc: Redfish, uri: str) -> None:
    with pytest.raises(BmcUnsupported, match="the board fetches by HTTPS"):
        await bmc.update_firmware(uri)
    assert board.bodies == []


async def test_pushed(board: Service, bmc: Redfish, tmp_path: Path) -> None:
    file = tmp_path / "bios.bin"
    file.write_bytes(b"firmware")
    await bmc.push_firmware(file)
    assert board.bodies == [{"UpdateParameters": json.dumps({"Targets": []}), "UpdateFile": "firmware"}]


async def test_no_push(board: Service, bmc: Redfish, tmp_path: Path) -> None:
    board.resources[UPDATE].pop("MultipartHttpPushUri")
    with pytest.raises(BmcUnsupported, match="no multipart push"):
        await bmc.push_firmware(tmp_path / "bios.bin")


async def test_switched_off(board: Service, bmc: Redfish) -> None:
    board.resources[UPDATE]["ServiceEnabled"] = False
    with pytest.raises(BmcUnsupported, match="switched off"):
        await bmc.update_firmware("https://192.0.2.1/bios.bin")
