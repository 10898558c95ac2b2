"""Switch-overs of DHCPv6: real servers give leases to real clients, their files are imported, clients come to us."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.dhcp.office import Office
from tests.dhcp.v6.test_clients import dhclient, lease_file
from tests.dhcp.v6.wires import lan6, until_ready

pytestmark = [pytest.mark.netns, pytest.mark.peer, pytest.mark.slow]

FIXED_MAC = "52:54:00:44:00:05"
FIXED_DUID = f"00:03:00:01:{FIXED_MAC}"
OURS = """
store: {{state_dir: {folder}/state}}
api: {{socket: {folder}/api.sock}}
tftp: {{enabled: false}}
dhcp:
  subnets6:
    - network: "fd44::/64"
      interface: br0
      pools: ["fd44::100-fd44::1ff"]
"""


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with lan6(tmp_path) as it:
        for words in (("down",), ("address", FIXED_MAC), ("up",)):
            it.ip("two", "link", "set", "eth0", *words)
        until_ready(it, two="eth0")
        tmp_path.chmod(0o755)
        yield Office(it, OURS)


DHCPD = f"""default-lease-time 3600;
subnet6 fd44::/64 {{ range6 fd44::100 fd44::1ff; }}
host node5 {{ host-identifier option dhcp6.client-id {FIXED_DUID}; fixed-address6 fd44::50; }}
"""
DNSMASQ = ("dhcp-range=fd44::100,fd44::1ff,64,1h", f"dhcp-host=id:{FIXED_DUID},[fd44::50],node5")
KEA = (
    '"subnet": "fd44::/64", "interface": "br0", "pools": [ { "pool": "fd44::100 - fd44::1ff" } ],\n'
    f'"reservations": [ {{ "duid": "{FIXED_DUID}", "ip-addresses": [ "fd44::50" ], "hostname": "node5" }} ]'
)
SERVERS: dict[str, Callable[[Office], tuple[str, ...]]] = {
    "dhcpd": lambda office: office.dhcpd(DHCPD),
    "dnsmasq": lambda office: office.dnsmasq(*DNSMASQ),
    "kea": lambda office: office.kea(6, KEA),
}
LL = ("-D", "LL")


def again(office: Office, client: str, *words: str) -> str:
    """Ask as after a restart: the client has its identity, and has forgotten its lease."""
    file = lease_file(office.wires, client)
    file.write_text("".join(line for line in file.read_text().splitlines(True) if line.startswith("default-duid")))
    return dhclient(office.wires, client, *words)["new_ip6_address"]


@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS.keys())
def test_clients_of_another_server_keep_their_addresses(
    office: Office, server: Callable[[Office], tuple[str, ...]]
) -> None:
    files = server(office)
    one = dhclient(office.wires, "one")["new_ip6_address"]
    assert dhclient(office.wires, "two", *LL)["new_ip6_address"] == "fd44::50"
    office.stop()
    office.ours()
    planned = office.rows("import", *files, "--dry-run")
    assert {row["what"] for row in planned} <= {"new", "same"}, planned
    assert office.rows("leases", "-6") == []
    assert office.rows("import", *files) == planned
    leases = {row["address"]: row for row in office.rows("leases", "-6")}
    assert leases[one]["state"] == "active"
    assert [(row["duid"], row["address"]) for row in office.rows("reservations", "-6")] == [(FIXED_DUID, "fd44::50")]
    assert again(office, "two", *LL) == "fd44::50"  # the last first: nobody is given another's
    assert again(office, "one") == one


def test_clients_keep_their_addresses_when_kea_takes_over(office: Office) -> None:
    office.ours()
    one, two = (dhclient(office.wires, client)["new_ip6_address"] for client in ("one", "two"))
    leases = office.folder / "kea-leases6.csv"
    office.ctl("export", "-6", str(leases))
    written = leases.read_text()
    office.stop()
    office.kea(6, KEA)
    assert again(office, "two") == two
    assert again(office, "one") == one
    office.stop()
    assert leases.read_text().startswith(written)  # read as it was, and gone on with
    office.ours()
    assert {row["what"] for row in office.rows("import", str(leases), "--dry-run")} == {"same"}
