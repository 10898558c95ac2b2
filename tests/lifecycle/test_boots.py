"""What is kept of who asked what to boot."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.model.boot import Arch, Asker, BootClient
from tests.lifecycle.rack import Rack

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
