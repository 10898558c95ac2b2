"""What is written into the NVRAM of an OVMF machine, as virt-firmware itself reads it."""

from __future__ import annotations

import asyncio
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.errors import LabError
from provisioner.lab import nvram
from provisioner.lab.builds import BUILDS
from provisioner.lab.hardware import BootChoice, Firmware, Identity
from provisioner.model.bmc import BootTarget
from provisioner.model.net import Mac

pytestmark = pytest.mark.peer
UEFI = Identity("node17", "u", "s", (Mac("52:54:00:77:00:17"),), Firmware.UEFI_HTTP)


async def listed(variables: Path) -> str:
    """The variables, for people."""
    program = str(Path(sys.executable).with_name("virt-fw-vars"))
    process = await asyncio.create_subprocess_exec(
        program, "--input", str(variables), "--print", "--verbose", stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    return said.decode()


@pytest.fixture
def variables(tmp_path: Path) -> Path:
    """A machine's variables as they come."""
    flash = BUILDS[Firmware.UEFI_HTTP].flash
    assert flash is not None
    return Path(shutil.copy(flash.variables, tmp_path / "nvram.fd"))


@pytest.mark.slow
async def test_a_uri_for_the_next_boot(variables: Path) -> None:
    await nvram.write(variables, UEFI, BootChoice(BootTarget.HTTP, "http://10.77.0.1/x.efi"))
    found = await listed(variables)
    assert "BootNext" in found
    assert "http://10.77.0.1/x.efi" in found


@pytest.mark.slow
async def test_http_over_ipv6_for_the_next_boot(variables: Path) -> None:
    """Firmware would try IPv4 first, for a minute."""
    await nvram.write(variables, replace(UEFI, firmware=Firmware.UEFI_HTTP6), BootChoice(BootTarget.HTTP))
    found = await listed(variables)
    assert "BootNext" in found
    assert "PciRoot()/PCI(dev=10:0)/MAC()/IPv6()/URI()" in found


@pytest.mark.slow
async def test_setup_at_the_next_boot(variables: Path) -> None:
    await nvram.write(variables, UEFI, BootChoice(BootTarget.BIOS_SETUP))
    assert "OsIndications" in await listed(variables)


async def test_what_is_no_variable_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nvram.fd").write_bytes(b"not a variable store")
    with pytest.raises(LabError, match="virt-fw-vars failed"):
        await nvram.write(tmp_path / "nvram.fd", UEFI, BootChoice(BootTarget.BIOS_SETUP))


async def test_an_editor_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = tmp_path / "virt-fw-vars"
    editor.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 600\n")
    editor.chmod(0o755)
    monkeypatch.setattr(nvram, "_program", lambda: str(editor))
    monkeypatch.setattr(nvram, "EDIT_S", 1.0)
    with pytest.raises(LabError, match="did not end within 1 s"):
        await nvram.write(tmp_path / "nvram.fd", UEFI, BootChoice(BootTarget.BIOS_SETUP))
    told = tmp_path / "pid"
    if pid := told.read_text().strip() if told.exists() else "":  # it had begun
        assert not Path("/proc", pid).exists()
