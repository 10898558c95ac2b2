"""The Boot object as boards want it: the mode kept or left out, the CD by its name, and what differs by vendor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from provisioner.bmc.pool import load_quirks
from provisioner.bmc.redfish.boot import TARGETS, boot_body
from provisioner.bmc.redfish.client import RedfishClient
from provisioner.bmc.redfish.driver import Redfish
from provisioner.errors import BmcProtocolError, BmcUnsupported
from provisioner.model.bmc import BootOverride, BootTarget
from tests.bmc.redfish.service import PASSWORD, SYSTEM, Service, boot, complains, problem, says

OLD, NEW = "http://192.0.2.9/old.efi", "http://192.0.2.1/new.efi"
HTTP = {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "UefiHttp", "BootSourceOverrideMode": "UEFI"}

BODIES: dict[str, tuple[dict[str, Any], BootOverride, dict[str, str | None]]] = {
    "the mode is kept": (
        boot(BootSourceOverrideMode="Legacy"),
        BootOverride(BootTarget.PXE),
        {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe", "BootSourceOverrideMode": "Legacy"},
    ),
    "the mode is asked for": (
        boot(BootSourceOverrideMode="Legacy"),
        BootOverride(BootTarget.DISK, once=False, uefi=True),
        {
            "BootSourceOverrideEnabled": "Continuous",
            "BootSourceOverrideTarget": "Hdd",
            "BootSourceOverrideMode": "UEFI",
        },
    ),
    "a board without modes is not given one": (
        {},
        BootOverride(BootTarget.PXE),
        {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe"},
    ),
    "a URI is given": (boot(HttpBootUri=OLD), BootOverride(BootTarget.HTTP, uri=NEW), {**HTTP, "HttpBootUri": NEW}),
    "that of an earlier boot is taken away": (
        boot(HttpBootUri=OLD),
        BootOverride(BootTarget.HTTP),
        {**HTTP, "HttpBootUri": None},
    ),
    "a board that holds none is told of none": (boot(), BootOverride(BootTarget.HTTP), HTTP),
    "that of an earlier boot means nothing to PXE": (
        boot(HttpBootUri=OLD),
        BootOverride(BootTarget.PXE),
        {**HTTP, "BootSourceOverrideTarget": "Pxe"},
    ),
    "no override": (
        boot(),
        BootOverride(BootTarget.NONE),
        {"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None"},
    ),
}


@pytest.mark.parametrize(("held", "wanted", "body"), BODIES.values(), ids=BODIES.keys())
def test_boot_body(held: dict[str, Any], wanted: BootOverride, body: dict[str, str | None]) -> None:
    assert boot_body(held, wanted, TARGETS[wanted.target]) == body


QUIRKS = load_quirks()


async def test_the_uri_of_an_earlier_boot(board: Service, bmc: Redfish) -> None:
    await bmc.boot_once(BootTarget.HTTP, OLD)
    await bmc.boot_once(BootTarget.HTTP)
    assert board.system["Boot"]["HttpBootUri"] is None
    board.system["Boot"]["HttpBootUri"] = OLD
    board.next(f"PATCH {SYSTEM}", says(200, b"{}"))
    board.system["Boot"] |= HTTP
    with pytest.raises(BmcProtocolError, match=rf"reads back http {OLD} \(once\)"):
        await bmc.boot_once(BootTarget.HTTP)


@pytest.fixture
async def known(board: Service) -> AsyncIterator[Redfish]:
    """The driver with the table of quirks that comes with it."""
    made = Redfish(RedfishClient(board.address, PASSWORD), quirks=QUIRKS)
    yield made
    await made.close()


async def refuses_mode(request: web.Request) -> web.StreamResponse:
    """Refuse a change that names the mode."""
    assert "BootSourceOverrideMode" in await request.text()
    return problem(400, "Base.1.8.PropertyNotWritable", "BootSourceOverrideMode is read-only.")


@pytest.mark.parametrize("vendor", ["HPE", "Cisco Systems Inc.", "Acme"])
async def test_a_mode_that_may_not_be_written(board: Service, known: Redfish, vendor: str) -> None:
    """It is left out where that is known, and where the board says so; never where it was to be changed."""
    board.system["Manufacturer"] = vendor
    if vendor == "Acme":
        board.next(f"PATCH {SYSTEM}", refuses_mode)
    await known.boot_once(BootTarget.PXE)
    assert board.bodies == [{"Boot": {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe"}}]
    board.next(f"PATCH {SYSTEM}", refuses_mode)
    with pytest.raises(BmcUnsupported, match="read-only"):
        await known.boot_once(BootTarget.PXE, uefi=True)


async def test_a_refusal_for_another_reason_is_said(board: Service, known: Redfish) -> None:
    board.next(f"PATCH {SYSTEM}", complains(400, message="First."), complains(400, message="Second."))
    with pytest.raises(BmcUnsupported, match="Second"):
        await known.boot_once(BootTarget.PXE)


CDS: dict[str, tuple[list[str] | None, str]] = {
    "both": (["Pxe", "Cd", "UsbCd"], "UsbCd"),
    "firmware that has no USB drive": (["Pxe", "Cd"], "Cd"),
    "firmware that does not say": (None, "UsbCd"),
}


@pytest.mark.parametrize(("offered", "name"), CDS.values(), ids=CDS.keys())
async def test_a_board_that_calls_virtual_media_otherwise(
    board: Service, known: Redfish, offered: list[str] | None, name: str
) -> None:
    board.system["Manufacturer"] = "Supermicro"
    board.system["Boot"]["BootSourceOverrideTarget@Redfish.AllowableValues"] = offered
    assert (BootTarget.CD in await known.boot_targets()) is bool(offered)
    await known.boot_once(BootTarget.CD)
    assert board.bodies[0]["Boot"]["BootSourceOverrideTarget"] == name
    assert (await known.boot_override()).target is BootTarget.CD


async def test_a_board_whose_virtual_cd_is_chosen_elsewhere(board: Service, known: Redfish) -> None:
    board.system["Manufacturer"] = "Dell Inc."
    board.system["Boot"]["BootSourceOverrideTarget@Redfish.AllowableValues"] = ["Pxe"]
    board.resources["/redfish/v1/Managers/1/Attributes"] = {"Attributes": {"ServerBoot.1.BootOnce": "Disabled"}}
    assert set(await known.boot_targets()) == {BootTarget.PXE, BootTarget.CD}
    await known.boot_once(BootTarget.CD)
    attributes = board.resources["/redfish/v1/Managers/1/Attributes"]["Attributes"]
    assert attributes == {"ServerBoot.1.BootOnce": "Enabled", "ServerBoot.1.FirstBootDevice": "VCD-DVD"}
    with pytest.raises(BmcUnsupported, match="once only"):
        await known.boot_always(BootTarget.CD)
    board.resources["/redfish/v1/Managers/1/Attributes"]["Attributes"] = {}
    board.next("PATCH /redfish/v1/Managers/1/Attributes", says(200, b"{}"))
    with pytest.raises(BmcProtocolError, match="as they were"):
        await known.boot_once(BootTarget.CD)
