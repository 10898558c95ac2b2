"""A rack is plugged into a port of its own while the daemon runs: it gets addresses and boot files, no restart."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dhcp.wires import Wires, report_script, told, wires

pytestmark = [pytest.mark.netns, pytest.mark.peer, pytest.mark.slow]

CONFIG = """
store: {{state_dir: {folder}/state}}
api: {{socket: {folder}/api.sock}}
http: {{tls_port: 8443}}
dhcp:
  subnets: [{{network: 10.40.0.0/24, interface: eth0, pools: [10.40.0.100-10.40.0.199]}}]
"""
RELAYED = CONFIG.replace("10.40.0", "10.42.0").replace(", interface: eth0", ", router: [10.42.0.254]")
SECOND = "network: 10.41.0.0/24\nname: second\ninterface: eth1\npools: [10.41.0.100-10.41.0.199]\n"


class Site:
    def __init__(self, it: Wires) -> None:
        self.wires, self.folder = it, it.folder
        self.daemon: subprocess.Popen[str] | None = None

    def start(self, text: str = CONFIG) -> None:
        config = self.folder / "provisioner.yaml"
        config.write_text(text.format(folder=self.folder))
        line = self.wires.inside("server", sys.executable, "-m", "provisioner.entry", "--config", str(config))
        self.daemon = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
        self.until("daemon.ready")

    def until(self, text: str) -> str:
        assert self.daemon is not None
        assert self.daemon.stderr is not None
        said = []
        for line in self.daemon.stderr:
            said.append(line)
            if text in line:
                return line
        raise AssertionError("".join(said))

    def stop(self) -> None:
        if self.daemon is not None:
            assert self.daemon.stderr is not None
            self.daemon.terminate()
            self.daemon.wait(20)
            self.daemon.stderr.close()
            self.daemon = None

    def ctl(self, *words: str) -> str:
        line = (sys.executable, "-m", "provisioner.cli", "--socket", str(self.folder / "api.sock"), *words)
        return self.wires.run("server", *line)

    def boots(self, client: str, us: str) -> None:
        """Get an address and the loader that is offered, by TFTP, HTTP, and HTTPS that names our address there."""
        script = report_script(self.folder)
        (self.folder / "told").unlink(missing_ok=True)
        words = ("-i", "eth0", "-n", "-q", "-f", "-t", "5", "-T", "1", "-V", "PXEClient:Arch:00000:UNDI:002001")
        self.wires.run(client, "udhcpc", *words, "-s", str(script))
        found = told(self.folder)
        assert (found["serverid"], found["siaddr"]) == (us, us)
        name, target = found["boot_file"], str(self.folder / "loader")
        self.wires.run(client, "curl", "-sSf", "-m", "20", "-o", target, f"tftp://{us}/{name}")
        by_tftp = Path(target).read_bytes()
        self.wires.run(client, "curl", "-sSf", "-m", "20", "-o", target, f"http://{us}:8080/files/{name}")
        assert Path(target).read_bytes() == by_tftp
        trusted = ("--cacert", str(self.folder / "state" / "tls" / "ca.pem"))
        self.wires.run(client, "curl", "-sSf", "-m", "20", *trusted, "-o", target, f"https://{us}:8443/files/{name}")
        assert Path(target).read_bytes() == by_tftp


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with wires(tmp_path) as it:
        it.add("server")
        for number in (0, 1):
            it.add(f"client{number}")
            it.cable("server", f"eth{number}", f"client{number}", "eth0")
            it.ip("server", "addr", "add", f"10.4{number}.0.1/24", "dev", f"eth{number}")
        made = Site(it)
        yield made
        made.stop()


def test_a_subnet_on_a_new_interface_boots_machines_now_and_after_a_restart(site: Site) -> None:
    site.start()
    site.boots("client0", "10.40.0.1")
    (site.folder / "second.yaml").write_text(SECOND)
    site.ctl("dhcp", "subnet-set", str(site.folder / "second.yaml"))
    site.until("daemon.listening service=boot address=10.41.0.1")
    site.boots("client1", "10.41.0.1")
    site.boots("client0", "10.40.0.1")
    listeners = json.loads(site.ctl("info", "-o", "json"))["listeners"]
    assert {each["address"] for each in listeners if "10.41.0" in each["address"]} == {
        "10.41.0.0/24 on eth1",
        "udp 10.41.0.1:69",
        "http://10.41.0.1:8080",
        "https://10.41.0.1:8443",
    }
    site.stop()
    site.start()
    site.boots("client1", "10.41.0.1")


def test_boot_files_are_served_at_an_address_that_comes_later(site: Site) -> None:
    """DHCP sends machines there from then on."""
    site.start()
    site.wires.ip("server", "addr", "del", "10.40.0.1/24", "dev", "eth0")
    site.wires.ip("server", "addr", "add", "10.40.0.2/24", "dev", "eth0")
    site.until("daemon.listening service=boot address=10.40.0.2")
    site.boots("client0", "10.40.0.2")


def test_machines_behind_a_relay_boot_where_nobody_says_which_interface_it_comes_by(site: Site) -> None:
    """Behind the relay's second port is a network that we have no address in."""
    it = site.wires
    it.add("machine")
    it.cable("client0", "eth1", "machine", "eth0")
    it.ip("client0", "addr", "add", "10.40.0.254/24", "dev", "eth0")
    it.ip("client0", "addr", "add", "10.42.0.254/24", "dev", "eth1")
    it.ip("server", "route", "add", "10.42.0.0/24", "via", "10.40.0.254")
    it.ip("machine", "route", "add", "10.40.0.0/24", "via", "10.42.0.254", "dev", "eth0", "onlink")
    it.run("client0", "sysctl", "-qw", "net.ipv4.ip_forward=1")
    site.start(RELAYED)
    it.start("client0", "dhcrelay", "-4", "-d", "-iu", "eth0", "-id", "eth1", "10.40.0.1")
    site.boots("machine", "10.40.0.1")
