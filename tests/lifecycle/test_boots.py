"""What is kept of who asked what to boot."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.model.boot import Arch, Asker, BootClient
from tests.lifecycle.rack import Rack
from tests.lifecycle.test_conductor import settled
from tests.lifecycle.test_firstboot import installed

FIRMWARE = {
    "PXE and its loader": ([Asker.PXE, Asker.IPXE, Asker.OS], "pxe"),
    "UEFI HTTP boot and its loader": ([Asker.HTTP, Asker.IPXE, Asker.OS], "http"),
    "PXE where HTTP boot came to nothing": ([Asker.HTTP, Asker.PXE, Asker.IPXE], "pxe"),
    "HTTP boot where PXE came to nothing": ([Asker.PXE, Asker.HTTP, Asker.GRUB], "http"),
}


@pytest.mark.parametrize(("askers", "way"), FIRMWARE.values(), ids=FIRMWARE.keys())
async def test_a_machine_goes_on_record_as_its_firmware_booted(tmp_path: Path, askers: list[Asker], way: str) -> None:
    rack = Rack(tmp_path)
    metal = rack.one()
    async with rack.daemon() as conductor:
        for asker in askers:
            arch = Arch.EFI_X64_HTTP if asker is Asker.HTTP else Arch.EFI_X64
            conductor.decide(BootClient(metal.mac, asker, arch, metal.uuid))
        script = (await conductor.booter.boot_script(metal.mac, metal.ip, "ipxe")).decode()
        token = script.partition("provisioner.token=")[2].partition(" ")[0]
        await conductor.booter.agent_facts(token, metal.ip, b'{"name": "node17"}')
        (found,) = conductor.machines.all()
        assert found.boot_via == way
        enrolled = await rack.enrol()
        assert (enrolled.id, enrolled.boot_via) == (found.id, way)


async def test_grub_from_the_network_is_told_where_the_loader_is_of_what_is_being_installed(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    async with rack.daemon() as conductor:
        metal, _ = await installed(rack, conductor)
        script = (await conductor.booter.boot_script(metal.mac, metal.ip, "grub")).decode()
        looked = [line for line in script.splitlines() if line.startswith("if search")]
        assert "/EFI/proxmox/shimx64.efi" in looked[0], "no installer marks its EFI partition"


async def test_grub_from_the_network_is_told_the_mark_of_the_image_on_the_disk(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    metal = rack.one()
    async with rack.alive(), rack.daemon() as conductor:
        machine = await rack.enrol()
        await conductor.boot("node17", "discovery")
        await settled(conductor)
        await conductor.adopt("node17", "debian-12")
        script = (await conductor.booter.boot_script(metal.mac, metal.ip, "grub")).decode()
        assert f" --file /EFI/provisioner/{machine.id}.debian-12; then" in script
