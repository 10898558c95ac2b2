"""What follows of a boot without asking anybody: firmware, chain, disks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provisioner.boot.plan import BootPolicy
from provisioner.lifecycle.forecast import Target, asks, chain, firmwares, imagined, in_words, targets
from provisioner.lifecycle.plans import Verb
from provisioner.model.boot import Arch, NoBoot
from provisioner.model.catalog import Bootenv, Kind
from provisioner.model.facts import Cpu, Disk, Facts
from provisioner.model.machine import Machine, State
from provisioner.model.net import Mac

SDA, SDB = Disk("sda", 480), Disk("sdb", 480, holds="gpt, ext4")
BIOS = Facts(firmware="bios", cpu=Cpu(architecture="x86_64"), disks=(SDA, SDB))
NODE = Machine("m1", "node17", State.READY, macs=(Mac("52:54:00:00:00:17"),), facts=BIOS)
ARM = replace(NODE, facts=replace(BIOS, firmware="uefi", cpu=Cpu(architecture="aarch64")))
RISCV = replace(NODE, facts=replace(BIOS, firmware="uefi", cpu=Cpu(architecture="riscv64")), boot_via="http")
DEBIAN = Bootenv("debian-12", "Debian 12", Kind.IMAGE, "debian", {})
LOCAL = Bootenv("local", "Its disk", Kind.DISK, "local", {})

FIRMWARES = {
    "BIOS": (NODE, [Arch.X86_BIOS]),
    "arm64": (ARM, [Arch.EFI_ARM64]),
    "riscv64 over HTTP": (RISCV, [Arch.EFI_RISCV64_HTTP]),
    "nobody knows": (replace(NODE, facts=None), [Arch.EFI_X64, Arch.X86_BIOS]),
}


@pytest.mark.parametrize(("machine", "found"), FIRMWARES.values(), ids=FIRMWARES.keys())
def test_firmware_that_would_ask(machine: Machine, found: list[Arch]) -> None:
    assert [arch for _, arch in firmwares(machine)] == found


def test_who_asks_dhcp_on_the_way() -> None:
    assert [(words, ask.user_class) for words, ask in asks(NODE)] == [
        ("BIOS by PXE", ""), ("iPXE, BIOS by PXE", "iPXE")]  # fmt: skip
    assert [words for words, _ in asks(ARM)] == ["UEFI by PXE"]  # GRUB takes the firmware's address
    assert asks(RISCV)[0][1].vendor_class == "HTTPClient"


CHAINS = {
    "BIOS": (NODE, DEBIAN, [
        "BIOS by PXE -> load undionly.kpxe -> ipxe: run the machine's boot script",
        "BIOS by PXE, once it is installed -> its disk: node17 is deploying, in phone-home: its disk is next"]),
    "arm64": (ARM, DEBIAN, [
        "UEFI by PXE -> load grubaa64.efi -> grub: run the machine's boot script",
        "UEFI by PXE, once it is installed -> its disk: node17 is deploying, in phone-home: its disk is next"]),
    "no loader for it": (RISCV, DEBIAN, [
        "UEFI by HTTP -> its disk: node17 is deploying: debian-12, but there is no loader for architecture 0x001c"]),
    "its own disk": (NODE, LOCAL, [
        "BIOS by PXE -> its disk: node17 is inspecting, in finalize: its disk is next"]),
}  # fmt: skip


@pytest.mark.parametrize(("machine", "bootenv", "lines"), CHAINS.values(), ids=CHAINS.keys())
def test_what_starts_what(machine: Machine, bootenv: Bootenv, lines: list[str]) -> None:
    assert list(chain(machine, bootenv, BootPolicy())) == lines


TARGETS = {
    "one of two disks": (Verb.DEPLOY, ["sdb"], [False, True]),
    "a layout that cannot be made": (Verb.INSTALL, None, [None, None]),
    "nothing that writes": (Verb.RESCUE, None, [False, False]),
}


@pytest.mark.parametrize(("verb", "chosen", "loses"), TARGETS.values(), ids=TARGETS.keys())
def test_disks_that_lose_what_they_hold(verb: Verb, chosen: list[str] | None, loses: list[bool | None]) -> None:
    assert targets(NODE, verb, chosen) == [Target(SDA, loses[0]), Target(SDB, loses[1])]


def test_the_machine_itself_is_not_changed() -> None:
    assert imagined(NODE, DEBIAN).run is not None
    assert NODE.run is None
    assert in_words(NoBoot("ignored here")) == "nothing is said: ignored here"
