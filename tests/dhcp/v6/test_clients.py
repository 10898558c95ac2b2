"""Real DHCPv6 clients and relays, each in a network namespace of its own, against the server as a process."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.lab.process import wait_until
from tests.dhcp.v6.wires import lan6, routed6, until_ready
from tests.dhcp.wires import CLIENT_LIMIT_S, Wires, end_daemon, report_script, told

pytestmark = [pytest.mark.netns, pytest.mark.peer]

CONFIG = """
subnets6:
  - network: fd44::/64
    interface: br0
    pools: ["fd44::100-fd44::1ff"]
    dns: ["fd44::2", "fd44::3"]
    search: [rack.example]
    router_advertisements: true
reservations6:
  - {mac: "52:54:00:44:00:05", address: "fd44::50", name: node5}
"""


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Wires]:
    with lan6(tmp_path) as it:
        yield it


@pytest.fixture
def routed(tmp_path: Path) -> Iterator[Wires]:
    with routed6(tmp_path) as it:
        yield it


def lease_file(lan: Wires, client: str) -> Path:
    """Where dhclient keeps its identity and its lease."""
    return lan.folder / f"dhclient6-{client}.leases"


def dhclient(lan: Wires, client: str, *words: str) -> dict[str, str]:
    """Get a lease with ISC's client (`-r`: give it up; `-S`: only ask), and leave; its lease file stays."""
    pid = lan.folder / "dhclient6.pid"
    files = ("-sf", str(report_script(lan.folder)), "-lf", str(lease_file(lan, client)), "-pf", str(pid))
    with (lan.folder / "dhclient6.log").open("w+") as log:
        command = lan.inside(client, "dhclient", "-6", "-1", "-v", *files, *words, "eth0")
        subprocess.run(command, stdout=log, stderr=log, timeout=CLIENT_LIMIT_S, check=True)
    if pid.exists():
        end_daemon(pid)
    return told(lan.folder)


def dhcpcd(lan: Wires, client: str) -> dict[str, str]:
    """Get a lease with dhcpcd, which asks for one because a router advertisement says so."""
    private = "mount -t tmpfs none /var/lib/dhcpcd && mount -t tmpfs none /run && exec"
    words = f"dhcpcd -1 -6 -B -A -t 20 -f /dev/null -c {report_script(lan.folder)} eth0"
    lan.run(client, "unshare", "-m", "sh", "-c", f"{private} {words}")
    return told(lan.folder)


def networkd(lan: Wires, client: str) -> None:
    """Start systemd-networkd, which is satisfied with what a namespace has: no bus, and no udev where /sys is fixed."""
    lan.folder.joinpath("lan.network").write_text("[Match]\nName=eth0\n[Network]\nDHCP=ipv6\nIPv6AcceptRA=yes\n")
    folder = "/run/systemd"
    script = (
        f"mount -t tmpfs none /run && mkdir -p {folder}/network {folder}/netif && cp {lan.folder}/lan.network "
        f"{folder}/network/ && chown -R systemd-network {folder}/netif && mount -o remount,ro /sys && "
        "exec /lib/systemd/systemd-networkd"
    )
    lan.start(client, "unshare", "-m", "sh", "-c", script)


def test_dhclient(lan: Wires) -> None:
    server = lan.serve("server", CONFIG)
    found = dhclient(lan, "one")
    assert (found["new_ip6_address"], found["new_dhcp6_name_servers"]) == ("fd44::100", "fd44::2 fd44::3")
    assert (found["new_dhcp6_domain_search"], found["new_max_life"], found["new_renew"]) == (
        "rack.example.",
        "3600",
        "1800",
    )
    server.until_only_repeated("dhcp6.advertise", "dhcp6.reply")


def test_dhclient_comes_back_to_its_address_and_gives_it_up(lan: Wires) -> None:
    server = lan.serve("server", CONFIG)
    first = dhclient(lan, "one")["new_ip6_address"]
    assert dhclient(lan, "one")["new_ip6_address"] == first
    lan.ip("one", "addr", "add", f"{first}/64", "dev", "eth0")
    dhclient(lan, "one", "-r")
    assert server.until("dhcp6.release").endswith("fd44::100 was given back")


def test_dhclient_only_asks(lan: Wires) -> None:
    server = lan.serve("server", CONFIG)
    found = dhclient(lan, "one", "-S")
    assert found["new_dhcp6_name_servers"] == "fd44::2 fd44::3"
    server.until_only_repeated("dhcp6.reply")


def test_dhclient_with_a_fixed_address(lan: Wires) -> None:
    lan.ip("one", "link", "set", "eth0", "address", "52:54:00:44:00:05")
    lan.serve("server", CONFIG)
    assert dhclient(lan, "one")["new_ip6_address"] == "fd44::50"


def test_dhclient_that_made_its_identity_of_another_port(lan: Wires) -> None:
    """The frame tells the port, not the DUID."""
    lan.serve("server", CONFIG)
    assert dhclient(lan, "one")["new_ip6_address"] == "fd44::100"
    lease_file(lan, "one").write_text(lease_file(lan, "one").read_text().splitlines()[0])  # the identity alone
    lan.ip("one", "link", "set", "eth0", "address", "52:54:00:44:00:05")
    lan.ip("one", "link", "set", "eth0", "addrgenmode", "random")
    lan.ip("one", "link", "set", "eth0", "down")
    lan.ip("one", "link", "set", "eth0", "up")
    until_ready(lan, one="eth0")
    assert dhclient(lan, "one")["new_ip6_address"] == "fd44::50"


def test_rapid_commit(lan: Wires) -> None:
    server = lan.serve("server", CONFIG.replace("    dns:", "    rapid_commit: true\n    dns:"))
    config = lan.folder / "dhclient6.conf"
    config.write_text("send dhcp6.rapid-commit;")
    assert dhclient(lan, "one", "-cf", str(config))["new_ip6_address"] == "fd44::100"
    server.until_only_repeated("dhcp6.reply")


def test_dhcpcd_is_told_by_an_advertisement(lan: Wires) -> None:
    server = lan.serve("server", CONFIG)
    found = dhcpcd(lan, "one")
    assert (found["nd1_flags"], found["nd1_prefix_information1_prefix"], found["nd1_lifetime"]) == ("MO", "fd44::", "0")
    assert found["nd1_prefix_information1_flags"] == "L"
    assert found["new_dhcp6_ia_na1_ia_addr1"] == "fd44::100"
    server.until_only_repeated("dhcp6.advertise", "dhcp6.reply")


def test_systemd_networkd_after_another_client_is_the_same_machine(lan: Wires) -> None:
    """Each makes up a DUID of its own; the port is the same."""
    server = lan.serve("server", CONFIG)
    assert dhclient(lan, "two")["new_ip6_address"] == "fd44::100"
    assert dhcpcd(lan, "one")["new_dhcp6_ia_na1_ia_addr1"] == "fd44::101"
    lan.ip("one", "addr", "flush", "dev", "eth0", "scope", "global")

    def addresses() -> str:
        return lan.ip("one", "-6", "addr", "show", "dev", "eth0", "scope", "global")

    assert addresses() == ""
    networkd(lan, "one")
    assert wait_until(lambda: "inet6 fd44::101/128" in addresses(), CLIENT_LIMIT_S), addresses()
    assert server.until("dhcp6.reply", times=3)


def test_a_server_that_was_restarted_knows_its_clients_and_is_the_same(lan: Wires) -> None:
    server = lan.serve("server", CONFIG)
    assert dhclient(lan, "two")["new_ip6_address"] == "fd44::100"
    first = dhclient(lan, "one")
    server.stop()
    lan.serve("server", CONFIG)
    again = dhclient(lan, "one")
    assert again["new_ip6_address"] == first["new_ip6_address"] == "fd44::101"
    assert again["new_dhcp6_server_id"] == first["new_dhcp6_server_id"]


def test_a_server_that_was_killed_has_lost_no_lease_that_it_gave(lan: Wires) -> None:
    server = lan.serve("server", CONFIG)
    held = {dhclient(lan, client)["new_ip6_address"] for client in ("two", "one")}
    server.process.kill()
    server.process.wait()
    lan.serve("server", CONFIG)
    lease_file(lan, "one").unlink()  # it has forgotten its address, and its identity
    assert dhclient(lan, "one")["new_ip6_address"] == "fd44::101"
    assert dhclient(lan, "two")["new_ip6_address"] == "fd44::100"
    assert held == {"fd44::100", "fd44::101"}


RELAYED = """
interfaces: [up0]
subnets6:
  - network: fd44::/64
    pools: ["fd44::100-fd44::1ff"]
    dns: ["fd44::2"]
"""


@pytest.mark.parametrize("target", ["fd45::1%down0", "ff05::1:3%down0"], ids=["by unicast", "to all servers"])
def test_dhcrelay(routed: Wires, target: str) -> None:
    server = routed.serve("server", RELAYED)
    words = ("-d", "-6", "-I", "-l", "br0", "-u", target, "-pf", str(routed.folder / "relay.pid"))
    routed.start("router", "dhcrelay", *words)
    routed.until_bound("router", 547)
    first = dhclient(routed, "one")
    assert (first["new_ip6_address"], first["new_dhcp6_name_servers"]) == ("fd44::100", "fd44::2")
    assert dhclient(routed, "one")["new_ip6_address"] == "fd44::100"
    assert all("by relay fd44::fe" in text for _, _, text in server.trace())
    assert {mac for _, mac, _ in server.trace()} == {
        routed.ip("one", "link", "show", "eth0").split("link/ether ")[1][:17]
    }
