"""The whole way: a real client gets a lease from the daemon, a real BIND its name, whoever is killed in between."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.ddns.bind import KEY, Bind
from tests.dhcp.netns import inside
from tests.dhcp.wires import Wires, report_script, wires

pytestmark = [pytest.mark.netns, pytest.mark.peer, pytest.mark.slow]

MAC = "52:54:00:44:00:05"
POINTER = "60.0.0.10.in-addr.arpa."
CONFIG = """
store: {{state_dir: {folder}/state}}
api: {{socket: {folder}/api.sock}}
tftp: {{enabled: false}}
dns:
  server: 10.0.0.1
  port: 5353
  forward: [rack.example]
  reverse: [0.0.10.in-addr.arpa]
  key_file: {folder}/key
dhcp:
  subnets:
    - {{network: 10.0.0.0/24, interface: br0, pools: [10.0.0.100-10.0.0.199], domain: lab.rack.example}}
"""


class Rack:
    def __init__(self, it: Wires) -> None:
        self.wires, self.folder = it, it.folder
        (self.folder / "key").write_text(KEY)
        (self.folder / "provisioner.yaml").write_text(CONFIG.format(folder=self.folder))
        prefix = it.inside("server")
        self.bind = Bind(self.folder / "bind", 5353, "10.0.0.1", prefix)
        self.daemon: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = (sys.executable, "-m", "provisioner.entry", "--config", str(self.folder / "provisioner.yaml"))
        self.daemon = subprocess.Popen(self.wires.inside("server", *command), stderr=subprocess.PIPE, text=True)
        self.wires.running.append(self.daemon)
        self.until("daemon.ready")

    def until(self, text: str) -> str:
        """Read the daemon's log up to this."""
        assert self.daemon is not None
        assert self.daemon.stderr is not None
        said = []
        for line in self.daemon.stderr:
            said.append(line)
            if text in line:
                return line
        raise AssertionError("".join(said))

    def kill(self) -> None:
        """End the daemon at once, as a power cut would."""
        if self.daemon is not None:
            assert self.daemon.stderr is not None
            self.daemon.kill()
            self.daemon.wait()
            self.daemon.stderr.close()

    def ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "provisioner.cli", "--socket", str(self.folder / "api.sock"), *words)
        return subprocess.run(
            self.wires.inside("server", *command), capture_output=True, text=True, check=False, timeout=60
        )

    def names(self) -> list[tuple[str, str]]:
        """What doctor says of names."""
        done = self.ctl("doctor", "--no-bmcs", "-o", "json", "--wait", "0.1")
        return [(each["level"], each["text"]) for each in json.loads(done.stdout) if each["about"] == "names"]

    def dhclient(self, *words: str) -> str:
        files = (
            "-sf",
            str(report_script(self.folder)),
            "-lf",
            str(self.folder / "leases"),
            "-pf",
            str(self.folder / "pid"),
        )
        command = self.wires.inside("one", "timeout", "40", "dhclient", "-d", "-v", *files, *words, "eth0")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            assert process.stdout is not None
            said = []
            for line in process.stdout:
                said.append(line)
                if bound := re.match(r"bound to (\S+)|DHCPRELEASE of (\S+)", line):
                    if bound[1]:
                        process.terminate()
                    process.wait(20)  # after a release it ends by itself
                    return str(bound[1] or bound[2])
        raise AssertionError("".join(said))

    def records(self, name: str) -> Mapping[str, list[str]]:
        with inside(self.wires.names["server"]):
            return self.bind.records(name)


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Rack]:
    with wires(tmp_path) as it:
        it.add("server")
        it.bridge("server", "10.0.0.1/24", {"p1": "one"})
        it.ip("one", "link", "set", "eth0", "address", MAC)
        made = Rack(it)
        yield made
        made.bind.stop()
        made.kill()


def test_a_name_comes_and_goes_whoever_is_down_or_killed(rack: Rack) -> None:
    rack.start()
    assert rack.ctl("dhcp", "reserve", MAC, "10.0.0.60", "--name", "node5").returncode == 0
    assert rack.dhclient() == "10.0.0.60"  # nobody waits for the DNS, which is down
    assert "10.0.0.1 port 5353" in rack.until("dns.failed")
    ((level, text),) = rack.names()
    assert (level, text.endswith("0 addresses have names, 1 wait")) == ("FAIL", True), text
    rack.kill()
    rack.bind.start()
    rack.start()
    rack.until("dns.added name=node5.lab.rack.example. address=10.0.0.60")
    assert rack.records("node5.lab.rack.example.") == {"A": ["10.0.0.60"]}
    assert rack.records(POINTER) == {"PTR": ["node5.lab.rack.example."]}
    assert rack.names() == [("ok", "1 addresses have names, 0 wait")]
    assert rack.ctl("dhcp", "reserve", MAC, "10.0.0.60", "--name", "node6").returncode == 0
    rack.until("dns.added name=node6.lab.rack.example. address=10.0.0.60")  # at once, not with the next renewal
    assert rack.records("node5.lab.rack.example.") == {}
    rack.kill()
    rack.start()
    rack.wires.ip("one", "addr", "add", "10.0.0.60/24", "dev", "eth0")
    assert rack.dhclient("-r") == "10.0.0.60"
    rack.until("dns.removed name=node6.lab.rack.example. address=10.0.0.60")
    assert (rack.records("node6.lab.rack.example."), rack.records(POINTER)) == ({}, {})
