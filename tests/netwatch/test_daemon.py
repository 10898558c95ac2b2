"""The real daemon with a real rogue server and real hosts on its wire: what an operator gets to see of them."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from provisioner.cli.client import Client, UnixConnection
from provisioner.lab.process import wait_until
from provisioner.lifecycle.why import why
from provisioner.model.trace import Channel, TraceLine
from tests.dhcp.wires import Wires, report_script, told, wires
from tests.lifecycle.test_steps import at_step
from tests.netwatch.rig import LIMIT_S, dnsmasq, mac_of

pytestmark = [pytest.mark.netns, pytest.mark.peer, pytest.mark.slow]

CONFIG = """
store: {{state_dir: {folder}/state}}
api: {{socket: {folder}/api.sock}}
http: {{port: 8080}}
dhcp:
  watch_s: 5
  subnets:
    - network: 10.63.0.0/24
      interface: br0
      pools: [10.63.0.100-10.63.0.199]
      rogue: {rogue}
      probe: {probe}
"""


AHEAD = ("chrt", "-r", "10", sys.executable)
"""Before all else that runs here: a look that takes longer than `LIMIT_S` finds nobody, and both ends of it count.
It takes CAP_SYS_NICE, which root has not got in every container."""


class Daemon:
    """A daemon in the namespace "server" of some wires."""

    def __init__(
        self,
        lan: Wires,
        rogue: str = "report",
        *,
        probe: bool = True,
        command: tuple[str, ...] = (sys.executable,),
    ) -> None:
        self.lan = lan
        self.config = lan.folder / "provisioner.yaml"
        self.config.write_text(CONFIG.format(folder=lan.folder, rogue=rogue, probe=str(probe).lower()))
        self.process = lan.start("server", *command, "-m", "provisioner.entry", "--config", str(self.config))
        self._log = lan.folder / f"{Path(command[0]).name}.log"
        self.socket = str(lan.folder / "api.sock")
        self.client = Client(self.socket)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def says(self, text: str) -> None:
        """Wait until the log has this."""
        assert wait_until(lambda: text in self.log, LIMIT_S), self.log

    def events(self) -> list[str]:
        found: list[str] = [event["type"] for event in self.client.get("/v1/events")["events"]]
        return found

    def metrics(self) -> dict[str, float]:
        connection = UnixConnection(Path(self.socket), LIMIT_S)
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()
        return {name: float(value) for name, _, value in (x.rpartition(" ") for x in lines if not x.startswith("#"))}

    def control(self, *words: str) -> list[dict[str, Any]]:
        line = ("-m", "provisioner.cli", "--socket", self.socket, *words, "-o", "json")
        command = self.lan.inside("server", sys.executable, *line)
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
        found: list[dict[str, Any]] = json.loads(said)
        return found


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Wires]:
    """Our namespace with a bridge, and two others on it."""
    with wires(tmp_path) as it:
        it.add("server")
        it.bridge("server", "10.63.0.1/24", {"p1": "one", "p2": "two"})
        yield it


def udhcpc(lan: Wires, client: str, *more: str) -> dict[str, str]:
    """Get a lease."""
    script = str(report_script(lan.folder))
    lan.run(client, "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "5", "-T", "2", "-A", "1", "-s", script, *more)
    return told(lan.folder)


def test_a_rogue_server_is_an_event_a_metric_a_finding_and_a_reason(lan: Wires) -> None:
    lan.ip("two", "addr", "add", "10.63.0.66/24", "dev", "eth0")
    dnsmasq(lan, "two", "10.63.0.200", "10.63.0.250")
    daemon = Daemon(lan, "fallback")
    daemon.says("dhcp.fallback")
    mac = mac_of(lan, "two")
    assert wait_until(lambda: daemon.events()[-2:] == ["dhcp.rogue", "dhcp.fallback"], LIMIT_S), daemon.events()
    metrics = daemon.metrics()
    assert metrics['provisioner_dhcp_rogue_servers{place="br0"}'] == 1
    assert metrics['provisioner_dhcp_fallback{subnet="10.63.0.0/24"}'] == 1
    assert metrics["provisioner_netwatch_up"] == 1
    seen = daemon.client.get("/v1/network")
    assert (seen["fault"], seen["deaf"], seen["fallbacks"]) == ("", {}, {"10.63.0.0/24": "10.63.0.66"})
    assert [(each["server"], each["mac"], each["answers"]) for each in seen["rogues"]] == [("10.63.0.66", mac, True)]
    found = daemon.control("doctor", "--config", str(daemon.config), "--wait", "0.5", "--no-bmcs")
    rogue = {finding["level"]: finding["text"] for finding in found if finding["about"] == "rogue"}
    assert rogue["FAIL"].startswith(f"br0: rogue DHCP server 10.63.0.66 ({mac}) offered an address, last at ")
    assert rogue["warn"] == "10.63.0.0/24: only boot information is served, as a proxy of the rogue server 10.63.0.66"
    got = udhcpc(lan, "one")
    assert got["serverid"] == "10.63.0.66", "as a proxy we leave addresses to the other server"
    (shown,) = daemon.control("dhcp", "subnets")
    assert (shown["mode"], shown["fallback"]) == ("authoritative", "10.63.0.66")
    daemon.process.kill()
    daemon.process.wait(20)
    before = len(daemon.log)
    again = Daemon(lan, "fallback")
    assert wait_until(lambda: "daemon.ready" in again.log[before:], LIMIT_S)
    assert "dhcp.fallback" in again.log[before:].partition("daemon.ready")[0], "a proxy from its first packet on"


def test_a_machine_that_takes_a_rogue_servers_offer_says_so_in_its_trace(lan: Wires) -> None:
    """It is what `why` reads: the other server is faster, since it looks for nobody."""
    lan.ip("two", "addr", "add", "10.63.0.66/24", "dev", "eth0")
    daemon = Daemon(lan)
    daemon.says("netwatch.up")
    dnsmasq(lan, "two", "10.63.0.200", "10.63.0.250")
    log = lan.folder / "dnsmasq.log"
    assert wait_until(lambda: "DHCP, sockets bound" in log.read_text(), LIMIT_S), log.read_text()
    numbers = itertools.count()

    def took_theirs() -> bool:
        """As a machine that we do not know: we are slow only where we look whether somebody uses its address."""
        lan.ip("one", "link", "set", "eth0", "address", f"52:54:00:63:00:{next(numbers) & 0xFF:02x}")
        return udhcpc(lan, "one").get("serverid") == "10.63.0.66"

    assert wait_until(took_theirs, LIMIT_S)
    mac = mac_of(lan, "one")
    daemon.says(f"mac={mac} REQUEST on br0: the client chose another server, 10.63.0.66")
    lines = [TraceLine(**line) for line in _shown(daemon, mac)]
    assert why(at_step("wait.dhcp"), lines, time.time()).id == "two-dhcp-servers", lines
    assert wait_until(lambda: "dhcp.rogue" in daemon.events(), LIMIT_S)  # it is told beside what the machine waits for


def _shown(daemon: Daemon, mac: str) -> list[dict[str, Any]]:
    """A machine's trace, as fields of its lines."""
    kept = {"event", "text", "ok"}
    shown = daemon.client.get(f"/v1/machines/{mac}/trace")["trace"]
    return [{"at": 1.0, "channel": Channel.DHCP, **{k: v for k, v in line.items() if k in kept}} for line in shown]


def test_an_address_that_a_host_uses_is_not_offered_and_kept_out_of_use(lan: Wires) -> None:
    lan.ip("two", "addr", "add", "10.63.0.100/24", "dev", "eth0")
    daemon = Daemon(lan, command=AHEAD)
    daemon.says("netwatch.up")
    assert udhcpc(lan, "one")["ip"] == "10.63.0.101"
    assert f"{mac_of(lan, 'two')} uses 10.63.0.100 already" in daemon.log
    metrics = daemon.metrics()
    assert metrics['provisioner_address_looks_total{result="used"}'] == 1
    assert metrics['provisioner_dhcp_events_total{event="dhcp.conflict"}'] == 1
    assert metrics['provisioner_dhcp_pool_declined_addresses{pool="10.63.0.0/24"}'] == 1


def test_an_address_that_a_real_client_declines_is_kept_out_of_use_with_its_reason(lan: Wires) -> None:
    lan.ip("two", "addr", "add", "10.63.0.100/24", "dev", "eth0")
    daemon = Daemon(lan, probe=False)
    daemon.says("netwatch.up")
    assert udhcpc(lan, "one", "-a")["ip"] == "10.63.0.101"
    leases = daemon.client.get("/v1/dhcp/leases", {"state": "declined"})["leases"]
    reason = f"declined by {mac_of(lan, 'one')}: somebody else uses it"
    assert [(lease["address"], lease["state"], lease["reason"]) for lease in leases] == [
        ("10.63.0.100", "declined", reason)
    ]
    looks = {name: value for name, value in daemon.metrics().items() if name.startswith("provisioner_address_looks")}
    assert len(looks) == 5
    assert set(looks.values()) == {0.0}, "the subnet spares them"


def test_a_machine_that_still_has_its_address_gets_it_again(lan: Wires) -> None:
    """It came back without its lease, or we lost it: the host that answers is the one that asks."""
    lan.ip("one", "addr", "add", "10.63.0.100/24", "dev", "eth0")
    daemon = Daemon(lan, command=AHEAD)
    daemon.says("netwatch.up")
    script = lan.folder / "quiet"
    script.write_text(f"#!/bin/sh\nenv >> {lan.folder}/told\n")
    script.chmod(0o755)
    lan.run("one", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "5", "-T", "2", "-s", str(script))
    assert told(lan.folder)["ip"] == "10.63.0.100"
    assert daemon.metrics()['provisioner_address_looks_total{result="used"}'] == 1


def test_netwatch_is_killed_and_machines_get_addresses_all_the_same(lan: Wires) -> None:
    daemon = Daemon(lan)
    daemon.says("netwatch.up")
    (pid,) = [int(line.rpartition("pid=")[2]) for line in daemon.log.splitlines() if "netwatch.up" in line]
    os.kill(pid, signal.SIGKILL)
    assert udhcpc(lan, "one")["ip"] == "10.63.0.100"
    daemon.says("netwatch.died")
    assert wait_until(lambda: daemon.log.count("netwatch.up") == 2, LIMIT_S)
    assert daemon.metrics()["provisioner_netwatch_restarts_total"] == 1
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(20) == 0
    daemon.says("daemon.stopped")


def capabilities(pid: int) -> tuple[str, str]:
    """What a process may do now, and what programs that it starts inherit."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = dict(line.split(":\t") for line in lines if line.startswith("Cap"))
    return found["CapEff"], found["CapAmb"]


def rights_of_children(parent: int) -> dict[int, str]:
    """What its children may do now; threads and children come and go meanwhile."""
    found = {}
    for task in Path(f"/proc/{parent}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            for pid in (task / "children").read_text().split():
                found[int(pid)] = capabilities(int(pid))[0]
    return found


NET_RAW, BIND = 1 << 13, 1 << 10


def test_of_all_processes_of_a_daemon_without_root_only_netwatch_may_open_raw_sockets(lan: Wires) -> None:
    """As under systemd: it has two capabilities, and keeps them to itself. (Root means nothing to the kernel here.)"""
    both = "-all,+net_raw,+net_bind_service"
    rights = (f"--{which}={both}" for which in ("inh-caps", "ambient-caps", "bounding-set"))
    daemon = Daemon(lan, command=("setpriv", "--securebits=+noroot", *rights, sys.executable))
    daemon.says("netwatch.up")
    assert capabilities(daemon.process.pid) == (f"{NET_RAW | BIND:016x}", "0" * 16)
    assert wait_until(lambda: len(rights_of_children(daemon.process.pid)) >= 3, LIMIT_S)
    may = rights_of_children(daemon.process.pid)
    assert sorted(may.values())[-1] == f"{NET_RAW:016x}"
    assert sum(rights != "0" * 16 for rights in may.values()) == 1
    assert len(may) >= 3, "the renderer, the worker for IPMI and netwatch"
    assert udhcpc(lan, "one")["ip"] == "10.63.0.100"
