"""The conductor with machines that behave: journeys, refusals, and daemons that are killed on the way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from provisioner.errors import (
    BmcAuthError,
    ConflictError,
    NotFoundError,
    TicketError,
)
from provisioner.lifecycle.agents import age_of
from provisioner.lifecycle.conductor import Conductor
from provisioner.model.bmc import BootTarget, Power
from provisioner.model.boot import Arch, Asker, BootClient, LoadFile, LocalDisk
from provisioner.model.facts import Disk, SwitchPort
from provisioner.model.intent import EnrolRequest
from provisioner.model.machine import Machine, Run, State
from provisioner.model.trace import Channel, TraceLine
from tests.lifecycle.rack import PASSWORD, Rack


def waits(run: Run) -> bool:
    """Say whether a run waits for what its machine does on the network."""
    return run.step is not None and run.step.name.startswith("wait.")


async def settled(conductor: Conductor, ref: str = "node17") -> Machine:
    """Wait until a machine's run has ended."""
    cursor = 0
    async with asyncio.timeout(20):
        while (machine := conductor.machines.get(ref)).run is None or machine.run.step is not None:
            await conductor.wait_event(cursor, 0.2)
            cursor = max([cursor, *(e.seq for e in await conductor.events(cursor, 1000))])
    return machine


async def ready(rack: Rack) -> Conductor:
    """Bring node17 to where it can be deployed."""
    await rack.enrol()
    assert rack.conductor
    await rack.conductor.boot("node17", "discovery")
    assert (await settled(rack.conductor)).state is State.READY
    return rack.conductor


async def test_from_enrolled_to_active_and_back(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    metal = rack.one()
    async with rack.alive(), rack.daemon() as conductor:
        assert (await rack.enrol()).state is State.ENROLLED
        await conductor.boot("node17", "discovery")
        machine = await settled(conductor)
        assert (machine.state, machine.profile, machine.macs) == (State.READY, "vm-bios", (metal.mac,))

        await conductor.boot("node17", "debian-12")
        machine = await settled(conductor)
        assert machine.failure is None
        assert (machine.state, machine.bootenv, metal.always) == (State.ACTIVE, "debian-12", BootTarget.DISK)
        plan = conductor.decide(BootClient(metal.mac, Asker.PXE, Arch.X86_BIOS))
        assert plan == LocalDisk("node17 is active: nothing was asked for it")

        await conductor.boot("node17", "discovery")
        machine = await settled(conductor)
        assert (machine.state, machine.power, metal.power) == (State.ACTIVE, Power.ON, Power.ON)
        assert metal.log[-4:] == ["power off", "power on", "power off", "power on"], "its own system runs again"
        assert metal.disk.startswith("home:")

        await conductor.release("node17")
        machine = await settled(conductor)
        assert (machine.state, machine.bootenv, metal.power, metal.disk) == (State.READY, "", Power.OFF, "")
        assert metal.log.count("job job") == 1
        assert metal.log.count("job erase") == 1
        texts = [line.text for _, line in await conductor.trace("node17")]
        assert any(text.startswith("boot script: Discovery for node17") for text in texts)
        assert any("node17 runs Debian 12" in text for text in texts)


async def test_a_machine_that_lacks_a_disk_is_not_given_back_as_erased(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    metal = rack.one()
    data = Disk("vdb", 8 << 30, model="SSD", serial="D1")
    metal.disks.append(data)
    async with rack.alive(), rack.daemon():
        conductor = await ready(rack)
        metal.disks.remove(data)
        await conductor.release("node17")
        machine = await settled(conductor)
        assert machine.failure is not None
        assert machine.failure.reason.endswith("the machine does not see vdb (SSD D1)")
        assert "job erase" not in metal.log

        await conductor.release("node17")
        machine = await settled(conductor)
        assert (machine.failure, machine.state) == (None, State.READY), "who says it again has seen to it"


async def test_an_unknown_machine_is_discovered_and_enrolling_its_bmc_makes_it_ready(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    metal = rack.one()
    async with rack.alive(), rack.daemon() as conductor:
        metal.power = Power.ON
        rack.boots(metal)
        async with asyncio.timeout(10):
            while not conductor.machines.all():
                await conductor.wait_event(0, 0.1)
        (found,) = conductor.machines.all()
        assert (found.state, found.name) == (State.DISCOVERED, "new-000011")
        machine = await rack.enrol()
        assert (machine.id, machine.name, machine.state) == (found.id, "node17", State.READY)
        assert len(conductor.machines.all()) == 1


async def test_two_machines_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    rack = Rack(tmp_path, ["node17", "node18", "node19"])
    async with rack.alive(), rack.daemon() as conductor:
        for metal in rack.metal:
            await rack.enrol(metal.name)
            await conductor.boot(metal.name, "discovery")
        for metal in rack.metal:
            await settled(conductor, metal.name)
            await conductor.boot(metal.name, "debian-12")
        for metal in rack.metal:
            assert (await settled(conductor, metal.name)).state is State.ACTIVE
            assert metal.log == ["power on", "power off", "power on", "job job", "power off", "power on"]


async def test_the_same_key_is_accepted_once(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    async with rack.alive(), rack.daemon() as conductor:
        await rack.enrol()
        first = await conductor.boot("node17", "discovery", key="k1")
        again = await conductor.boot("node17", "discovery", key="k1")
        assert first.run
        assert again.run
        assert first.run.id == again.run.id
        await settled(conductor)
        later = await conductor.boot("node17", "discovery", key="k1")
        assert later.run
        assert later.run.id == first.run.id


async def test_the_same_key_at_the_same_moment_is_accepted_once(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    async with rack.alive(), rack.daemon() as conductor:
        await rack.enrol()
        asked = await asyncio.gather(*(conductor.boot("node17", "discovery", key="k1") for _ in range(20)))
        assert len({machine.run.id for machine in asked if machine.run}) == 1
        await settled(conductor)
        assert rack.one().log == ["power on"]


async def test_a_bmc_that_dies_on_the_way_fails_the_run_with_what_it_said(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    metal = rack.one()
    async with rack.daemon() as conductor:
        await rack.enrol()
        metal.power = Power.ON
        rack.broke = lambda m: setattr(m, "broken", BmcAuthError("password refused"))
        await conductor.boot("node17", "discovery")
        machine = await settled(conductor)
        assert machine.failure
        assert (machine.state, machine.failure.reason) == (State.ENROLLED, "password refused")
        assert (await conductor.why("node17")).id == "bmc-password"


async def test_tokens_are_good_for_one_machine_address_and_run(tmp_path: Path) -> None:
    rack = Rack(tmp_path, ["node17", "node18"])
    metal, other = rack.metal
    async with rack.daemon() as conductor:
        await rack.enrol()
        conductor.decide(BootClient(metal.mac, Asker.PXE, Arch.X86_BIOS, metal.uuid))
        with pytest.raises(NotFoundError):
            await conductor.booter.boot_script(metal.mac, other.ip, "ipxe")
        script = (await conductor.booter.boot_script(metal.mac, metal.ip, "ipxe")).decode()
        token = script.partition("provisioner.token=")[2].partition(" ")[0]
        older = token
        script = (await conductor.booter.boot_script(metal.mac, metal.ip, "ipxe")).decode()
        token = script.partition("provisioner.token=")[2].partition(" ")[0]
        for bad, address in ((token, other.ip), (older, metal.ip), ("x" * 43, metal.ip), ("", metal.ip)):
            with pytest.raises(TicketError, match="not good here"):
                await conductor.booter.agent_next(bad, address, 0.0)
        assert await conductor.booter.agent_facts(token, metal.ip, b'{"name": "node17"}') == "wait 15"
        with pytest.raises(TicketError):
            await conductor.booter.agent_job(token, metal.ip, "r.7.1")
        with pytest.raises(TicketError):
            await conductor.booter.phone_home(token, metal.ip, "x", "y", 1.0, [])


async def test_a_newcomer_is_named_and_placed_by_its_switch_port(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    metal = rack.one()
    rack.switch_ports[metal.ip] = SwitchPort("10.0.0.254", "ge-0/0/1", "leaf1", "r1u17")
    async with rack.daemon() as conductor:
        conductor.decide(BootClient(metal.mac, Asker.PXE, Arch.X86_BIOS, metal.uuid))
        script = (await conductor.booter.boot_script(metal.mac, metal.ip, "ipxe")).decode()
        token = script.partition("provisioner.token=")[2].partition(" ")[0]
        await conductor.booter.agent_facts(token, metal.ip, b'{"name": "node17"}')
        machine = conductor.machines.get("r1u17")
        assert machine.facts is not None
        (nic,) = machine.facts.nics
        assert (nic.relay, nic.circuit_id, nic.remote_id) == ("10.0.0.254", "ge-0/0/1", "leaf1")


async def test_firmware_starts_an_iso_by_itself(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    metal = rack.one()
    client = BootClient(metal.mac, Asker.HTTP, Arch.EFI_X64_HTTP, metal.uuid)
    async with rack.daemon() as conductor:
        await conductor.enrol(EnrolRequest("node17", metal.address, PASSWORD, macs=(metal.mac,), boot_via="http"))
        await conductor.boot("node17", "fake-iso")
        async with asyncio.timeout(10):
            while (run := conductor.machines.get("node17").run) is None or not waits(run):
                await asyncio.sleep(0)
        name = "artifacts/fake-iso/amd64/image.iso"
        assert conductor.decide(client) == LoadFile(name, "node17 is inspecting: fake-iso", direct=True)
        conductor.decide(client._replace(asker=Asker.OS))  # OVMF asks as if it were one, while it fetches over IPv6
        conductor.observe(TraceLine(0.0, Channel.HTTP, "http.sent", f"{name}: 5 bytes in 0.1 s", mac=metal.mac))
        machine = await settled(conductor)
        assert (machine.state, machine.run and machine.run.outcome) == (State.ENROLLED, "done")
        assert conductor.decide(client) == LoadFile("snponly.efi", "node17 is enrolled: discover it")


async def test_a_job_is_given_once(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    metal = rack.one()
    async with rack.daemon() as conductor:
        await rack.enrol()
        conductor.decide(BootClient(metal.mac, Asker.PXE, Arch.X86_BIOS, metal.uuid))
        script = (await conductor.booter.boot_script(metal.mac, metal.ip, "ipxe")).decode()
        token = script.partition("provisioner.token=")[2].partition(" ")[0]
        await conductor.booter.agent_facts(token, metal.ip, b'{"name": "node17"}')
        await conductor.boot("node17", "debian-12")
        async with asyncio.timeout(10):
            while (
                (run := conductor.machines.get("node17").run) is None
                or run.step is None
                or run.step.name != "wait.dhcp"
            ):
                await asyncio.sleep(0)
        script = (await conductor.booter.boot_script(metal.mac, metal.ip, "ipxe")).decode()
        token = script.partition("provisioner.token=")[2].partition(" ")[0]
        command = await conductor.booter.agent_facts(token, metal.ip, b'{"name": "node17"}')
        job_id = command.removeprefix("run ")
        got = await asyncio.gather(
            *(conductor.booter.agent_job(token, metal.ip, job_id) for _ in range(50)), return_exceptions=True
        )
        assert sum(isinstance(each, bytes) for each in got) == 1
        assert await conductor.booter.agent_done(token, metal.ip, "other.7.1", 0, "") == "wait 2"


async def test_a_machine_that_was_taken_off_the_record_is_discovered_anew(tmp_path: Path) -> None:
    """With a record of its own: nothing of the old one, and nothing that the old agent may say counts for it."""
    rack = Rack(tmp_path)
    metal = rack.one()
    async with rack.daemon() as conductor:
        async with rack.alive():
            old = await rack.enrol()
            await conductor.boot("node17", "discovery")
            await settled(conductor)
        token = await conductor._tokens.mint("agent", metal.mac, old.id, "r1", metal.ip, conductor.clock.now())  # type: ignore[arg-type]
        await conductor.forget("node17")
        with pytest.raises(NotFoundError):
            await conductor.trace(old.id)
        with pytest.raises(TicketError):
            await conductor.booter.agent_next(token, metal.ip, 0.1)
        with pytest.raises(NotFoundError):
            await conductor._secrets.get(f"bmc/{old.id}")
        async with rack.alive():
            metal.power = Power.ON
            rack.boots(metal)  # somebody switches it on: it netboots as an unknown machine
            async with asyncio.timeout(20):
                while conductor.machines.by_uuid(metal.uuid) is None:
                    await asyncio.sleep(0.005)
        anew = conductor.machines.by_uuid(metal.uuid)
        assert anew
        assert (anew.id != old.id, anew.state, anew.bmc, anew.run) == (True, State.DISCOVERED, None, None)
        assert (await rack.enrol()).id == anew.id
        assert conductor.machines.get("node17").state is State.READY


async def test_a_retired_machine_that_comes_back_is_known(tmp_path: Path) -> None:
    """Its record is its tombstone: it boots its disk, and nobody takes it for a new one."""
    rack = Rack(tmp_path)
    metal = rack.one()
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        await conductor.retire("node17")
        metal.power, metal.once = Power.ON, BootTarget.PXE
        rack.boots(metal)
        client = BootClient(metal.mac, Asker.PXE, Arch.X86_BIOS, metal.uuid)
        assert conductor.decide(client) == LocalDisk("node17 is retired: nothing was asked for it")
        with pytest.raises(ConflictError, match="cannot boot"):
            await conductor.boot("node17", "debian-12")
        assert len(conductor.machines) == 1
        assert (await conductor.unretire("node17")).state is State.ENROLLED


STAMPS = {
    "a line of the discovery system": ("[   123.45] reading /dev/sda", 125.0, (1.55, "reading /dev/sda")),
    "one without a stamp": ("reading /dev/sda", 125.0, (0.0, "reading /dev/sda")),
    "one of a clock that is ahead": ("[   130.00] x", 125.0, (0.0, "x")),
    "an installer, which tells no time": ("[   123.45] x", None, (0.0, "[   123.45] x")),
}


@pytest.mark.parametrize(("line", "up_s", "told"), STAMPS.values(), ids=STAMPS.keys())
def test_lines_of_a_log_stand_at_their_time(line: str, up_s: float | None, told: tuple[float, str]) -> None:
    ago, text = age_of(line, up_s)
    assert (round(ago, 2), text) == told
