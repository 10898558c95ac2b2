"""Our own addresses as the kernel gives them."""

from __future__ import annotations

import json
import socket
import subprocess

from provisioner.dhcp.addresses import OwnAddress, own_addresses


def test_the_same_as_ip_says() -> None:
    told = json.loads(subprocess.run(["ip", "-j", "addr", "show"], capture_output=True, check=True).stdout)
    family = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
    expected = {
        OwnAddress(link["ifindex"], family[each["family"]], socket.inet_pton(family[each["family"]], each["local"]))
        for link in told
        for each in link["addr_info"]
    }
    found = own_addresses()
    assert set(found) == expected
    assert b"\x7f\0\0\1" in {each.value for each in found}
