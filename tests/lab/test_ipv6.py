"""Real firmware boots over IPv6 alone: PXE by TFTP, and HTTP, then iPXE and the discovery system. No IPv4 is served."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.cli.client import Client
from provisioner.lab import rack
from provisioner.lab.daemon import log_of
from provisioner.lab.hardware import Firmware
from provisioner.lab.spec import RackSpec, state_of
from tests.lab.racks import Screen

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
CONTROL = str(Path(sys.executable).with_name("provisionctl"))
NAME = "provlab-ipv6"
KEPT = ROOT / ".lab"
BUILD_S, BOOT_S, CALL_S = 600.0, 600.0, 60.0
MACHINES = ("node17", "node18")


def control(*arguments: str, limit_s: float = CALL_S) -> str:
    """Run provisionctl against the rack's daemon; what it said on stdout."""
    environment = os.environ | {"XDG_CACHE_HOME": str(KEPT), "PROVISIONER_SOCKET": str(state_of(NAME) / "api.sock")}
    done = subprocess.run(
        [CONTROL, *arguments], env=environment, capture_output=True, text=True, timeout=limit_s, check=False, cwd=ROOT
    )
    assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def machine(name: str) -> dict[str, Any]:
    """What the API says of a machine."""
    found: dict[str, Any] = Client(str(state_of(NAME) / "api.sock")).get(f"/v1/machines/{name}")
    return found


@pytest.fixture(scope="module")
def racked() -> Iterator[RackSpec]:
    """The rack with its daemon, which has the discovery system; machines have been discovered."""
    try:
        control("lab", "up", "--name", NAME, "--ipv6", "--machines", str(len(MACHINES)))
        control("images", "build", "discovery", "--kernel", "virtual", limit_s=BUILD_S)
        folder = KEPT / "provisioner" / "images" / "discovery"
        for item in json.loads((folder / "manifest.json").read_text())["artifacts"]:
            path = str(folder / item["path"])
            control("artifacts", "import", f"discovery/{item['name']}", path, "--sha256", item["sha256"])
        control("discover", ",".join(MACHINES), "--wait", limit_s=BOOT_S)
        yield rack.find(state_of(NAME))
    finally:
        control("lab", "down", "--name", NAME)


def test_machines_are_discovered_over_ipv6_alone(racked: RackSpec) -> None:
    assert [racked.machine(name).identity.firmware for name in MACHINES] == [Firmware.UEFI_PXE6, Firmware.UEFI_HTTP6]
    for name in MACHINES:
        Screen(racked, name).expect("discovery system", limit_s=1.0)
        assert machine(name)["state"] == "ready", log_of(racked).read_text()[-4000:]
        assert machine(name)["facts"]["serial"] == f"LAB00{name[-2:]}"


STEPS = {
    "node17": ("tftp.done", "snponly.efi"),
    "node18": ("http.sent", "snponly.efi"),
}


@pytest.mark.parametrize("name", MACHINES)
def test_the_trace_tells_who_asked_and_what_was_answered(racked: RackSpec, name: str) -> None:
    """Firmware and iPXE write the machine's UUID in different orders, and are the same machine."""
    said = json.loads(control("trace", name, "-o", "json"))
    lines = said if isinstance(said, list) else said["lines"]
    seen = [(line["event"], line["text"]) for line in lines]
    event, file = STEPS[name]
    assert any(each == event and file in text for each, text in seen)
    assert {"dhcp6.advertise", "dhcp6.reply", "http.script"} <= {each for each, _ in seen}
    assert not any(each.startswith("dhcp.") for each, _ in seen)
    booted = [text.split()[4].rstrip(",") for each, text in seen if each == "dhcp6.reply" and "inspecting" in text]
    assert len(set(booted)) == 1, "firmware, loader and system have one address"
