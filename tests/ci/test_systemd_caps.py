"""The daemon with the capabilities that its unit gives it, and no more, says READY and serves a real DHCP client."""

from __future__ import annotations

import configparser
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.spaces import fresh

pytestmark = [pytest.mark.netns, pytest.mark.timeout(600)]

UNIT = Path(__file__).parents[2] / "systemd/provisioner.service"
READY_S = 100.0
"""Seconds of processor time for what it imports, of which a test beside others has a quarter."""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@pytest.fixture
def wire() -> Iterator[tuple[str, str]]:
    """Two namespaces, the daemon's and a client's, joined by a cable whose ends are called `eth0`."""
    ours, client = fresh("house-server"), fresh("house-client")
    for name in (ours, client):
        ip("netns", "add", name)
    try:
        ip("-n", ours, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", client)
        for name in (ours, client):
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", ours, "address", "add", "10.66.0.1/24", "dev", "eth0")
        yield ours, client
    finally:
        for name in (ours, client):
            ip("netns", "delete", name)


def confined() -> list[str]:
    """A prefix for commands: root's user id without root's powers, and the unit's capabilities."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(UNIT)
    names = [name.removeprefix("CAP_").lower() for name in unit["Service"]["CapabilityBoundingSet"].split()]
    capabilities = ",".join(["-all", *(f"+{name}" for name in names)])
    sets = [f"--{kind}={capabilities}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    return ["setpriv", "--securebits=+noroot", *sets, "--no-new-privs"]


@pytest.fixture
def daemon(wire: tuple[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A daemon that has told systemd (here: us) that it is ready."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(READY_S)
        program = [sys.executable, "-m", "provisioner.entry", "--interface", "eth0", "--state-dir", str(tmp_path)]
        process = subprocess.Popen(
            ["ip", "netns", "exec", wire[0], *confined(), *program, "--api-socket", str(tmp_path / "api.sock")],
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert f"READY=1\nMAINPID={process.pid}" in systemd.recv(4096).decode()
            yield process
        finally:
            process.kill()
            process.communicate()


def test_a_client_gets_an_address(daemon: subprocess.Popen[str], wire: tuple[str, str]) -> None:
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    assert "CapEff:\t0000000000002400" in status  # 1 << 10 | 1 << 13
    client = ["busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-s", "/bin/true", "-t", "60", "-T", "1"]
    result = subprocess.run(["ip", "netns", "exec", wire[1], *client], capture_output=True, text=True, check=False)
    assert "lease of 10.66.0." in result.stderr, result.stderr
    daemon.terminate()
    _, log = daemon.communicate(timeout=READY_S)
    assert daemon.returncode == 0
    assert " ERROR " not in log, log
    assert "dhcp.ack" in log
