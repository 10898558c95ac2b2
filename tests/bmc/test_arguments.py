"""What people give with a verb is checked against the method that takes it."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.bmc.arguments import NOT_HERE, arguments, parameters, plain
from provisioner.bmc.table import VERBS
from provisioner.errors import WireError
from provisioner.model.bmc import BmcIdentity, Power
from provisioner.model.board import BmcNetwork, Led, Role, Sensor, TimeSync

READ: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "nothing to give": ("power.on", {}, {}),
    "a choice": ("led.set", {"wanted": "blinking"}, {"wanted": Led.BLINKING}),
    "a text": ("vmedia.insert", {"uri": "https://192.0.2.1/x.iso"}, {"uri": "https://192.0.2.1/x.iso"}),
    "what may be left out": ("boot.once.http", {"uri": "http://x/", "uefi": True}, {"uri": "http://x/", "uefi": True}),
    "a value of several parts": ("network.set", {"wanted": {"vlan": 7}}, {"wanted": BmcNetwork(vlan=7)}),
    "a list": (
        "ntp.set",
        {"wanted": {"enabled": True, "servers": ["192.0.2.1"]}},
        {"wanted": TimeSync(True, ("192.0.2.1",))},
    ),
    "a table": (
        "bios.apply",
        {"wanted": {"BootMode": "Uefi", "Cores": 4}},
        {"wanted": {"BootMode": "Uefi", "Cores": 4}},
    ),
    "several": (
        "accounts.create",
        {"name": "watcher", "password": "p", "role": "read-only"},
        {"name": "watcher", "password": "p", "role": Role.READ_ONLY},
    ),
}


@pytest.mark.parametrize(("verb", "given", "read"), READ.values(), ids=READ.keys())
def test_arguments(verb: str, given: dict[str, Any], read: dict[str, Any]) -> None:
    assert arguments(verb, given) == read


WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "no such verb": ("power.explode", {}, "no verb 'power.explode'"),
    "a verb with a way of its own": ("console.open", {}, "no verb"),
    "missing": ("vmedia.insert", {}, "uri: missing"),
    "too much": ("power.on", {"wanted": "off"}, "wanted: unknown"),
    "no such choice": ("led.set", {"wanted": "pink"}, "wanted: Invalid enum value 'pink'"),
    "of the wrong kind": ("secureboot.set", {"enabled": "yes"}, "enabled: Expected `bool`"),
    "two faults at once": ("accounts.create", {"name": 1, "role": "king"}, "password: missing"),
}


@pytest.mark.parametrize(("verb", "given", "fault"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong(verb: str, given: dict[str, Any], fault: str) -> None:
    with pytest.raises(WireError) as caught:
        arguments(verb, given)
    assert fault in caught.value.message


def test_every_verb_has_its_method() -> None:
    assert all(isinstance(parameters(verb), dict) for name, verb in VERBS.items() if name not in NOT_HERE)


def test_plain() -> None:
    assert plain(Power.ON) == "on"
    assert plain((Sensor("Inlet", 21.0, "C"),))[0]["value"] == 21.0
    assert plain(BmcIdentity(vendor="Acme"))["vendor"] == "Acme"
    assert plain(None) is None
