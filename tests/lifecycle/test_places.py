"""Which address a machine's parameters fix for the port that it starts by."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.lifecycle.places import static_place
from provisioner.model.boot import Place
from provisioner.model.facts import Nic
from provisioner.model.net import Mac

BOOT, OTHER = Mac("52:54:00:00:00:11"), Mac("52:54:00:00:00:12")
NICS = (Nic("eth0", BOOT), Nic("eth1", OTHER))
ADDRESS = {"addresses": ["fd00::17/64", "10.0.8.17/22"], "gateway": "10.0.8.1"}

CASES: dict[str, tuple[dict[str, Any], Place | None]] = {
    "an address for the port that boots": (
        {"interfaces": [{"match": {"boot": True}, **ADDRESS}], "dns": {"servers": ["10.0.8.2", "fd00::1"]}},
        Place("10.0.8.17", "255.255.252.0", "10.0.8.1", ("10.0.8.2",)),
    ),
    "by its hardware address": (
        {"interfaces": [{"match": {"mac": str(BOOT)}, "addresses": ["10.0.8.17/22"]}]},
        Place("10.0.8.17", "255.255.252.0"),
    ),
    "of another port": ({"interfaces": [{"match": {"mac": str(OTHER)}, **ADDRESS}]}, None),
    "DHCP": ({"interfaces": [{"match": {"boot": True}}]}, None),
    "IPv6 alone": ({"interfaces": [{"match": {"boot": True}, "addresses": ["fd00::17/64"]}]}, None),
    "a bond": ({"interfaces": [], "bonds": [{"name": "bond0", "match": {"driver": "*"}, **ADDRESS}]}, None),
    "a port that is not there": ({"interfaces": [{"match": {"pci": "x"}, **ADDRESS}]}, None),
}


@pytest.mark.parametrize(("net", "place"), CASES.values(), ids=CASES.keys())
def test_static_place(net: dict[str, Any], place: Place | None) -> None:
    params = {"net": {"bonds": [], "vlans": [], "dns": {"servers": []}} | net}
    assert static_place(params, NICS, BOOT) == place
