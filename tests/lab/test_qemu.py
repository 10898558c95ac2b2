"""QEMU's command line: boot order, firmware, what the guest sees of its label and its BMC."""

from __future__ import annotations

import asyncio
import shutil
import socket
from pathlib import Path

import pytest

from provisioner.lab.accel import emulation
from provisioner.lab.builds import BUILDS
from provisioner.lab.hardware import BootChoice, Firmware, Identity
from provisioner.lab.ipmi.kcs import KcsServer
from provisioner.lab.nvram import needs_variables
from provisioner.lab.process import bound
from provisioner.lab.qemu import Files, Lines, Setup, boot_order, command_line
from provisioner.lab.qmp import Qmp
from provisioner.model.bmc import BootTarget
from provisioner.model.net import Mac
from tests.lab.boards import Rig

ORDERS = {
    BootTarget.NONE: ["disk", "nic", "cd"],
    BootTarget.DISK: ["disk", "nic", "cd"],
    BootTarget.PXE: ["nic", "disk", "cd"],
    BootTarget.HTTP: ["nic", "disk", "cd"],
    BootTarget.CD: ["cd", "disk", "nic"],
    BootTarget.BIOS_SETUP: ["disk", "nic", "cd"],
}


@pytest.mark.parametrize(("target", "order"), ORDERS.items(), ids=ORDERS.keys())
def test_boot_order(target: BootTarget, order: list[str]) -> None:
    found = boot_order(BootChoice(target))
    assert sorted(found, key=found.__getitem__) == order
    assert sorted(found.values()) == [0, 1, 2]


VARIABLES = {
    "own order": (Firmware.UEFI_HTTP, BootChoice(), False),
    "network": (Firmware.UEFI_PXE, BootChoice(BootTarget.PXE), False),
    "network over IPv6": (Firmware.UEFI_PXE6, BootChoice(BootTarget.PXE), False),
    "HTTP, and the address comes by DHCP": (Firmware.UEFI_HTTP, BootChoice(BootTarget.HTTP), False),
    "HTTP over IPv6, which firmware tries last": (Firmware.UEFI_HTTP6, BootChoice(BootTarget.HTTP), True),
    "HTTP with a URI": (Firmware.UEFI_HTTP, BootChoice(BootTarget.HTTP, "http://10.77.0.1/x.efi"), True),
    "setup": (Firmware.UEFI_PXE, BootChoice(BootTarget.BIOS_SETUP), True),
}


@pytest.mark.parametrize(("firmware", "choice", "wanted"), VARIABLES.values(), ids=VARIABLES.keys())
def test_what_only_nvram_can_say(firmware: Firmware, choice: BootChoice, wanted: bool) -> None:
    assert needs_variables(identity_of(firmware), choice) is wanted


def identity_of(firmware: Firmware) -> Identity:
    return Identity("node17", "77-17", "LAB0017", (Mac("52:54:00:77:00:17"),), firmware)


def line(firmware: Firmware, target: BootTarget = BootTarget.NONE) -> str:
    identity = identity_of(firmware)
    files = Files(Path("/rack/node17"))
    return " ".join(command_line(identity, files, Lines(7, 8), Setup("tap17", emulation("")), BootChoice(target)))


ALWAYS = {
    "it waits for the console": " -S ",
    "a restart ends the process": "-action reboot=shutdown",
    "no device but ours": "-nodefaults",
    "label": "serial=LAB0017,uuid=77-17",
    "network": "ifname=tap17,script=no,downscript=no",
    "MAC": "mac=52:54:00:77:00:17",
    "disk": "file=/rack/node17/disk.raw,format=raw,cache=unsafe",
    "random numbers": "virtio-rng-pci",
}


@pytest.mark.parametrize("wanted", ALWAYS.values(), ids=ALWAYS.keys())
@pytest.mark.parametrize("firmware", Firmware)
def test_always(firmware: Firmware, wanted: str) -> None:
    assert wanted in line(firmware)


def test_boards_of_x86_and_of_arm64() -> None:
    for firmware in set(Firmware) - {Firmware.UEFI_ARM64}:
        assert "qemu-system-x86_64" in line(firmware)
        assert "graphics=off" in line(firmware), "the screen is on the serial port"
        assert "isa-ipmi-kcs,bmc=bmc0" in line(firmware), "the guest finds a BMC"
    arm = line(Firmware.UEFI_ARM64)
    assert "qemu-system-aarch64" in arm
    assert "-machine virt,accel=tcg -cpu cortex-a57" in arm
    assert "isa-" not in arm, "that board has no such bus"


def test_secure_boot_is_enforced_with_keys_that_only_firmware_can_change() -> None:
    for firmware in (Firmware.UEFI_SECURE, Firmware.UEFI_SECURE_HTTP):
        secure = line(firmware)
        assert "smm=on" in secure
        assert "driver=cfi.pflash01,property=secure,value=on" in secure
        assert "OVMF_CODE_4M.secboot.fd" in secure


def test_firmware_trusts_the_cas_that_are_enrolled_in_it() -> None:
    identity, files = identity_of(Firmware.UEFI_HTTP), Files(Path("/rack/node17"))
    trusting = Setup("tap17", emulation(""), has_trust=True)
    words = command_line(identity, files, Lines(7, 8), trusting, BootChoice())
    assert "name=etc/edk2/https/cacerts,file=/rack/node17/cacerts.esl" in words
    assert "cacerts" not in line(Firmware.UEFI_HTTP)


def test_firmware_offers_one_way_to_boot_from_the_network() -> None:
    assert "pflash" not in line(Firmware.BIOS)
    assert "romfile=" not in line(Firmware.BIOS), "the NIC's own ROM is the PXE of this machine"
    for firmware in (Firmware.UEFI_PXE, Firmware.UEFI_HTTP):
        assert "bootindex=1,romfile=" in line(firmware), "QEMU's ROM would hide the firmware's own PXE"
        assert "file=/rack/node17/nvram.fd" in line(firmware)
    assert "IPv4PXESupport" not in line(Firmware.UEFI_PXE)
    assert "opt/org.tianocore/IPv4PXESupport,string=n" in line(Firmware.UEFI_HTTP)
    assert "opt/org.tianocore/IPv4PXESupport,string=n" in line(Firmware.UEFI_PXE6)
    assert "IPv6PXESupport" not in line(Firmware.UEFI_PXE6)
    assert "addr=0x10" in line(Firmware.UEFI_HTTP6), "the boot entry of ours names this slot"


def test_the_chosen_device_comes_first() -> None:
    assert "id=nic,netdev=net0,mac=52:54:00:77:00:17,bootindex=0" in line(Firmware.BIOS, BootTarget.PXE)


@pytest.mark.peer
@pytest.mark.parametrize("has_cd", [False, True])
@pytest.mark.parametrize("firmware", Firmware)
async def test_qemu_takes_it(firmware: Firmware, has_cd: bool, tmp_path: Path) -> None:
    identity = Identity(
        "node17", "77000000-0000-4000-8000-000000000017", "LAB0017", (Mac("52:54:00:77:00:17"),), firmware
    )
    files = Files(tmp_path)
    for file, size in ((files.disk, 1 << 20), (files.cd, 1 << 20)):
        file.write_bytes(bytes(size))
    if (flash := BUILDS[firmware].flash) is not None:
        shutil.copy(flash.variables, files.variables)
    (ours, theirs), (screen, serial) = socket.socketpair(), socket.socketpair()
    kcs = KcsServer(Rig().board)
    await kcs.start(files.kcs)
    try:
        setup = Setup("tap17", emulation(""), has_cd)
        command = bound(*command_line(identity, files, Lines(theirs.fileno(), serial.fileno()), setup, BootChoice()))
        at = command.index("-netdev") + 1
        command[at] = "hubport,id=net0,hubid=0"  # a tap takes root
        process = await asyncio.create_subprocess_exec(*command, pass_fds=(theirs.fileno(), serial.fileno()))
        for end in (theirs, screen, serial):
            end.close()
        qmp = await Qmp.connect(ours, lambda _, __: None)
        reading = asyncio.gather(qmp.run())
        drives = {found["device"]: found["removable"] for found in await qmp.execute("query-block") if found["device"]}
        assert drives == {"disk0": False, "cd0": True} | (
            {"pflash0": False, "pflash1": False} if firmware.is_uefi else {}
        )
        await qmp.execute("quit")
        assert await process.wait() == 0
        await reading
    finally:
        await kcs.close()
