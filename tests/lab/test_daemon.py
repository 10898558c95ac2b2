"""What the daemon in the rack is told, and how machines get on its record."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from provisioner.config import load
from provisioner.lab import daemon
from provisioner.lab.hardware import Firmware
from tests.lab.test_spec import rack


def test_the_daemon_takes_its_configuration(tmp_path: Path) -> None:
    path = tmp_path / "provisioner.yaml"
    path.write_text(json.dumps(daemon.configuration(rack())))
    config = load(path)
    assert config.api.socket == "/rack/api.sock"
    assert [(subnet.interface, str(subnet.network)) for subnet in config.dhcp.subnets] == [("br0", "10.77.0.0/24")]


class Api:
    """A daemon that remembers whom it was told of."""

    def __init__(self, *names: str) -> None:
        self.machines = [{"name": name} for name in names]
        self.posted: list[dict[str, Any]] = []

    def get(self, path: str) -> Any:
        return {"machines": self.machines}

    def post(self, path: str, body: dict[str, Any], *, slow: bool) -> Any:
        self.posted.append(body)


def test_a_machine_is_enrolled_once() -> None:
    machine = rack().machines[2]
    api = Api()
    assert daemon.enrol(api, machine) is True
    assert api.posted == [
        {
            "name": "node19",
            "bmc": {
                "driver": "redfish", "host": "10.77.1.19", "port": 443, "username": "admin", "password": "secret",
            },
            "macs": ["52:54:00:77:00:19"],
            "boot_via": "http",
            "params": {"kernel.args": ["no_timer_check", "cryptomgr.notests", "norandmaps"]},
        }
    ]  # fmt: skip
    assert daemon.enrol(Api("node19"), machine) is False
    arm = replace(machine, identity=replace(machine.identity, firmware=Firmware.UEFI_ARM64))
    assert daemon.enrolment(arm)["params"] == {"kernel.args": ["cryptomgr.notests", "norandmaps"]}, (
        "it has no such timer"
    )


def test_the_end_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert daemon.last_line(log) == "it said nothing"
    log.write_text("first\nlast\n\n")
    assert daemon.last_line(log) == "last"
