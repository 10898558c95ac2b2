"""Real clients and relays, each in a network namespace of its own, against the server as a process."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.lab.process import wait_until
from tests.dhcp.wires import CLIENT_LIMIT_S, Wires, end_daemon, report_script, run, told, wires

pytestmark = [pytest.mark.netns, pytest.mark.peer]

CONFIG = """
subnets:
  - network: 10.44.0.0/24
    interface: br0
    pools: [10.44.0.100-10.44.0.199]
    router: [10.44.0.1]
    dns: [10.44.0.2, 10.44.0.3]
    domain: rack.example
    routes: [10.9.0.0/16 via 10.44.0.7]
    options: {ntp-servers: 10.44.0.9}
reservations:
  - {mac: "52:54:00:44:00:05", address: 10.44.0.50, name: node5}
"""


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Wires]:
    """A server namespace with a bridge, and two clients on it."""
    with wires(tmp_path) as it:
        it.add("server")
        it.bridge("server", "10.44.0.1/24", {"p1": "one", "p2": "two"})
        yield it


def udhcpc(lan: Wires, client: str, *words: str) -> dict[str, str]:
    """Get a lease with BusyBox's client, and leave. It asks again so late that a busy server has answered."""
    script = report_script(lan.folder)
    lan.run(client, "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "3", "-T", "10", "-s", str(script), *words)
    return told(lan.folder)


def dhclient(lan: Wires, client: str, *words: str) -> dict[str, str]:
    """Get a lease with ISC's client (`-r`: give it up), and leave; its lease file stays for the next call."""
    pid = lan.folder / "dhclient.pid"
    files = ("-sf", str(report_script(lan.folder)), "-lf", str(lan.folder / "dhclient.leases"), "-pf", str(pid))
    with (lan.folder / "dhclient.log").open("w+") as log:
        command = lan.inside(client, "dhclient", "-1", "-v", *files, *words, "eth0")
        subprocess.run(command, stdout=log, stderr=log, timeout=CLIENT_LIMIT_S, check=True)
    if "-r" not in words:
        end_daemon(pid)
    return told(lan.folder)


def test_udhcpc(lan: Wires) -> None:
    server = lan.serve("server", CONFIG)
    found = udhcpc(lan, "one", "-O", "ntpsrv", "-O", "staticroutes")
    assert (found["ip"], found["mask"], found["router"], found["dns"]) == (
        "10.44.0.100",
        "24",
        "10.44.0.1",
        "10.44.0.2 10.44.0.3",
    )
    assert (found["domain"], found["serverid"], found["lease"], found["ntpsrv"]) == (
        "rack.example",
        "10.44.0.1",
        "3600",
        "10.44.0.9",
    )
    assert found["staticroutes"] == "10.9.0.0/16 10.44.0.7 0.0.0.0/0 10.44.0.1"
    server.until_only("dhcp.offer", "dhcp.ack")


def test_udhcpc_releases_and_gets_its_address_back(lan: Wires) -> None:
    server = lan.serve("server", CONFIG)
    client = lan.start("one", "udhcpc", "-i", "eth0", "-f", "-R", "-s", str(report_script(lan.folder)))
    server.until("dhcp.ack")
    lan.until_address("one", "10.44.0.100")
    client.terminate()
    assert server.until("dhcp.release").endswith("10.44.0.100 was given back")
    assert udhcpc(lan, "two")["ip"] == "10.44.0.101"
    assert udhcpc(lan, "one")["ip"] == "10.44.0.100"


def test_udhcpc_with_a_fixed_address(lan: Wires) -> None:
    lan.ip("one", "link", "set", "eth0", "address", "52:54:00:44:00:05")
    lan.serve("server", CONFIG)
    found = udhcpc(lan, "one")
    assert (found["ip"], found["hostname"]) == ("10.44.0.50", "node5")


def test_udhcpc_that_can_only_hear_broadcasts(lan: Wires) -> None:
    lan.serve("server", CONFIG)
    assert udhcpc(lan, "one", "-B")["ip"] == "10.44.0.100"


def test_dhclient(lan: Wires) -> None:
    server = lan.serve("server", CONFIG)
    found = dhclient(lan, "one")
    assert (found["new_ip_address"], found["new_routers"]) == ("10.44.0.100", "10.44.0.1")
    assert found["new_domain_name_servers"] == "10.44.0.2 10.44.0.3"
    server.until_only_repeated("dhcp.offer", "dhcp.ack")


def test_dhclient_comes_back_to_its_address_and_gives_it_up(lan: Wires) -> None:
    server = lan.serve("server", CONFIG)
    first = dhclient(lan, "one")["new_ip_address"]
    assert dhclient(lan, "one")["new_ip_address"] == first
    server.until("dhcp.ack", times=2)
    server.until_only_repeated("dhcp.offer", "dhcp.ack")
    lan.ip("one", "addr", "add", f"{first}/24", "dev", "eth0")
    dhclient(lan, "one", "-r")
    server.until("dhcp.release")  # the client ends before it is here


def test_dhclient_with_another_identifier_is_the_same_machine(lan: Wires) -> None:
    """Firmware sends 01 and the hardware address, systemd-networkd a DUID: one machine, one address."""
    lan.serve("server", CONFIG)
    config = lan.folder / "dhclient.conf"
    config.write_text("send dhcp-client-identifier ff:00:00:00:01:00:02:00:00:ab:11:01:02:03:04:05:06:07:08;")
    first = udhcpc(lan, "one")["ip"]
    assert dhclient(lan, "one", "-cf", str(config))["new_ip_address"] == first


def test_dhcpcd(lan: Wires) -> None:
    server = lan.serve("server", CONFIG)
    script = report_script(lan.folder)
    private = "mount -t tmpfs none /var/lib/dhcpcd && mount -t tmpfs none /run && exec"
    command = f"{private} dhcpcd -1 -4 -B -A -t 15 -f /dev/null -c {script} eth0"
    lan.run("one", "unshare", "-m", "sh", "-c", command)
    found = told(lan.folder)
    assert (found["new_ip_address"], found["new_routers"]) == ("10.44.0.100", "10.44.0.1")
    server.until("dhcp.ack")
    assert "dhcp.offer" in server.events()


NETWORKD = """
mount -t tmpfs none /run
mkdir -p /run/systemd/network /run/systemd/netif /run/udev/data
chown -R systemd-network /run/systemd/netif
cd /run/systemd/network
printf '[Match]\\nName=eth0\\n[Network]\\nDHCP=ipv4\\nLinkLocalAddressing=no\\nIPv6AcceptRA=no\\n' > 1.network
for link in lo eth0; do echo I:1 > /run/udev/data/n$(cat /sys/class/net/$link/ifindex); done
exec /lib/systemd/systemd-networkd
"""
"""What it needs of a system, in a mount namespace of its own: no bus, no udev."""


def test_systemd_networkd(lan: Wires) -> None:
    server = lan.serve("server", CONFIG)
    networkd = lan.start("one", "unshare", "-m", "sh", "-c", NETWORKD)
    lan.until_address("one", "10.44.0.100/24")
    server.until_only_repeated("dhcp.offer", "dhcp.ack")
    routes = lan.ip("one", "route")
    assert "default via 10.44.0.1 dev eth0 proto dhcp" in routes
    assert "10.9.0.0/16 via 10.44.0.7 dev eth0 proto dhcp" in routes
    networkd.terminate()
    assert server.until("dhcp.release").endswith("10.44.0.100 was given back")
    assert udhcpc(lan, "one")["ip"] == "10.44.0.100"  # its DUID and this client's identifier are one machine's


def test_two_interfaces_each_with_its_own_view_of_us(tmp_path: Path) -> None:
    with wires(tmp_path) as it:
        it.add("server")
        for number in (0, 1):
            it.add(f"client{number}")
            it.cable("server", f"eth{number}", f"client{number}", "eth0")
            it.ip("server", "addr", "add", f"10.4{number}.0.1/24", "dev", f"eth{number}")
        subnets = (
            f"  - {{network: 10.4{n}.0.0/24, interface: eth{n}, pools: [10.4{n}.0.100-10.4{n}.0.199]}}" for n in (0, 1)
        )
        it.serve("server", "subnets:\n" + "\n".join(subnets))
        for number in (0, 1):
            found = udhcpc(it, f"client{number}", "-V", "PXEClient:Arch:00000:UNDI:002001")
            us = f"10.4{number}.0.1"
            assert (found["ip"], found["serverid"], found["siaddr"]) == (f"10.4{number}.0.100", us, us)
            assert found["boot_file"] == "snponly.efi"
            (tmp_path / "told").unlink()


def test_a_server_that_was_restarted_knows_its_clients(lan: Wires) -> None:
    server = lan.serve("server", CONFIG)
    assert udhcpc(lan, "two")["ip"] == "10.44.0.100"
    first = udhcpc(lan, "one")["ip"]
    server.stop()
    lan.serve("server", CONFIG)
    assert udhcpc(lan, "one")["ip"] == first == "10.44.0.101"


RELAYED = """
interfaces: [up0]
subnets:
  - network: 10.44.0.0/24
    pools: [10.44.0.100-10.44.0.199]
    router: [10.44.0.1]
ports:
  - {circuit_id: br0, name: placed, address: 10.44.0.60}
"""


@pytest.fixture
def routed(tmp_path: Path) -> Iterator[Wires]:
    """A server behind a router, whose bridge two clients are on."""
    with wires(tmp_path) as it:
        for name in ("server", "router"):
            it.add(name)
        it.bridge("router", "10.44.0.1/24", {"p1": "one", "p2": "two"})
        it.cable("server", "up0", "router", "down0")
        it.ip("server", "addr", "add", "10.45.0.1/24", "dev", "up0")
        it.ip("router", "addr", "add", "10.45.0.2/24", "dev", "down0")
        it.ip("server", "route", "add", "default", "via", "10.45.0.2")
        it.run("router", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        yield it


def test_dhcrelay_places_a_machine_by_its_port(routed: Wires) -> None:
    server = routed.serve("server", RELAYED)
    words = ("-d", "-4", "-a", "-iu", "down0", "-id", "br0", "-pf", str(routed.folder / "relay.pid"))
    routed.start("router", "dhcrelay", *words, "10.45.0.1")
    routed.until_bound("router", 67)
    assert udhcpc(routed, "one", "-O", "hostname")["ip"] == "10.44.0.60"
    assert told(routed.folder)["hostname"] == "placed"
    assert udhcpc(routed, "two")["ip"] == "10.44.0.100"
    assert all("by relay 10.44.0.1" in text for _, _, text in server.trace())


def test_dhcrelay_carries_a_renewal_and_a_release(routed: Wires) -> None:
    server = routed.serve("server", RELAYED.partition("ports:")[0])
    words = ("-d", "-4", "-iu", "down0", "-id", "br0", "-pf", str(routed.folder / "relay.pid"))
    routed.start("router", "dhcrelay", *words, "10.45.0.1")
    routed.until_bound("router", 67)
    first = dhclient(routed, "one")["new_ip_address"]
    assert dhclient(routed, "one")["new_ip_address"] == first
    routed.ip("one", "addr", "add", f"{first}/24", "dev", "eth0")
    routed.ip("one", "route", "add", "default", "via", "10.44.0.1")
    dhclient(routed, "one", "-r")
    server.until("dhcp.release")  # the client ends before it is here


@pytest.fixture(scope="session")
def dhcp_helper(tmp_path_factory: pytest.TempPathFactory) -> str:
    """dhcp-helper unpacked: its package conflicts with the other relay's."""
    folder = tmp_path_factory.mktemp("dhcp-helper")
    done = subprocess.run(["apt-get", "download", "-q", "dhcp-helper"], cwd=folder, capture_output=True, check=False)
    packages = list(folder.glob("*.deb"))
    assert packages, done.stderr.decode()
    run("dpkg", "-x", str(packages[0]), str(folder))
    return str(folder / "usr/sbin/dhcp-helper")


def test_dhcp_helper(routed: Wires, dhcp_helper: str) -> None:
    server = routed.serve("server", RELAYED.partition("ports:")[0])
    files = ("-r", str(routed.folder / "helper.pid"), "-u", "root")
    routed.start("router", dhcp_helper, "-n", "-i", "br0", "-s", "10.45.0.1", *files)
    routed.until_bound("router", 67)
    assert udhcpc(routed, "one")["ip"] == "10.44.0.100"
    server.until_only("dhcp.offer", "dhcp.ack")


ADVERTISING = CONFIG.replace("    domain:", "    router_advertisements: true\n    domain:")


def test_the_kernel_takes_a_router_advertisement(lan: Wires) -> None:
    """It learns the network and for how long, and that nobody routes here."""
    lan.ip("server", "addr", "add", "fd44::1/64", "dev", "br0", "nodad")
    lan.serve("server", ADVERTISING)
    lan.ip("one", "link", "set", "eth0", "down")
    lan.ip("one", "link", "set", "eth0", "up")

    def routes() -> str:
        return lan.ip("one", "-6", "route", "show")

    assert wait_until(lambda: bool(re.search(r"fd44::/64 dev eth0 .*expires", routes())), CLIENT_LIMIT_S), routes()
    assert "default" not in routes()
