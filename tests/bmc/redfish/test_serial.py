"""How boards say that their console is reached by SSH."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.bmc.redfish.answers import Resource
from provisioner.bmc.redfish.serial import SshOffer, of_manager, of_system

SYSTEM: dict[str, tuple[dict[str, Any], str, SshOffer | str | None]] = {
    "the console itself, at a port of its own (OpenBMC)": (
        {"SSH": {"ServiceEnabled": True, "Port": 2200, "HotKeySequenceDisplay": "Press ~. to exit console"}},
        "",
        SshOffer(2200),
    ),
    "from the board's shell, by a command that it names (iDRAC 9)": (
        {"SSH": {"Port": 22, "SharedWithManagerCLI": True, "ConsoleEntryCommand": "console com2"}},
        "another",
        SshOffer(22, "console com2"),
    ),
    "from the board's shell, by a command that is known": (
        {"SSH": {"SharedWithManagerCLI": True}},
        "vsp",
        SshOffer(22, "vsp"),
    ),
    "from the board's shell, and nobody knows how": (
        {"SSH": {"SharedWithManagerCLI": True, "ConsoleEntryCommand": None}},
        "",
        "its SSH leads to the BMC's own shell, and it does not say by which command to the console",
    ),
    "switched off": ({"SSH": {"ServiceEnabled": False}}, "", "consoles by SSH are switched off at the BMC"),
    "a port that is none": ({"SSH": {"ServiceEnabled": True, "Port": 70_000}}, "", SshOffer(22)),
    "another way only": ({"IPMI": {"ServiceEnabled": True}}, "", None),
    "nothing": ({}, "", None),
}


@pytest.mark.parametrize(("console", "quirk", "offer"), SYSTEM.values(), ids=SYSTEM.keys())
def test_of_system(console: dict[str, Any], quirk: str, offer: SshOffer | str | None) -> None:
    assert of_system(Resource("/s", {"SerialConsole": console}), quirk) == offer


BOTH: dict[str, Any] = {"ConnectTypesSupported": ["SSH", "IPMI"]}
MANAGER: dict[str, tuple[dict[str, Any], dict[str, Any], str, SshOffer | str]] = {
    "by a command that is known": (BOTH, {"Port": 2022}, "vsp", SshOffer(2022, "vsp")),
    "and nobody knows by which": (BOTH, {}, "", "it offers a console by SSH, and does not say by which command"),
    "switched off": (BOTH | {"ServiceEnabled": False}, {}, "vsp", "consoles by SSH are switched off at the BMC"),
    "SSH is switched off": (BOTH, {"ProtocolEnabled": False}, "vsp", "consoles by SSH are switched off at the BMC"),
    "not offered": ({"ConnectTypesSupported": ["IPMI"]}, {}, "vsp", "the board offers no console by SSH"),
    "nothing": ({}, {}, "", "the board offers no console by SSH"),
}


@pytest.mark.parametrize(("console", "protocol", "quirk", "offer"), MANAGER.values(), ids=MANAGER.keys())
def test_of_manager(console: dict[str, Any], protocol: dict[str, Any], quirk: str, offer: SshOffer | str) -> None:
    manager, protocols = Resource("/m", {"SerialConsole": console}), Resource("/p", {"SSH": protocol})
    assert of_manager(manager, protocols, quirk) == offer
