"""The systemd units: systemd itself finds no fault with them, and what they may do is little."""

from __future__ import annotations

import configparser
import re
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
MAX_EXPOSURE = 2.5


def run(*command: str | Path) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    return output


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as on a machine where the daemon is installed: their programs exist."""
    for unit in UNITS.glob("*.*"):
        if unit.is_file():
            program = tmp_path / "program"
            program.write_text("#!/bin/sh\n")
            program.chmod(0o755)
            (tmp_path / unit.name).write_text(re.sub(r"(?m)^(Exec\w+=)\S+", rf"\1{program}", unit.read_text()))
    return tmp_path


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_systemd_finds_no_fault(unit: Path, installed: Path) -> None:
    assert run("systemd-analyze", "verify", "--man=no", installed / unit.name) == ""


def test_systemd_would_find_a_fault(installed: Path) -> None:
    unit = installed / "provisioner.service"
    unit.write_text(unit.read_text().replace("[Service]", "[Service]\nProtectSytem=strict"))
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert "ProtectSytem" in result.stderr


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_exposure_is_low(unit: Path) -> None:
    threshold = f"--threshold={MAX_EXPOSURE * 10:.0f}"
    assert "Overall exposure level" in run("systemd-analyze", "security", "--offline=true", threshold, unit)


def test_capabilities_are_two() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(UNITS / "provisioner.service")
    allowed = {"CAP_NET_BIND_SERVICE", "CAP_NET_RAW"}
    for setting in ("AmbientCapabilities", "CapabilityBoundingSet"):
        assert set(unit["Service"][setting].split()) == allowed


def test_only_the_daemon_is_told_to_stop() -> None:
    assert re.search(r"^KillMode=mixed$", (UNITS / "provisioner.service").read_text(), re.MULTILINE)


def listed(group: str) -> set[str]:
    """The system calls of one of systemd's groups, and of those in it."""
    names = re.findall(r"(?m)^ +([@a-z]\S*)", run("systemd-analyze", "syscall-filter", group))
    return set().union(*(listed(name) if name.startswith("@") else {name} for name in names))


def test_its_socket_may_be_given_to_a_group() -> None:
    """The filter's lines add and take away in their order (systemd.exec(5)); chown is in the group `@privileged`."""
    allowed: set[str] = set()
    for names in re.findall(r"(?m)^SystemCallFilter=(.*)$", (UNITS / "provisioner.service").read_text()):
        allowed = allowed - listed(names[1:]) if names.startswith("~") else allowed | listed(names)
    assert {"chown", "fchownat", "bind", "sendmmsg"} <= allowed
    assert not {"setuid", "chroot", "mount", "init_module", "ptrace"} & allowed


def test_its_user_and_directories_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    run("systemd-sysusers", f"--root={tmp_path}", UNITS / "sysusers.d/provisioner.conf")
    passwd = (tmp_path / "etc/passwd").read_text()
    assert re.search(r"^provisioner:.*:/var/lib/provisioner:/usr/sbin/nologin$", passwd, re.MULTILINE)
    run("systemd-tmpfiles", "--create", f"--root={tmp_path}", UNITS / "tmpfiles.d/provisioner.conf")
    assert (tmp_path / "etc/provisioner").stat().st_mode & 0o777 == 0o750
