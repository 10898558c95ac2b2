"""Machines that boot by a CD of their own, without DHCP: the whole journey, and what is left when it fails."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.boot.files import ServedFile
from provisioner.boot.medium import place_of
from provisioner.catalog import iso9660
from provisioner.errors import BmcError, BmcTimeout, PreflightError, TicketError
from provisioner.lifecycle import media as media_module
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.ports import Bmcs, Network
from provisioner.model.bmc import BmcAddress, BootTarget, Driver, Power
from provisioner.model.boot import Asker, BootClient, LocalDisk, Place
from provisioner.model.catalog import Bootenv, Report
from provisioner.model.machine import Machine, State
from provisioner.store.tokens import Purpose
from tests.lifecycle.points import LIVES, KillableDatabase, Point, Points, certain
from tests.lifecycle.rack import FakeBmcs, Metal, Rack, _argument
from tests.lifecycle.shelf import FakeCatalogue
from tests.lifecycle.test_conductor import settled

IPXE = Path("/usr/lib/ipxe/ipxe.iso")
"""Of Debian's package ipxe: isolinux is on it."""
PLACE = place_of("10.0.0.17/24", "10.0.0.1", ("10.0.0.1",))


class Board(Metal):
    """A machine whose BMC has a virtual drive."""

    inserted = ""
    stuck: BmcError | None = None

    @property
    def address(self) -> BmcAddress:
        return BmcAddress(Driver.REDFISH, "127.0.0.1", 443, "admin", "ab" * 32)


class MediaBmcs(FakeBmcs):
    async def do(self, address: BmcAddress, password: str, name: str, /, **given: Any) -> None:
        board = self._metal(address, password)
        assert isinstance(board, Board)
        self._point(f"before {name}")
        if name == "vmedia.insert":
            assert not board.inserted, "one image at a time"
            board.inserted = given["uri"]
            board.log.append("inserted")
        elif board.inserted:
            if board.stuck is not None:
                raise board.stuck
            board.inserted = ""
            board.log.append("ejected")
        self._point(f"after {name}")


class Shelf(FakeCatalogue):
    """The discovery system reports by its agent, as ours does."""

    def bootenv(self, name: str) -> Bootenv:
        found = super().bootenv(name)
        return replace(found, reports=Report.AGENT) if name == "discovery" else found


class MediaRack(Rack):
    """One machine; what it boots from its CD is read out of the image that its BMC is given."""

    catalogue = Shelf

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        known = self.metal[0]
        self.board = Board(known.name, known.mac, known.ip, known.uuid)
        self.metal[:] = [self.board]
        self.files = {}
        self.place: Place | None = PLACE
        for name in ("gcdx64.efi", "vmlinuz", "initrd.img"):
            path = folder / name
            path.write_bytes(name.encode() * 1000)
            self.files[name] = ServedFile(name, path, path.stat().st_size, "00")
        self.files["ipxe.iso"] = ServedFile("ipxe.iso", IPXE, IPXE.stat().st_size, "00")

    def bmcs(self, points: Points) -> Bmcs:
        return MediaBmcs(self, points)  # type: ignore[return-value]

    def _network(self) -> Network:
        return replace(super()._network(), place_of=lambda mac: self.place if mac == self.board.mac else None)

    async def beside(self, conductor: Conductor, db: Any, points: Points) -> list[Callable[[], Any]]:
        conductor.media.served = lambda name: self.files.get(name.rpartition("/")[2])
        return []

    async def _life(self, metal: Metal) -> None:
        if metal.once is not BootTarget.CD:
            return await super()._life(metal)
        metal.once = None
        text = await self._until(metal, self._booted)
        assert f"ip={metal.ip}::10.0.0.1:255.255.255.0:node17::off nameserver=10.0.0.1" in text
        return await self._agent(metal, _argument(text, "token"))

    async def _booted(self, conductor: Conductor) -> str:
        """Read the kernel's command line off the medium, as firmware and isolinux do."""
        ticket, name = re.fullmatch(r"http://10\.0\.0\.1:8080/media/([^/]+)/(\S+)", self.board.inserted).groups()  # type: ignore[union-attr]
        file = await conductor.media.find(ticket)
        assert file.name == name == "node17.iso"
        made = await asyncio.to_thread(file.path.read_bytes)
        assert len(made) == file.size_bytes
        found = {}
        for path in ("ISOLINUX/ISOLINUX.CFG", "BOOT/VMLINUZ", "BOOT/INITRD0.IMG"):
            parts = iso9660.find(lambda at, length: made[at : at + length], path, len(made))
            found[path] = b"".join(made[part.offset : part.offset + part.length] for part in parts)
        assert found["BOOT/VMLINUZ"] == b"vmlinuz" * 1000
        assert found["BOOT/INITRD0.IMG"] == b"initrd.img" * 1000
        return found["ISOLINUX/ISOLINUX.CFG"].decode()

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                await asyncio.sleep(0.01)

    async def ready(self, conductor: Conductor) -> None:
        """Bring it to where its facts are known, by its medium."""
        await self.known(conductor)
        await conductor.boot("node17", "discovery", via="media")
        await self.until(lambda: conductor.machines.get("node17").state is State.READY)

    async def known(self, conductor: Conductor) -> None:
        """Put it on record, with its port."""
        await self.enrol()
        await conductor._runner.change(
            conductor.machines.get("node17").id, lambda m, _: (replace(m, macs=(self.board.mac,)), [])
        )


@pytest.fixture
def rack(tmp_path: Path) -> MediaRack:
    return MediaRack(tmp_path)


def media(rack: MediaRack) -> list[str]:
    return [path.name for path in (rack.folder / "media").glob("*")]


async def test_from_nothing_to_active_without_dhcp(rack: MediaRack) -> None:
    async with rack.alive(), rack.daemon() as conductor:
        await rack.ready(conductor)
        assert rack.board.log == ["inserted", "power on", "ejected"]
        assert (rack.board.inserted, media(rack)) == ("", [])
        rack.board.log.clear()
        await conductor.boot("node17", "debian-12", via="media")
        await rack.until(lambda: conductor.machines.get("node17").state is State.ACTIVE)
        effects = ["power off", "inserted", "power on", "ejected", "job job", "power off", "power on"]
        assert rack.board.log == effects, "the medium is out before the job begins"
        machine = conductor.machines.get("node17")
        assert machine.run is not None
        steps = [line.step for line in machine.run.journal]
        assert steps[:7] == [
            "power.off",
            "media.insert",
            "boot.media",
            "power.on",
            "wait.facts",
            "media.eject",
            "wait.job",
        ]
        lines = [line.event for _, line in await conductor.trace("node17")]
        assert not [event for event in lines if event.startswith(("dhcp", "tftp", "http.script"))], lines
        assert {"bmc.media.insert", "bmc.boot.media", "bmc.media.eject"} <= set(lines)
        assert (rack.board.inserted, media(rack)) == ("", [])
        for _, line in await conductor.trace("node17"):
            assert "/media/" not in line.text, "the ticket is told to nobody else"


async def test_a_machine_that_is_set_up_so_is_also_erased_by_its_medium(rack: MediaRack) -> None:
    async with rack.alive(), rack.daemon() as conductor:
        await rack.ready(conductor)
        machine = conductor.machines.get("node17")
        await conductor._runner.change(machine.id, lambda m, _: (replace(m, boot_via="media"), []))
        await conductor.boot("node17", "debian-12")
        await rack.until(lambda: conductor.machines.get("node17").state is State.ACTIVE)
        rack.board.log.clear()
        await conductor.release("node17")
        await rack.until(lambda: conductor.machines.get("node17").state is State.READY)
        assert rack.board.log == ["power off", "inserted", "power on", "ejected", "job erase", "power off"]
        await conductor.boot("node17", "debian-12", via="network")
        await rack.until(lambda: conductor.machines.get("node17").state is State.ACTIVE)
        assert rack.board.log[6:].count("inserted") == 0


async def test_while_it_boots_by_its_medium_the_network_gives_nothing_to_boot(rack: MediaRack) -> None:
    async with rack.daemon() as conductor:  # nobody is alive: the run waits for facts
        await rack.enrol()
        machine = conductor.machines.get("node17")
        await conductor._runner.change(machine.id, lambda m, _: (replace(m, macs=(rack.board.mac,)), []))
        await conductor.boot("node17", "discovery", via="media")
        await rack.until(lambda: rack.board.power is Power.ON and rack.board.inserted)
        plan = conductor.decide(BootClient(rack.board.mac, Asker.PXE, 0, rack.board.uuid))
        assert isinstance(plan, LocalDisk)
        assert "its medium, then its disk is next" in plan.reason
        ticket = rack.board.inserted.split("/")[4]
        assert (await conductor.media.find(ticket)).size_bytes > 10_000
        with pytest.raises(TicketError):
            await conductor.media.find(ticket[:-1])
        await conductor.cancel("node17")
        with pytest.raises(TicketError):
            await conductor.media.find(ticket)
        await rack.until(lambda: not rack.board.inserted and not media(rack))
        lines = [line.event for _, line in await conductor.trace("node17")]
        assert "bmc.media-out" in lines


async def test_what_a_killed_daemon_left_in_is_taken_out_by_the_next(rack: MediaRack) -> None:
    rack.board.stuck = BmcTimeout("the drive is not empty")
    async with rack.daemon() as conductor:
        await rack.enrol()
        machine = conductor.machines.get("node17")
        await conductor._runner.change(machine.id, lambda m, _: (replace(m, macs=(rack.board.mac,)), []))
        await conductor.boot("node17", "discovery", via="media")
        await rack.until(lambda: rack.board.power is Power.ON and rack.board.inserted)
        await conductor.cancel("node17")
    assert rack.board.inserted
    assert media(rack) == [f"{machine.id}.iso"]
    (rack.folder / "media" / "own.iso").write_text("an operator's, called as nothing of ours")
    rack.board.stuck = None
    async with rack.daemon() as conductor:
        await rack.until(lambda: not rack.board.inserted and media(rack) == ["own.iso"])
        await conductor.forget("node17")


BY_MEDIUM: dict[str, tuple[State, list[str]]] = {
    # what is booted, the state that it ends in, every effect that lasts, in order
    "discovery": (State.READY, ["power on"]),
    "debian-12": (State.ACTIVE, ["power off", "power on", "job job", "power off", "power on"]),
}


async def boots_by_medium(folder: Path, bootenv: str, die_at: Point | None) -> tuple[MediaRack, Points, Machine]:
    """Boot a machine by a medium with a daemon that dies at a point, and let another go on."""
    rack, points = MediaRack(folder), Points(die_at)

    async def boot(conductor: Conductor) -> Machine:
        begun = await conductor.boot("node17", bootenv, key="k", via="media")
        assert begun.run
        return await settled(conductor)

    async with rack.alive():
        async with rack.daemon() as conductor:
            await (rack.ready if bootenv != "discovery" else rack.known)(conductor)
            rack.board.log.clear()
        async with rack.daemon(points) as conductor:
            await boot(conductor)
        async with rack.daemon() as conductor:
            machine = await boot(conductor)  # the same key: accepted before the crash or now, but once
            await rack.until(lambda: not rack.board.inserted and not media(rack))
    return rack, points, machine


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("bootenv", BY_MEDIUM)
async def test_a_daemon_that_is_killed_at_any_point_carries_on(
    tmp_path_factory: pytest.TempPathFactory, bootenv: str
) -> None:
    end, effects = BY_MEDIUM[bootenv]
    lives = [await boots_by_medium(tmp_path_factory.mktemp("whole"), bootenv, None) for _ in range(LIVES)]
    assert {machine.state for _, _, machine in lives} == {end}
    whole = certain(points for _, points, _ in lives)
    assert {"before vmedia.insert", "after vmedia.insert", "before vmedia.eject"} <= {point.name for point in whole}
    for at, point in enumerate(whole):
        async with asyncio.timeout(20):
            rack, died, machine = await boots_by_medium(tmp_path_factory.mktemp(f"at{at}"), bootenv, point)
        where = f"killed {point.name} for the {point.nth + 1}. time (point {at + 1} of {len(whole)})"
        assert died.dead.is_set(), where
        assert (machine.state, machine.failure) == (end, None), where
        lasting = [what for what in rack.board.log if what not in ("inserted", "ejected")]
        assert lasting == effects, where


REFUSED: dict[str, tuple[Callable[[MediaRack], object], str, str]] = {
    "no address of its own": (
        lambda rack: setattr(rack, "place", None),
        "discovery",
        "no address",
    ),
    "no loader": (lambda rack: rack.files.pop("ipxe.iso"), "discovery", "no loader for CDs"),
    "a system that finds its own way": (lambda rack: None, "fake-installer", "boots from the network only"),
    "a system in memory": (lambda rack: None, "fake-live", "boots from the network only"),
}


@pytest.mark.parametrize(("break_it", "bootenv", "words"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_cannot_be_is_refused_before_anything_is_touched(
    rack: MediaRack, break_it: Callable[[MediaRack], object], bootenv: str, words: str
) -> None:
    async with rack.alive(), rack.daemon() as conductor:
        await rack.ready(conductor)
        rack.board.log.clear()
        break_it(rack)
        await conductor._runner.change(
            conductor.machines.get("node17").id, lambda m, _: (replace(m, macs=(rack.board.mac,)), [])
        )
        with pytest.raises(PreflightError, match=words):
            await conductor.boot("node17", bootenv, via="media")
        assert rack.board.log == []


async def test_a_medium_that_a_board_does_not_give_back_is_asked_for_by_one_at_a_time(rack: MediaRack) -> None:
    rack.board.stuck = BmcTimeout("the drive is not empty")
    async with rack.daemon() as conductor:
        await rack.known(conductor)
        await conductor.boot("node17", "discovery", via="media")
        await rack.until(lambda: rack.board.power is Power.ON and rack.board.inserted)
        await conductor.cancel("node17")
        for _ in range(20):  # whatever changes of it
            machine = conductor.machines.get("node17")
            await conductor._runner.change(machine.id, lambda m, now: (replace(m, seen=now), []))
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)  # time for as many tries as there were changes
        lines = [line.event for _, line in await conductor.trace("node17")]
        assert lines.count("bmc.media-left") == 1


async def test_the_medium_of_another_run_is_taken_out_as_soon_as_that_ends(
    rack: MediaRack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_module, "PAUSES_S", (3600.0,))

    async def boot_and_cancel(stuck: BmcError | None) -> None:
        earlier, rack.board.stuck = rack.board.inserted, None
        await conductor.boot("node17", "discovery", via="media")
        await rack.until(lambda: rack.board.inserted not in ("", earlier))
        rack.board.stuck = stuck
        await conductor.cancel("node17")

    async with rack.daemon() as conductor:
        await rack.known(conductor)
        await boot_and_cancel(BmcTimeout("the drive is not empty"))
        async with asyncio.timeout(20):
            while "bmc.media-left" not in [line.event for _, line in await conductor.trace("node17")]:
                await asyncio.sleep(0.01)
        await boot_and_cancel(None)
        await rack.until(lambda: not rack.board.inserted and not media(rack))


async def test_a_medium_of_a_machine_that_was_forgotten_waits_for_room(rack: MediaRack) -> None:
    gone = "5a1c2f6e-1f0a-4f0e-8f51-0d9b8a6f2c11"
    async with rack.daemon() as conductor:
        await conductor._tokens.mint(Purpose.MEDIUM, rack.board.mac, gone, "r1", "", conductor.clock.now())
    (rack.folder / "media").mkdir(exist_ok=True)  # a daemon makes it when it looks into it
    (rack.folder / "media" / f"{gone}.iso").write_bytes(b"a CD")
    rack.opened = filled
    async with rack.daemon() as conductor:
        await asyncio.sleep(0.1)  # it is tried at once
        assert media(rack) == [f"{gone}.iso"]
        assert not any(each.ends for each in conductor.services.standings())
    rack.opened = nothing
    async with rack.daemon():
        await rack.until(lambda: media(rack) == [])


async def filled(db: KillableDatabase) -> None:
    db.full = True


async def nothing(_db: KillableDatabase) -> None:
    pass
