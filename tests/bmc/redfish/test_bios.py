"""Firmware settings through the settings object and the registry; Secure Boot."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.bmc.redfish.driver import Redfish
from provisioner.errors import BmcProtocolError, BmcUnsupported
from provisioner.model.board import SecureBoot
from tests.bmc.redfish.service import SYSTEM, Service, says

BIOS = f"{SYSTEM}/Bios"
SECURE = f"{SYSTEM}/SecureBoot"
REGISTRY = {
    "RegistryEntries": {
        "Attributes": [
            {"AttributeName": "BootMode", "Type": "Enumeration",
             "Value": [{"ValueName": "Bios"}, {"ValueName": "Uefi"}, "junk"]},
            {"AttributeName": "Cores", "Type": "Integer", "LowerBound": 0, "UpperBound": 8},
            "junk",
        ]
    }
}  # fmt: skip


@pytest.fixture(autouse=True)
def with_bios(board: Service) -> None:
    board.system["Bios"] = {"@odata.id": BIOS}
    board.resources[BIOS] = {
        "Attributes": {"BootMode": "Bios", "Cores": 0},
        "AttributeRegistry": "BiosRegistry.v1_0_0",
        "@Redfish.Settings": {
            "SettingsObject": {"@odata.id": f"{BIOS}/Settings"},
            "SupportedApplyTimes": ["OnReset", "Immediate"],
        },
    }
    board.resources[f"{BIOS}/Settings"] = {"Attributes": {}}
    board.resources["/redfish/v1/"]["Registries"] = {"@odata.id": "/redfish/v1/Registries"}
    board.resources["/redfish/v1/Registries"] = {
        "Members": [{"@odata.id": "/redfish/v1/Registries/Base"}, {"@odata.id": "/redfish/v1/Registries/BiosRegistry"}]
    }
    board.resources["/redfish/v1/Registries/BiosRegistry"] = {"Location": [{"Uri": "/redfish/v1/bios.json"}]}
    board.resources["/redfish/v1/bios.json"] = REGISTRY


async def test_read_change_and_read_again(board: Service, bmc: Redfish) -> None:
    settings = await bmc.bios()
    assert settings.current == {"BootMode": "Bios", "Cores": 0}
    assert settings.pending == {}
    assert settings.registry["BootMode"].choices == ("Bios", "Uefi")
    await bmc.set_bios({"BootMode": "Uefi", "Cores": 0})
    assert board.bodies == [
        {"Attributes": {"BootMode": "Uefi"}, "@Redfish.SettingsApplyTime": {"ApplyTime": "OnReset"}}
    ]
    assert (await bmc.bios()).pending == {"BootMode": "Uefi"}
    await bmc.set_bios({"BootMode": "Uefi"})
    assert len(board.bodies) == 1, "a second run changes nothing"


async def test_what_the_registry_does_not_allow_is_not_sent(board: Service, bmc: Redfish) -> None:
    with pytest.raises(BmcUnsupported, match="Cores: 9 is above 8"):
        await bmc.set_bios({"BootMode": "Uefi", "Cores": 9})
    assert board.bodies == []


async def test_a_change_that_is_taken_and_forgotten(board: Service, bmc: Redfish) -> None:
    board.next(f"PATCH {BIOS}/Settings", says(204))
    with pytest.raises(BmcProtocolError, match="not pending: BootMode"):
        await bmc.set_bios({"BootMode": "Uefi"})


REGISTRIES: dict[str, dict[str, Any]] = {
    "no registries": {"/redfish/v1/": {"Systems": {"@odata.id": "/redfish/v1/Systems"}}},
    "not among them": {"/redfish/v1/Registries": {"Members": []}},
    "in another form": {"/redfish/v1/bios.json": {"RegistryEntries": []}},
    "elsewhere": {"/redfish/v1/Registries/BiosRegistry": {"Location": [{"PublicationUri": "http://192.0.2.1/"}]}},
}


@pytest.mark.parametrize("changes", REGISTRIES.values(), ids=REGISTRIES.keys())
async def test_a_board_without_a_registry_that_we_can_read(
    board: Service, bmc: Redfish, changes: dict[str, Any]
) -> None:
    board.resources |= changes
    assert (await bmc.bios()).registry == {}


async def test_no_bios(board: Service, bmc: Redfish) -> None:
    board.system.pop("Bios")
    with pytest.raises(BmcUnsupported, match="has no Bios"):
        await bmc.bios()


async def test_secure_boot(board: Service, bmc: Redfish) -> None:
    board.system["SecureBoot"] = {"@odata.id": SECURE}
    board.resources[SECURE] = {
        "SecureBootEnable": False,
        "SecureBootCurrentBoot": "Disabled",
        "SecureBootMode": "UserMode",
        "Actions": {
            "#SecureBoot.ResetKeys": {
                "target": f"{SECURE}/Reset",
                "ResetKeysType@Redfish.AllowableValues": ["ResetAllKeysToDefault"],
            }
        },
    }
    board.actions[f"{SECURE}/Reset"] = lambda _: None
    assert await bmc.secure_boot() == SecureBoot(enabled=False, active=False, mode="user")
    await bmc.set_secure_boot(enabled=True)
    assert (await bmc.secure_boot()).enabled
    await bmc.reset_secure_boot_keys()
    assert board.bodies[-1] == {"ResetKeysType": "ResetAllKeysToDefault"}
    action = board.resources[SECURE]["Actions"]["#SecureBoot.ResetKeys"]
    action["ResetKeysType@Redfish.AllowableValues"] = ["DeletePK"]
    with pytest.raises(BmcUnsupported, match="offers only DeletePK"):
        await bmc.reset_secure_boot_keys()
    board.next(f"PATCH {SECURE}", says(204))
    with pytest.raises(BmcProtocolError, match="it is not off"):
        await bmc.set_secure_boot(enabled=False)
