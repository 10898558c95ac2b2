"""Routers outside of single addresses (/32, /128): said to be on the link in every dialect, or refused."""

from __future__ import annotations

import re
import subprocess

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


WORLD = """\
set -eu
mount -t tmpfs tmpfs /run
mount -t sysfs -o ro sysfs /sys # read-only: no udev is waited for
mkdir -p /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
chown -R systemd-network /run/systemd/netif
mount -t tmpfs tmpfs /etc/systemd/network
cat >/etc/systemd/network/30-provisioner-nic0.network
ip link add nic0 type veth peer name other
ip link set other up
/usr/lib/systemd/systemd-networkd >/dev/null 2>&1 &
networkd=$!
trap 'kill $networkd' EXIT
for route in '-6 default' '-6 2001:db8:9::/48' '-4 default' '-4 10.9.0.0/16'; do
    until ip ${route% *} route | grep -q "^${route#* } "; do sleep 0.1; done
done
ip route
ip -6 route
"""


@pytest.mark.slow
@pytest.mark.netns
@pytest.mark.peer
@pytest.mark.timeout(600)
def test_networkd_itself_makes_the_routes() -> None:
    late = next(text for file, _, text in files("debian-13-installer", "uefi-on-link") if file == "late.sh")
    start = "30-provisioner-nic0.network 644 <<'END_OF_FILE'\n"
    network = late.partition(start)[2].partition("END_OF_FILE")[0]
    network = re.sub(r"(?m)^PermanentMACAddress=.*\nType=ether$", "Name=nic0", network)  # which no veth has
    line = ["unshare", "-n", "-m", "--propagation", "private", "bash", "-c", WORLD]
    done = subprocess.run(line, input=network, capture_output=True, text=True, check=True, timeout=250)
    routes = {" ".join(route.split()[:5]): "onlink" in route.split() for route in done.stdout.splitlines()}
    wanted = {
        "default via 198.51.100.1 dev nic0": True,
        "10.9.0.0/16 via 198.51.100.2 dev nic0": True,
        "default via fe80::1 dev nic0": False,
        "2001:db8:9::/48 via 2001:db8::1 dev nic0": True,
    }
    assert wanted.items() <= routes.items(), done.stdout
