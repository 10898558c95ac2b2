"""The Redfish driver: against sushy-tools' emulator, and against boards that differ."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from provisioner.bmc.pool import load_quirks
from provisioner.bmc.redfish.client import RedfishClient
from provisioner.bmc.redfish.driver import Redfish
from provisioner.bmc.redfish.way import fingerprint
from provisioner.bmc.verbs import Press
from provisioner.errors import BmcLacking, BmcProtocolError, BmcTimeout, BmcUnsupported, BmcWrongState
from provisioner.model.bmc import BmcAddress, BmcIdentity, BootOverride, BootTarget, Power
from tests.bmc.contract import check_contract
from tests.bmc.redfish.service import (
    PASSWORD,
    RESET,
    SYSTEM,
    Service,
    boot,
    complains,
    does_then,
    hangs_up,
    says,
)

QUIRKS = load_quirks()


@pytest.mark.peer
@pytest.mark.slow  # the emulator takes up to 11 s for each power change
@pytest.mark.timeout(600)
async def test_contract(sushy: BmcAddress) -> None:
    pinned = dataclasses.replace(sushy, fingerprint=await fingerprint(sushy))
    bmc = Redfish(RedfishClient(pinned, "secret"), quirks=QUIRKS)
    await check_contract(bmc, reads_once=False)


@pytest.mark.slow
async def test_a_well_behaved_board_keeps_the_contract(board: Service, bmc: Redfish) -> None:
    board.system["Boot"]["BootSourceOverrideTarget@Redfish.AllowableValues"].remove("UefiHttp")
    await check_contract(bmc)


async def test_identify(bmc: Redfish) -> None:
    assert await bmc.identify() == BmcIdentity(
        uuid="4c4c4544-0042-3310-8052-b7c04f4d3132", vendor="Acme", model="A1", serial="S1", firmware="7.1"
    )


async def test_http_boot_carries_its_uri(board: Service, bmc: Redfish) -> None:
    await bmc.boot_once(BootTarget.HTTP, "http://192.0.2.1/x.efi")
    assert board.bodies == [
        {
            "Boot": {
                "BootSourceOverrideEnabled": "Once",
                "BootSourceOverrideTarget": "UefiHttp",
                "BootSourceOverrideMode": "UEFI",
                "HttpBootUri": "http://192.0.2.1/x.efi",
            }
        }
    ]
    assert await bmc.boot_override() == BootOverride(BootTarget.HTTP, uefi=True, uri="http://192.0.2.1/x.efi")


TARGETS: dict[str, tuple[Any, tuple[BootTarget, ...]]] = {
    "those that mean something to us": (["None", "UefiHttp", "Usb", "Hdd"], ("none", "http", "disk")),
    "a CD that is called otherwise": (["UsbCd"], ()),
    "a board that does not say": (None, ()),
    "a board that says something else": ("Pxe", ()),
}


@pytest.mark.parametrize(("offered", "targets"), TARGETS.values(), ids=TARGETS.keys())
async def test_what_a_board_lists_to_boot_from(
    board: Service, bmc: Redfish, offered: Any, targets: tuple[str, ...]
) -> None:
    board.system["Boot"]["BootSourceOverrideTarget@Redfish.AllowableValues"] = offered
    assert set(await bmc.boot_targets()) == {BootTarget(name) for name in targets}


async def test_what_the_board_does_not_offer_is_not_tried(board: Service, bmc: Redfish) -> None:
    board.system["Boot"]["BootSourceOverrideTarget@Redfish.AllowableValues"] = ["Pxe"]
    with pytest.raises(BmcLacking, match="boots only from Pxe"):
        await bmc.boot_once(BootTarget.CD)
    with pytest.raises(BmcLacking, match="offers only On, ForceOff"):
        await bmc.press(Press.CYCLE)
    with pytest.raises(BmcUnsupported):
        await bmc.press(Press.NMI)
    del board.system["Boot"]["HttpBootUri"]
    board.system["Boot"]["BootSourceOverrideTarget@Redfish.AllowableValues"] = ["UefiHttp"]
    await bmc.power()  # what was read a moment ago counts
    with pytest.raises(BmcUnsupported, match="takes no boot URI"):
        await bmc.boot_once(BootTarget.HTTP, "http://192.0.2.1/")
    assert board.bodies == []


async def test_reset_types_from_action_info(board: Service, bmc: Redfish) -> None:
    action = board.system["Actions"]["#ComputerSystem.Reset"]
    del action["ResetType@Redfish.AllowableValues"]
    action["@Redfish.ActionInfo"] = "/redfish/v1/info"
    board.resources["/redfish/v1/info"] = {
        "Parameters": ["junk", {"Name": "ResetType", "AllowableValues": ["ForceOn", "PowerCycle"]}]
    }
    await bmc.press(Press.ON)
    await bmc.press(Press.CYCLE)
    assert board.bodies == [{"ResetType": "ForceOn"}, {"ResetType": "PowerCycle"}]
    with pytest.raises(BmcUnsupported):
        await bmc.press(Press.OFF)


async def test_a_system_without_a_reset_action(board: Service, bmc: Redfish) -> None:
    board.system["Actions"] = None
    with pytest.raises(BmcLacking, match=r"no action ComputerSystem\.Reset"):
        await bmc.press(Press.ON)


async def test_the_settings_object_is_written_where_there_is_one(board: Service, bmc: Redfish) -> None:
    board.system["@Redfish.Settings"] = {"SettingsObject": {"@odata.id": f"{SYSTEM}/Settings"}}
    board.resources[f"{SYSTEM}/Settings"] = {"Boot": boot()}
    await bmc.boot_once(BootTarget.PXE)
    assert f"PATCH {SYSTEM}/Settings" in board.asked
    assert f"PATCH {SYSTEM}" not in board.asked
    assert (await bmc.boot_override()).target is BootTarget.PXE


async def test_a_settings_object_without_boot_is_not(board: Service, bmc: Redfish) -> None:
    board.system["@Redfish.Settings"] = {"SettingsObject": {"@odata.id": f"{SYSTEM}/Settings"}}
    board.resources[f"{SYSTEM}/Settings"] = {}
    await bmc.boot_once(BootTarget.PXE)
    assert f"PATCH {SYSTEM}" in board.asked


async def test_if_match_is_sent_and_412_read_again(board: Service, bmc: Redfish) -> None:
    board.next(f"PATCH {SYSTEM}", complains(412), complains(428))
    await bmc.boot_once(BootTarget.PXE)
    tags = [headers["If-Match"] for headers in board.headers if "If-Match" in headers]
    assert tags == ['W/"0"', 'W/"0"', '"0"'], "the third try leaves out the mark of a weak tag"


async def test_412_for_ever_is_an_error(board: Service, bmc: Redfish) -> None:
    board.next(f"PATCH {SYSTEM}", *[complains(412)] * 3)
    with pytest.raises(BmcWrongState, match="412"):
        await bmc.boot_once(BootTarget.PXE)


async def test_an_override_that_was_taken_but_does_not_stick_is_an_error(board: Service, bmc: Redfish) -> None:
    board.next(f"PATCH {SYSTEM}", says(204))
    with pytest.raises(BmcProtocolError, match="reads back none"):
        await bmc.boot_once(BootTarget.PXE)


READINGS = {
    "pxe once": (boot(BootSourceOverrideEnabled="Once", BootSourceOverrideTarget="Pxe"), BootTarget.PXE, True),
    "disabled, with a target left over": (boot(BootSourceOverrideTarget="Pxe"), BootTarget.NONE, False),
    "nothing at all": ({}, BootTarget.NONE, False),
    "numbers where text belongs": (
        {"BootSourceOverrideEnabled": 1, "BootSourceOverrideTarget": None},
        BootTarget.NONE,
        False,
    ),
}


@pytest.mark.parametrize(("held", "target", "once"), READINGS.values(), ids=READINGS.keys())
async def test_boot_override(
    board: Service, bmc: Redfish, held: dict[str, Any], target: BootTarget, once: bool
) -> None:
    board.system["Boot"] = held
    got = await bmc.boot_override()
    assert (got.target, got.once) == (target, once)


async def test_a_boot_source_that_we_have_no_word_for(board: Service, bmc: Redfish) -> None:
    board.system["Boot"] = boot(BootSourceOverrideEnabled="Once", BootSourceOverrideTarget="SDCard")
    with pytest.raises(BmcProtocolError, match="SDCard"):
        await bmc.boot_override()


POWER = {"On": Power.ON, "PoweringOff": Power.ON, "Paused": Power.ON, "Off": Power.OFF, "PoweringOn": Power.OFF}


@pytest.mark.parametrize(("state", "power"), POWER.items())
async def test_power(board: Service, bmc: Redfish, state: str, power: Power) -> None:
    board.system["PowerState"] = state
    assert await bmc.power() is power


@pytest.mark.parametrize("state", [1, "", "Melting"])
async def test_a_power_state_that_is_none(board: Service, bmc: Redfish, state: object) -> None:
    board.system["PowerState"] = state
    with pytest.raises(BmcProtocolError, match="PowerState"):
        await bmc.power()


async def test_a_board_that_does_not_say_its_power_for_a_moment_is_waited_for(board: Service, bmc: Redfish) -> None:
    states = [says(body=json.dumps(board.system | {"PowerState": state}).encode()) for state in ("Off", None)]
    board.next(f"GET {SYSTEM}", *states)
    await bmc.set_power(Power.ON)
    assert board.asked.count(f"POST {RESET}") == 1


@pytest.mark.slow
async def test_a_reset_whose_answer_is_lost_is_not_sent_again(board: Service, bmc: Redfish) -> None:
    await bmc.set_power(Power.ON)
    board.bodies.clear()
    board.next(f"POST {RESET}", does_then(board, hangs_up))
    with pytest.raises(BmcTimeout, match="may have been done"):
        await bmc.reset()
    assert board.bodies == [{"ResetType": "ForceRestart"}]


@pytest.mark.slow
async def test_a_power_on_whose_answer_is_lost_is_read_back(board: Service, bmc: Redfish) -> None:
    board.next(f"POST {RESET}", does_then(board, hangs_up))
    await bmc.set_power(Power.ON)
    assert await bmc.power() is Power.ON


SYSTEMS = {
    "named": ("2", "/redfish/v1/Systems/2", ""),
    "not named": ("", "", "the service has 2 systems: 1, 2"),
    "named wrongly": ("9", "", "no system '9'"),
}


@pytest.mark.parametrize(("name", "path", "fault"), SYSTEMS.values(), ids=SYSTEMS.keys())
async def test_one_of_several_systems(board: Service, name: str, path: str, fault: str) -> None:
    other = "/redfish/v1/Systems/2"
    board.resources["/redfish/v1/Systems"] = {"Members": [{"@odata.id": SYSTEM}, {"@odata.id": other}]}
    board.resources[other] = {"PowerState": "On"}
    bmc = Redfish(RedfishClient(dataclasses.replace(board.address, system=name), PASSWORD))
    try:
        if fault:
            with pytest.raises(BmcUnsupported, match=fault) as refused:
                await bmc.power()
            assert bool(name) or refused.value.hint == "name one in the address: redfish://admin@127.0.0.1/ID"
        else:
            assert await bmc.power() is Power.ON
            assert f"GET {path}" in board.asked
    finally:
        await bmc.close()
