"""Real firmware on a wire with a real DHCP server and our daemon as its proxy: from power-on to the boot script."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.cli.client import Client
from provisioner.errors import ApiError
from provisioner.lab import control, namespace, process
from provisioner.lab.daemon import configuration
from provisioner.lab.spec import RackSpec
from tests.dhcp.existing import EXISTING
from tests.dhcp.wires import Wires, run, wires
from tests.lab.racks import rack_of
from tests.share import in_gate

pytestmark = [pytest.mark.lab, pytest.mark.timeout(2400, func_only=True)]

BOOT_S, READY_S = 1000.0, 180.0
HOW = {
    "node17": {"dhcp", "http"},  # BIOS with an iPXE ROM: its script at once
    "node18": {"dhcp", "4011", "tftp", "http"},  # UEFI PXE: port 4011, iPXE by TFTP, its script
    "node19": {"dhcp", "http"},  # UEFI HTTP: iPXE by HTTP, its script
}


@pytest.fixture(scope="module")
def racked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RackSpec]:
    """A rack with three machines and no daemon."""
    with rack_of("provlab-proxy", tmp_path_factory.mktemp("rack")) as spec:
        yield spec


@pytest.fixture
def there(racked: RackSpec, tmp_path: Path) -> Iterator[Wires]:
    """A namespace for the server that is there already, with a cable to the rack's bridge."""
    with wires(tmp_path) as it:
        it.add("existing")
        peer = ("peer", "name", "eth0", "netns", it.names["existing"])
        run("ip", "link", "add", "other0", "netns", racked.name, "type", "veth", *peer)
        run("ip", "-n", racked.name, "link", "set", "other0", "master", namespace.BRIDGE, "up")
        it.ip("existing", "link", "set", "eth0", "up")
        it.ip("existing", "addr", "add", "10.77.0.2/24", "dev", "eth0")
        yield it
        run("ip", "-n", racked.name, "link", "del", "other0")  # the kernel takes its time with a namespace that ended


@contextlib.contextmanager
def started(command: list[str], log: Path, until: str, environment: dict[str, str] | None = None) -> Iterator[None]:
    """A program that said `until`, as long as the context lasts."""
    with log.open("w") as said:
        child = subprocess.Popen(command, env=os.environ | (environment or {}), stdout=said, stderr=said)
    try:
        assert process.wait_until(lambda: until in log.read_text(), READY_S), log.read_text()
        yield
    finally:
        child.terminate()
        child.wait(30)


def as_proxy(rack: RackSpec, folder: Path) -> Path:
    """The configuration of our daemon: as in the rack, but beside another server."""
    config = configuration(rack)
    (subnet,) = config["dhcp"]["subnets"]
    for name in ("pools", "dns", "domain"):
        del subnet[name]
    subnet["mode"] = "proxy"
    for named in (*config["catalogue"]["paths"], *config["catalogue"]["loaders"]):
        Path(named).mkdir(exist_ok=True)
    config["store"]["state_dir"] = str(folder / "daemon")
    config["api"]["socket"] = str(folder / "api.sock")
    file = folder / "provisioner.yaml"
    file.write_text(json.dumps(config))
    return file


def trace(client: Client, mac: str) -> list[dict[str, Any]]:
    """What was seen of a machine so far."""
    try:
        lines: list[dict[str, Any]] = client.get(f"/v1/machines/{mac}/trace")["trace"]
    except ApiError:  # nothing was heard of it yet
        return []
    return lines


@pytest.mark.parametrize("which", in_gate(EXISTING, "dnsmasq"))
def test_firmware_boots_from_us_with_an_address_from_another_server(
    racked: RackSpec, there: Wires, tmp_path: Path, which: str
) -> None:
    existing = EXISTING[which](tmp_path, "eth0", "10.77.0")
    other = there.inside("existing", *existing.command)
    line = (sys.executable, "-m", "provisioner.entry", "--config", str(as_proxy(racked, tmp_path)))
    with (
        started(other, tmp_path / "existing.log", existing.ready, existing.environment),
        started(namespace.inside(racked.name, *line), tmp_path / "daemon.log", "daemon.ready"),
    ):
        client, macs = Client(str(tmp_path / "api.sock")), {name: racked.machine(name).identity.macs[0] for name in HOW}

        def scripts() -> set[str]:
            """Machines that asked for their boot script and were let: there is no discovery system to boot here."""
            return {name for name in HOW for x in trace(client, macs[name]) if x["event"] == "http.script.missing"}

        try:
            for name in HOW:
                control.ask(racked.control, "power", machine=name, verb="on")
            met = process.wait_until(lambda: scripts() == set(HOW), BOOT_S, tick_s=1.0)
        finally:
            for name in HOW:
                control.ask(racked.control, "power", machine=name, verb="off")
        told = {name: [(x["channel"], x["event"], x["text"]) for x in trace(client, mac)] for name, mac in macs.items()}
        assert met, told
        assert {name: {channel for channel, _, _ in lines} for name, lines in told.items()} == HOW
        leases = [text for lines in told.values() for _, event, text in lines if event in ("dhcp.nak", "dhcp.conflict")]
        assert leases == []
