"""`doctor` on wires of its own: the real daemon, and another DHCP server beside it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.spaces import fresh

ROOT = Path(__file__).parent.parent.parent
Found = list[tuple[str, str]]
NO_OFFER_S = "1.5"
"""Where nobody is to answer."""
OFFER_S = "4"
"""Where somebody is: half a second of it takes our own look at whether the address is in use."""


@dataclass(frozen=True, slots=True)
class Wire:
    """Two namespaces with a cable between them: ours with 10.213.7.1, the other with 10.213.7.2."""

    folder: Path
    ours: str
    other: str

    def run(self, name: str, *line: str, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(["ip", "netns", "exec", name, *line], text=True, **more)

    @property
    def config(self) -> Path:
        return self.folder / "provisioner.yaml"

    def doctor(self, wait_s: str = NO_OFFER_S) -> Found:
        """What it says where the daemon runs, with its configuration."""
        return self.found(self.ours, "--config", str(self.config), "--wait", wait_s)

    def found(self, name: str, *options: str) -> Found:
        line = [sys.executable, "-m", "provisioner.cli", "--socket", str(self.folder / "api.sock"), "doctor"]
        line += ["-o", "json", *options]
        said, _ = self.run(name, *line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).communicate(timeout=60)
        return [(finding["level"], finding["text"]) for finding in json.loads(said)]


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    made = Wire(tmp_path, fresh("webdoc-ours"), fresh("webdoc-other"))
    lines = [
        f"netns add {made.ours}",
        f"netns add {made.other}",
        f"-n {made.ours} link add we0 type veth peer name we1 netns {made.other}",
        f"-n {made.ours} addr add 10.213.7.1/24 dev we0",
        f"-n {made.other} addr add 10.213.7.2/24 dev we1",
        *(f"-n {name} link set {link} up" for name, link in ((made.ours, "we0"), (made.other, "we1"))),
        *(f"-n {name} link set lo up" for name in (made.ours, made.other)),
    ]
    for line in lines:
        subprocess.run(["ip", *line.split()], check=True)
    subnet = "{network: 10.213.7.0/24, interface: we0, pools: [10.213.7.100-10.213.7.150]}"
    loaders = tmp_path / "loaders"
    loaders.mkdir()
    (loaders / "snponly.efi").write_bytes(b"MZ" * 5000)
    made.config.write_text(
        f"store: {{state_dir: {tmp_path / 'state'}}}\napi: {{socket: {tmp_path / 'api.sock'}}}\n"
        f"http: {{tls_port: 8443}}\ncatalogue: {{loaders: [{loaders}]}}\ndhcp:\n  subnets:\n    - {subnet}\n"
    )
    yield made
    for name in (made.ours, made.other):
        subprocess.run(["ip", "netns", "del", name], check=True)


@contextmanager
def running(process: subprocess.Popen[str], says: str) -> Iterator[None]:
    """Wait until a daemon says on stderr that it serves; end it afterwards."""
    assert process.stderr is not None
    for line in process.stderr:
        if says in line:
            break
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        for pipe in (process.stdin, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait(timeout=30)


@pytest.mark.slow
@pytest.mark.netns
@pytest.mark.peer
def test_the_real_daemon_and_another_dhcp_server_are_told_apart(wire: Wire) -> None:
    daemon = [sys.executable, "-m", "provisioner.entry", "--config", str(wire.config)]
    rogue = [
        "dnsmasq",
        "-k",
        "--log-facility=-",
        "-C",
        "/dev/null",
        "-i",
        "we1",
        "--bind-interfaces",
        "--port=0",
        "--no-ping",
    ]
    rogue += ["--dhcp-range=10.213.7.200,10.213.7.210", "--dhcp-leasefile=/dev/null", "--pid-file="]
    with running(wire.run(wire.ours, *daemon, cwd=ROOT, stderr=subprocess.PIPE), "ready pid="):
        alone = wire.doctor(OFFER_S)
        with running(wire.run(wire.other, *rogue, stderr=subprocess.PIPE), "sockets bound exclusively"):
            disturbed = wire.doctor(OFFER_S)
    assert ("ok", "we0: 10.213.7.1 offers 10.213.7.100, to load snponly.efi") in alone
    assert [text for level, text in alone if "snponly.efi from" in text] == ["snponly.efi from 10.213.7.1: 9.8 KiB"] * 3
    assert not [text for _, text in alone if "another DHCP server" in text]
    rogues = [(level, text) for level, text in disturbed if "another DHCP server" in text]
    assert len(rogues) == 1
    assert rogues[0][0] == "FAIL"
    assert rogues[0][1].startswith("we0: another DHCP server, 10.213.7.2, offers 10.213.7.2")
    assert [level for level, text in disturbed if text.startswith("we0: 10.213.7.1 offers 10.213.7.1")] == ["ok"]


@pytest.mark.slow
@pytest.mark.netns
def test_ports_that_somebody_holds_are_named_while_the_daemon_is_down(wire: Wire) -> None:
    hold = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 67)); "
    hold += "import sys; print('held', file=sys.stderr, flush=True); sys.stdin.read()"
    line = [sys.executable, "-c", hold]
    with running(wire.run(wire.ours, *line, stdin=subprocess.PIPE, stderr=subprocess.PIPE), "held"):
        found = wire.doctor()
    assert found[0][0] == "FAIL"
    assert [level for level, text in found if "udp port 67 is held by python" in text] == ["warn"]
    assert ("FAIL", "we0: an unknown machine gets no offer from us, as the configuration says that it should") in found


@pytest.mark.slow
@pytest.mark.netns
@pytest.mark.peer
def test_what_is_served_is_fetched_also_where_strangers_are_not_answered(wire: Wire) -> None:
    """Machines on record are sent there, and a port that nothing gets through would keep them from booting."""
    wire.config.write_text(wire.config.read_text().replace("interface: we0,", "interface: we0, unknown: ignore,"))
    daemon = [sys.executable, "-m", "provisioner.entry", "--config", str(wire.config)]
    with running(wire.run(wire.ours, *daemon, cwd=ROOT, stderr=subprocess.PIPE), "ready pid="):
        found = wire.doctor()
    assert ("ok", "we0: an unknown machine gets no offer from us, as the configuration has it") in found
    assert [text for _, text in found if "snponly.efi from" in text] == ["snponly.efi from 10.213.7.1: 9.8 KiB"] * 3


@pytest.mark.slow
@pytest.mark.netns
def test_what_operators_have_changed_is_what_is_asked(wire: Wire) -> None:
    """As a take-over goes: the file says off until the next restart."""
    wire.config.write_text(wire.config.read_text().replace("interface: we0,", "interface: we0, mode: 'off',"))
    taken = wire.folder / "taken.yaml"
    taken.write_text("{network: 10.213.7.0/24, interface: we0, pools: [10.213.7.100-10.213.7.150]}")
    daemon = [sys.executable, "-m", "provisioner.entry", "--config", str(wire.config)]
    ctl = [sys.executable, "-m", "provisioner.cli", "--socket", str(wire.folder / "api.sock")]
    with running(wire.run(wire.ours, *daemon, cwd=ROOT, stderr=subprocess.PIPE), "ready pid="):
        before = wire.doctor()
        subprocess.run([*ctl, "dhcp", "subnet-set", str(taken)], check=True, cwd=ROOT)
        after = wire.doctor(OFFER_S)
    assert not [text for _, text in before if text.startswith("we0:")]
    assert ("ok", "we0: 10.213.7.1 offers 10.213.7.100, to load snponly.efi") in after


@pytest.mark.slow
@pytest.mark.netns
@pytest.mark.peer
def test_a_daemon_in_another_network_namespace_is_asked_there(wire: Wire) -> None:
    """Elsewhere its addresses are somebody else's: the cable is cut, so that nobody can answer from here."""
    daemon = [sys.executable, "-m", "provisioner.entry", "--config", str(wire.config)]
    with running(wire.run(wire.ours, *daemon, cwd=ROOT, stderr=subprocess.PIPE), "ready pid="):
        subprocess.run(["ip", "-n", wire.other, "link", "set", "we1", "down"], check=True)
        found = wire.found(wire.other)
    assert [text for _, text in found if "snponly.efi from" in text] == ["snponly.efi from 10.213.7.1: 9.8 KiB"] * 3


@pytest.mark.slow
@pytest.mark.netns
@pytest.mark.peer
def test_a_daemon_that_serves_ipv6_alone_is_asked_by_it(wire: Wire) -> None:
    subprocess.run(["ip", "-n", wire.ours, "addr", "del", "10.213.7.1/24", "dev", "we0"], check=True)
    subprocess.run(["ip", "-n", wire.ours, "addr", "add", "fd77::1/64", "dev", "we0", "nodad"], check=True)
    head, _, _ = wire.config.read_text().partition("dhcp:")
    subnet = "{network: 'fd77::/64', interface: we0, pools: ['fd77::1000-fd77::10ff']}"
    wire.config.write_text(f"{head}dhcp:\n  subnets6:\n    - {subnet}\n")
    daemon = [sys.executable, "-m", "provisioner.entry", "--config", str(wire.config)]
    with running(wire.run(wire.ours, *daemon, cwd=ROOT, stderr=subprocess.PIPE), "ready pid="):
        found = wire.doctor(OFFER_S)
    assert [text for _, text in found if "snponly.efi from" in text] == ["snponly.efi from fd77::1: 9.8 KiB"] * 3
    offers = [(level, text.partition(" offers ")[2]) for level, text in found if text.startswith("we0: fe80:")]
    assert offers == [("ok", "fd77::1000, to load tftp://[fd77::1]/snponly.efi")]


@pytest.mark.slow
@pytest.mark.netns
def test_an_ipv6_subnet_that_nobody_serves_is_a_fault(wire: Wire) -> None:
    subnet = "{network: 'fd77::/64', interface: we0, pools: ['fd77::1000-fd77::10ff']}"
    wire.config.write_text(f"{wire.config.read_text()}  subnets6:\n    - {subnet}\n")
    text = "we0: an unknown machine gets no IPv6 address from us, as the configuration says that it should"
    assert ("FAIL", text) in wire.doctor()
