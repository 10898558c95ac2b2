"""Installs from packages, for real: the discovery system divides the disks and bootstraps Debian from a mirror in the
rack; the machine restarts from its disk, is opened by its passphrase, and reports.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provisioner.cli.client import Client
from provisioner.lab import process
from provisioner.lab.daemon import log_of
from provisioner.lab.hardware import Firmware
from provisioner.lab.spec import GATEWAY, state_of
from tests.lab.driven import BUILD_S, CALL_S, KEPT, Driven, driven
from tests.lab.racks import Screen, web

NAME = "provlab-packages"
BOOTENV = "debian-12-packages"
KINDS = (Firmware.BIOS, Firmware.UEFI_PXE, Firmware.UEFI_HTTP)
PASSPHRASE = "correct horse 'battery' $(staple)"
LIMIT_S = 2400.0
pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(5 * LIMIT_S + 10 * CALL_S, func_only=True)]
REPORT = """
{
    echo "@@ root $(findmnt -no SOURCE,FSTYPE /)"
    echo "@@ disks $(lsblk -nro NAME,TYPE | sort -u | tr ' \\n' ': ')"
    echo "@@ address $(ip -br -4 address | tr -s ' \\n' ' ,')"
    echo "@@ route $(ip route show default)"
    echo "@@ arrays $(cat /proc/mdstat 2>/dev/null | grep -c "active raid1")"
    echo "@@ user $(id -Gn ada) $(stat -c %a /home/ada/.ssh/authorized_keys)"
    echo "@@ failed $(systemctl --failed --plain --no-legend | tr -s ' \\n' ' ,')"
    echo "@@ end"
} >/dev/console
"""
EVERY = {
    "bootstrap.sources": [f"deb [trusted=yes] http://{GATEWAY}:8000/ ./"],
    "bootstrap.kernel": "linux-image-cloud-amd64",
    "bootstrap.base": [],
    "bootstrap.initramfs": "dep",
    "system.locale": "C.UTF-8",
    "hooks.first_boot": [REPORT],
    "users.accounts": [
        {"name": "ada", "full_name": "Ada L.", "groups": ["adm"], "sudo": True, "ssh_keys": ["ssh-ed25519 AAAA ada"]}
    ],
}
BOND = {
    "name": "bond0", "match": {"driver": "virtio*"}, "count": 2, "mode": "active-backup",
    "addresses": ["10.77.0.60/24"], "gateway": GATEWAY,
}  # fmt: skip
BONDED = {"disk.layout": "lvm", "disk.swap": "256MiB", "net.interfaces": [], "net.bonds": [BOND]}
MIRRORED = {"disk.layout": "raid1", "disk.encryption": "passphrase", "disk.passphrase": "env:LAB_PASSPHRASE"}


@dataclass(frozen=True, slots=True)
class Profile:
    """How a machine is installed, and what it then says of itself."""

    params: dict[str, Any]
    says: tuple[str, ...]
    passphrase: str = ""


PROFILES = {
    "node17": Profile(
        BONDED,
        (r"root /dev/mapper/system-root ext4", r"disks .*system-root:lvm system-swap:lvm",
         r"address .*bond0 UP 10\.77\.0\.60/24", r"route default via 10\.77\.0\.1 dev bond0"),
    ),
    "node18": Profile({}, (r"root /dev/vda2 ext4", r"address .* UP 10\.77\.0\.1\d\d/24", r"arrays 0")),
    "node19": Profile(
        MIRRORED,
        (r"root /dev/mapper/crypt-root ext4", r"disks .*crypt-root:crypt .*md1:raid1", r"arrays 2"),
        PASSPHRASE,
    ),
}  # fmt: skip
ALIKE = (r"user ada adm 600", r"failed \r?\n")


@pytest.fixture(scope="module")
def racked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    """The rack with three machines, its daemon, and a mirror."""
    log = tmp_path_factory.mktemp("mirror") / "mirror.log"
    os.environ["PROVISIONER_SECRET_LAB_PASSPHRASE"] = PASSPHRASE
    with driven(NAME, "--kinds", ",".join(KINDS), "--disks", "2", "--ports", "2") as lab:
        lab.store("discovery", "--kernel", "virtual")
        lab.control("images", "build", "mirror", limit_s=BUILD_S)
        lab.store(BOOTENV, build="toolbox")
        with web(lab.spec, mirror(), log):
            yield lab


def mirror() -> Path:
    """Where the packages lie."""
    folder = KEPT / "provisioner" / "images" / "mirror"
    return next(place for place in folder.iterdir() if place.is_dir() and not place.name.startswith("."))


def install(lab: Driven, *names: str) -> None:
    """Discover the machines and install them, all at once; they are active in the end, and say what they should."""
    client = Client(str(state_of(NAME) / "api.sock"))
    lab.control("discover", ",".join(names), "--wait", limit_s=LIMIT_S)
    screens = {name: Screen(lab.spec, name) for name in names}
    for name in names:
        screens[name].skip()
        given = {"bootenv": BOOTENV, "params": EVERY | PROFILES[name].params}
        client.post(f"/v1/machines/{name}/boot", given, slow=True)
    for name in (name for name in names if PROFILES[name].passphrase):
        screens[name].expect("unlock disk", LIMIT_S)
        client.open("POST", f"/v1/machines/{name}/console", f"{PROFILES[name].passphrase}\n".encode()).close()

    def over() -> bool:
        return all((lab.machine(name)["run"] or {}).get("outcome") != "running" for name in names)

    assert process.wait_until(over, LIMIT_S, tick_s=1.0), log_of(lab.spec).read_text()[-4000:]
    assert {name: lab.machine(name)["state"] for name in names} == dict.fromkeys(names, "active"), [
        lab.trace(name)[-30:] for name in names
    ]
    for name, screen in screens.items():
        said = screen.expect(r"(?s)@@ root.*@@ end", LIMIT_S)
        missing = [line for line in (*PROFILES[name].says, *ALIKE) if not re.search(rf"@@ {line}", said)]
        assert missing == [], said


def test_lvm_and_a_bond_with_a_static_address_on_bios(racked: Driven) -> None:
    install(racked, "node17")


def test_plain_on_uefi_and_a_mirror_that_is_encrypted(racked: Driven) -> None:
    install(racked, "node18", "node19")
