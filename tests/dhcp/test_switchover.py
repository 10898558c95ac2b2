"""Switch-overs: real servers give leases to real clients, their files are imported, and the clients renew with us."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.dhcp.office import Office
from tests.dhcp.wires import report_script, wires

pytestmark = [pytest.mark.netns, pytest.mark.peer, pytest.mark.slow]

POOL = ("10.44.0.100", "10.44.0.199")
FIXED_MAC = "52:54:00:44:00:05"
OURS = """
store: {{state_dir: {folder}/state}}
api: {{socket: {folder}/api.sock}}
tftp: {{enabled: false}}
dhcp:
  subnets:
    - network: 10.44.0.0/24
      interface: br0
      pools: [10.44.0.100-10.44.0.199]
"""


def dhclient(office: Office, client: str, *words: str) -> str:
    """Get a lease, or take up the one on record (INIT-REBOOT); the address."""
    files = ("-sf", str(report_script(office.folder)), "-lf", str(office.folder / f"{client}.leases"))
    pid = ("-pf", str(office.folder / f"{client}.pid"))
    command = office.wires.inside(client, "timeout", "40", "dhclient", "-d", "-v", *files, *pid, *words, "eth0")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    office.wires.running.append(process)
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if bound := re.match(r"bound to (\S+)", line):
            process.terminate()
            process.wait()
            process.stdout.close()
            return bound[1]
    raise AssertionError("".join(said))


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with wires(tmp_path) as it:
        it.add("server")
        it.bridge("server", "10.44.0.1/24", {"p1": "one", "p2": "two", "p3": "five"})
        it.ip("five", "link", "set", "eth0", "address", FIXED_MAC)
        tmp_path.chmod(0o755)
        yield Office(it, OURS)


def mac_of(office: Office, client: str) -> str:
    found = re.search(r"link/ether (\S+)", office.wires.ip(client, "link", "show", "eth0"))
    assert found is not None
    return found[1]


DHCPD = f"""authoritative; default-lease-time 3600;
subnet 10.44.0.0 netmask 255.255.255.0 {{ range {POOL[0]} {POOL[1]}; option routers 10.44.0.1; }}
group {{ use-host-decl-names on; host node5 {{ hardware ethernet {FIXED_MAC}; fixed-address 10.44.0.50; }} }}
"""
DNSMASQ = (f"dhcp-range={POOL[0]},{POOL[1]},1h", f"dhcp-host={FIXED_MAC},10.44.0.50,node5")
KEA = (
    f'"subnet": "10.44.0.0/24", "pools": [ {{ "pool": "{POOL[0]} - {POOL[1]}" }} ],\n'
    f'"reservations": [ {{ "hw-address": "{FIXED_MAC}", "ip-address": "10.44.0.50", "hostname": "node5" }} ]'
)
SERVERS: dict[str, Callable[[Office], tuple[str, ...]]] = {
    "dhcpd": lambda office: office.dhcpd(DHCPD),
    "dnsmasq": lambda office: office.dnsmasq(*DNSMASQ),
    "kea": lambda office: office.kea(4, KEA),
}


@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS.keys())
def test_clients_of_another_server_keep_their_addresses(
    office: Office, server: Callable[[Office], tuple[str, ...]]
) -> None:
    files = server(office)
    duid = office.folder / "dhclient.conf"
    identifier = "ff:00:00:00:01:00:02:00:00:ab:11:01:22:5c:7d:2c:3b:0a:07:08"
    duid.write_text(f'send dhcp-client-identifier {identifier}; send host-name "two";')
    one = dhclient(office, "one")
    two = dhclient(office, "two", "-cf", str(duid))
    five = dhclient(office, "five")
    assert (len({one, two, five}), five) == (3, "10.44.0.50")
    office.stop()
    office.ours()
    planned = office.rows("import", *files, "--dry-run")
    assert {row["what"] for row in planned} <= {"new", "same"}, planned
    assert office.rows("leases") == []
    done = office.rows("import", *files)
    assert done == planned
    leases = {row["mac"]: row for row in office.rows("leases")}
    assert leases[mac_of(office, "one")]["address"] == one
    assert (leases[mac_of(office, "two")]["client_id"], leases[mac_of(office, "two")]["name"]) == (identifier, "two")
    assert [(row["mac"], row["address"], row["name"]) for row in office.rows("reservations")] == [
        (FIXED_MAC, "10.44.0.50", "node5")
    ]
    assert dhclient(office, "two", "-cf", str(duid)) == two  # the last first: nobody is given another's
    assert dhclient(office, "one") == one
    assert dhclient(office, "five") == five


def test_clients_keep_their_addresses_when_kea_takes_over(office: Office) -> None:
    office.ours()
    one, two = dhclient(office, "one"), dhclient(office, "two")
    leases = office.folder / "kea-leases4.csv"
    office.ctl("export", str(leases))
    written = leases.read_text()
    office.stop()
    office.kea(4, KEA)
    assert dhclient(office, "two") == two
    assert dhclient(office, "one") == one
    office.stop()
    assert leases.read_text().startswith(written)  # read as it was, and gone on with
    office.ours()
    assert {row["what"] for row in office.rows("import", str(leases), "--dry-run")} == {"same"}
