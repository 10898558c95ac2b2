"""Routers outside of single addresses (/32, /128): said to be on the link in every dialect, or refused."""

from __future__ import annotations

import re

import pytest

from provisioner import yamlfile
from provisioner.errors import RenderError
from tests.catalog.golden import files
from tests.shipped import catalogue

NETWORKD = """\
[Network]
DHCP=no
Address=203.0.113.17/32
Address=2001:db8:1::17/128
DNS=198.51.100.53

[Route]
Gateway=198.51.100.1
GatewayOnLink=yes

[Route]
Destination=10.9.0.0/16
Gateway=198.51.100.2
GatewayOnLink=yes

[Route]
Destination=::/0
Gateway=fe80::1

[Route]
Destination=2001:db8:9::/48
Gateway=2001:db8::1
GatewayOnLink=yes
"""
KEYFILE = """\
[ipv4]
method=manual
address1=203.0.113.17/32,198.51.100.1
route1=198.51.100.1/32
route2=198.51.100.2/32
route3=10.9.0.0/16,198.51.100.2
dns=198.51.100.53;

[ipv6]
method=manual
address1=2001:db8:1::17/128
route1=2001:db8::1/128
route2=::/0,fe80::1
route3=2001:db8:9::/48,2001:db8::1
"""
WINDOWS = """\
New-NetRoute -InterfaceAlias $alias -DestinationPrefix '198.51.100.1/32' -NextHop '0.0.0.0' | Out-Null
New-NetRoute -InterfaceAlias $alias -DestinationPrefix '198.51.100.2/32' -NextHop '0.0.0.0' | Out-Null
New-NetRoute -InterfaceAlias $alias -DestinationPrefix '2001:db8::1/128' -NextHop '::' | Out-Null
New-NetRoute -InterfaceAlias $alias -DestinationPrefix '0.0.0.0/0' -NextHop '198.51.100.1' | Out-Null
"""


def text_of(name: str) -> str:
    """Everything that a machine with single addresses gets."""
    return "\n".join(text for _, _, text in files(name, "uefi-on-link"))


DIALECTS = {
    "systemd-networkd": (("debian-12", "debian-13-installer", "debian-12-packages", "proxmox-8"), NETWORKD),
    "NetworkManager": (("rocky-9", "fedora-43"), KEYFILE),
    "PowerShell": (("windows-server-2022",), WINDOWS),
}


@pytest.mark.parametrize(("names", "said"), DIALECTS.values(), ids=DIALECTS.keys())
def test_text(names: tuple[str, ...], said: str) -> None:
    for name in names:
        assert said in text_of(name), name


def test_netplan() -> None:
    text = next(text for file, _, text in files("ubuntu-24.04", "uefi-on-link") if file == "user-data")
    link = yamlfile.load(text, "user-data").value["autoinstall"]["network"]["ethernets"]["nic0"]
    assert link["routes"] == [
        {"to": "default", "via": "198.51.100.1", "on-link": True},
        {"to": "10.9.0.0/16", "via": "198.51.100.2", "on-link": True},
        {"to": "::/0", "via": "fe80::1"},
        {"to": "2001:db8:9::/48", "via": "2001:db8::1", "on-link": True},
    ]


def test_talos() -> None:
    text = next(text for file, _, text in files("talos", "uefi-on-link") if file == "config.yaml")
    routes = yamlfile.load(text, "config.yaml").value["machine"]["network"]["interfaces"][0]["routes"]
    assert routes[:4] == [
        {"network": "198.51.100.1/32"},
        {"network": "198.51.100.2/32"},
        {"network": "2001:db8::1/128"},
        {"network": "0.0.0.0/0", "gateway": "198.51.100.1"},
    ]


def test_autoyast() -> None:
    pairs = re.findall(
        r"<destination>(.*?)</destination>\s*<device>nic0</device>\s*<gateway>(.*?)</", text_of("sles-15")
    )
    assert pairs[:4] == [
        ("198.51.100.1/32", "-"),
        ("198.51.100.2/32", "-"),
        ("2001:db8::1/128", "-"),
        ("default", "198.51.100.1"),
    ]


REFUSING = ("esxi-8", "opensuse-leap-16.0", "proxmox-9", "sles-16")


def test_the_others_refuse_it() -> None:
    installing = [name for name in catalogue().names() if "static" in catalogue().bootenv(name).supports.network]
    others = [name for name in installing if "on-link" not in catalogue().bootenv(name).supports.network]
    assert others == sorted(REFUSING)
    for name in REFUSING:
        with pytest.raises(RenderError) as caught:
            list(files(name, "uefi-on-link"))
        assert f"{name} cannot do net: on-link" in caught.value.faults
