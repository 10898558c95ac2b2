"""NVRAM of an OVMF machine: boot entries that only firmware variables can say. Home of virt-firmware, run as a program.

virt-firmware is GPL-2.0-only; it is started, never imported.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import struct
import sys
from pathlib import Path

from provisioner.errors import LabError
from provisioner.lab.hardware import BootChoice, Firmware, Identity
from provisioner.lab.qemu import NIC_SLOT
from provisioner.model.bmc import BootTarget

GLOBAL_VARIABLE = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
BOOT_TO_SETUP = "0100000000000000"
"""OsIndications with EFI_OS_INDICATIONS_BOOT_TO_FW_UI set (UEFI 2.10 section 8.5.4); firmware clears it."""
EDIT_S = 120.0
"""It takes half a second; a machine that emulates a whole rack may be a hundred times as slow."""
OWN_ENTRY = 0x0606
"""Number of our boot entry: firmware counts its own from 0."""
PCI_ROOT = 0x0A0341D0
"""PNP0A03, as device paths compress it."""
LOAD_OPTION_ACTIVE = 1


def needs_variables(identity: Identity, choice: BootChoice) -> bool:
    """Whether this boot has to be written to NVRAM while the machine is off: the boot order cannot say it.

    Over IPv6, OVMF would first wait a minute for somebody to answer its HTTP boot over IPv4.
    """
    if choice.target is BootTarget.HTTP:
        return bool(choice.uri) or identity.firmware is Firmware.UEFI_HTTP6
    return choice.target is BootTarget.BIOS_SETUP


async def write(variables: Path, identity: Identity, choice: BootChoice) -> None:
    """Write `choice` for the next boot into the variable store; raise `LabError`."""
    if choice.target is BootTarget.HTTP and choice.uri:
        await _edit(variables, "--set-boot-uri", choice.uri)
        return
    wanted = variables.with_suffix(".json")
    entries = {"OsIndications": BOOT_TO_SETUP}
    if choice.target is BootTarget.HTTP:
        entries = {f"Boot{OWN_ENTRY:04X}": http6_entry(identity), "BootNext": OWN_ENTRY.to_bytes(2, "little").hex()}
    found = [{"name": name, "guid": GLOBAL_VARIABLE, "attr": 7, "data": data} for name, data in entries.items()]
    await asyncio.to_thread(wanted.write_text, json.dumps({"version": 2, "variables": found}))
    await _edit(variables, "--set-json", str(wanted))


def http6_entry(identity: Identity) -> str:
    """Write the load option of HTTP boot over IPv6 on the first port, as OVMF makes it by itself (UEFI 2.10, 3.1.3).

    PciRoot(0)/Pci(slot,0)/MAC(address,1)/IPv6(any, prefix of 64)/Uri().
    """
    mac = bytes.fromhex(identity.macs[0].replace(":", ""))
    path = b"".join(
        (
            _node(2, 1, struct.pack("<II", PCI_ROOT, 0)),
            _node(1, 1, bytes((0, NIC_SLOT))),
            _node(3, 11, mac.ljust(32, b"\0") + b"\1"),
            _node(3, 13, bytes(16 + 16 + 2 + 2 + 2 + 1) + bytes((64,)) + bytes(16)),
            _node(3, 24, b""),
            _node(0x7F, 0xFF, b""),
        )
    )
    title = "HTTPv6\0".encode("utf-16-le")
    return (struct.pack("<IH", LOAD_OPTION_ACTIVE, len(path)) + title + path).hex()


def _node(kind: int, subkind: int, data: bytes) -> bytes:
    """One node of a device path (UEFI 2.10 section 10.3)."""
    return struct.pack("<BBH", kind, subkind, 4 + len(data)) + data


async def _edit(variables: Path, *arguments: str) -> None:
    program = await asyncio.to_thread(_program)
    process = await asyncio.create_subprocess_exec(
        program, "--loglevel", "error", "--inplace", str(variables), *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(EDIT_S):
            said, _ = await process.communicate()
    except TimeoutError:
        raise LabError(f"{variables}: virt-fw-vars did not end within {EDIT_S:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    if process.returncode != 0:
        raise LabError(f"{variables}: virt-fw-vars failed: {said.decode('utf-8', 'replace').strip()[-200:]}")


def _program() -> str:
    beside = Path(sys.executable).with_name("virt-fw-vars")
    found = str(beside) if beside.exists() else shutil.which("virt-fw-vars")
    if found is None:
        raise LabError("virt-fw-vars is not installed", hint="pip install 'provisioner[lab]'")
    return found
