"""NVRAM of an OVMF machine: boot entries that only firmware variables can say. Home of virt-firmware, run as a program.

virt-firmware is GPL-2.0-only; it is started, never imported.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

from provisioner.errors import LabError
from provisioner.lab.hardware import BootChoice
from provisioner.model.bmc import BootTarget

GLOBAL_VARIABLE = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
BOOT_TO_SETUP = "0100000000000000"
"""OsIndications with EFI_OS_INDICATIONS_BOOT_TO_FW_UI set (UEFI 2.10 section 8.5.4); firmware clears it."""
EDIT_S = 30.0


def needs_variables(choice: BootChoice) -> bool:
    """Whether this boot has to be written to NVRAM while the machine is off: the boot order cannot say it."""
    return choice.target is BootTarget.BIOS_SETUP or (choice.target is BootTarget.HTTP and bool(choice.uri))


async def write(variables: Path, choice: BootChoice) -> None:
    """Write `choice` for the next boot into the variable store; raise `LabError`."""
    if choice.target is BootTarget.BIOS_SETUP:
        wanted = variables.with_suffix(".json")
        entry = {"name": "OsIndications", "guid": GLOBAL_VARIABLE, "attr": 7, "data": BOOT_TO_SETUP}
        await asyncio.to_thread(wanted.write_text, json.dumps({"version": 2, "variables": [entry]}))
        await _edit(variables, "--set-json", str(wanted))
    else:
        await _edit(variables, "--set-boot-uri", choice.uri)


async def _edit(variables: Path, *arguments: str) -> None:
    program = await asyncio.to_thread(_program)
    process = await asyncio.create_subprocess_exec(
        program, "--loglevel", "error", "--inplace", str(variables), *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(EDIT_S):
        said, _ = await process.communicate()
    if process.returncode != 0:
        raise LabError(f"{variables}: virt-fw-vars failed: {said.decode('utf-8', 'replace').strip()[-200:]}")


def _program() -> str:
    beside = Path(sys.executable).with_name("virt-fw-vars")
    found = str(beside) if beside.exists() else shutil.which("virt-fw-vars")
    if found is None:
        raise LabError("virt-fw-vars is not installed", hint="pip install 'provisioner[lab]'")
    return found
