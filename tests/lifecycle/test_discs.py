"""CDs that firmware fetches by HTTP, where Secure Boot leaves no other way: made for one machine and one boot."""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.boot.files import FileTable, ServedFile
from provisioner.boot.script import Dialect
from provisioner.catalog import iso9660, room
from provisioner.errors import ArtifactError, NotFoundError
from provisioner.lifecycle import discs
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.discs import FRESH_S
from provisioner.lifecycle.ports import Network
from provisioner.model.boot import Arch, Asker, BootClient, LoadFile
from provisioner.model.machine import State
from provisioner.model.trace import Channel, TraceLine
from tests.lifecycle.rack import Metal, Rack
from tests.lifecycle.test_faults import SetClock

NAME = "cdx64.iso"
SIGNED = ("shimx64.efi", "gcdx64.efi")


class Secured(Rack):
    """Machines whose firmware boots by HTTP, and a daemon that has loaders and the discovery system."""

    def __init__(self, folder: Path, names: tuple[str, ...] = ("node17",), loaders: tuple[str, ...] = SIGNED) -> None:
        super().__init__(folder, names)
        system = ("artifacts/discovery/amd64/vmlinuz", "artifacts/discovery/amd64/initrd.img")
        self.files = {name: self._served(name) for name in (*loaders, *system, "snponly.efi")}
        self.table = FileTable(self.files.values())

    def _served(self, name: str) -> ServedFile:
        path = self.folder / name.rpartition("/")[2]
        path.write_bytes(name.encode() * 1000)
        return ServedFile(name, path, path.stat().st_size, "00")

    def _network(self) -> Network:
        tls_url = "https://10.0.0.1:8443"
        served = replace(super()._network(), file=self.files.get, serves=self.table.serves)
        return replace(served, tls_url=lambda _address: tls_url)


def asking(metal: Metal) -> BootClient:
    return BootClient(metal.mac, Asker.HTTP, Arch.EFI_X64_HTTP, metal.uuid)


def read(path: Path, name: str) -> bytes:
    made = path.read_bytes()
    found = iso9660.find(lambda at, length: made[at : at + length], name, len(made))
    return b"".join(made[part.offset : part.offset + part.length] for part in found)


def fetched(conductor: Conductor, metal: Metal, name: str) -> None:
    conductor.observe(TraceLine(0.0, Channel.HTTP, "http.sent", f"{name}: 5 bytes in 0.1 s", mac=metal.mac))


async def test_firmware_that_refused_a_loader_gets_all_of_its_boot_as_a_cd(tmp_path: Path) -> None:
    rack = Secured(tmp_path)
    metal = rack.one()
    async with rack.daemon() as conductor:
        await rack.enrol()
        assert conductor.decide(asking(metal)).name == "snponly.efi"  # type: ignore[union-attr]
        fetched(conductor, metal, "snponly.efi")
        plan = conductor.decide(asking(metal))
        assert isinstance(plan, LoadFile)
        assert (plan.name, plan.direct) == (NAME, False)
        sized = await conductor.discs.find(NAME, metal.ip, begins=True)
        given = await conductor.discs.find(NAME, metal.ip, begins=False)
        assert given == sized
        assert given.path.stat().st_size == given.size_bytes
        assert given.path.stat().st_mode & 0o777 == 0o600
        assert read(given.path, "BOOT/VMLINUZ") == b"artifacts/discovery/amd64/vmlinuz" * 1000
        assert read(given.path, "BOOT/INITRD0.IMG") == b"artifacts/discovery/amd64/initrd.img" * 1000
        config = read(given.path, "BOOT/GRUB/GRUB.CFG").decode()
        token = config.partition("provisioner.token=")[2].partition("'")[0]
        fetched(conductor, metal, NAME)
        assert await conductor.booter.agent_facts(token, metal.ip, b'{"name": "node17"}')
        lines = [line.text for _, line in await conductor.trace("node17") if line.event == "boot.refused"]
        assert lines == [
            f"the firmware did not start the loader that it fetched, as with Secure Boot: it is given {NAME}"
        ]


async def test_a_boot_that_begins_anew_gets_a_new_one(tmp_path: Path) -> None:
    rack = Secured(tmp_path)
    metal, rack.clock = rack.one(), (clock := SetClock())
    async with rack.daemon() as conductor:
        await rack.enrol()
        conductor.decide(asking(metal))
        first = await conductor.discs.find(NAME, metal.ip, begins=False)
        assert await conductor.discs.find(NAME, metal.ip, begins=True) == first, "no firmware is back so soon"
        clock.ahead_s += FRESH_S
        again = await conductor.discs.find(NAME, metal.ip, begins=True)
        assert first.sha256 != again.sha256
        assert first.size_bytes == again.size_bytes, "what HEAD said is still so when the CD was made again for GET"
        assert [path.name for path in first.path.parent.iterdir()] == [again.path.name]
    async with rack.daemon() as conductor:
        assert not again.path.exists(), "nobody can ask for it any more"


REFUSED = {
    "an address that nobody holds": (NAME, "10.9.9.9", State.ENROLLED, "10.9.9.9 holds no lease"),
    "another architecture": ("cdaa64.iso", "", State.ENROLLED, r"its loaders are not all served \(.*gcdaa64.efi"),
    "no CD of ours": ("other.iso", "", State.ENROLLED, "nothing is called so"),
    "a machine that is to boot its disk": (NAME, "", State.MAINTENANCE, "node17 is maintenance"),
}


@pytest.mark.parametrize(("name", "address", "state", "why"), REFUSED.values(), ids=REFUSED.keys())
async def test_who_gets_none(tmp_path: Path, name: str, address: str, state: State, why: str) -> None:
    rack = Secured(tmp_path)
    metal = rack.one()
    async with rack.daemon() as conductor:
        await rack.enrol()
        conductor.decide(asking(metal))
        if state is State.MAINTENANCE:
            conductor.decide(asking(metal))
            await conductor.discs.find(NAME, metal.ip, begins=True)
            await conductor.hold("node17", "new fan")
        with pytest.raises(NotFoundError, match=f"there is no such CD: {why}"):
            await conductor.discs.find(name, address or metal.ip, begins=False)


async def test_without_signed_loaders_there_is_nothing_to_give(tmp_path: Path) -> None:
    rack = Secured(tmp_path, loaders=("shimx64.efi",))
    metal = rack.one()
    async with rack.daemon() as conductor:
        await rack.enrol()
        conductor.decide(asking(metal))
        fetched(conductor, metal, "snponly.efi")
        assert conductor.decide(asking(metal)).name == "snponly.efi"  # type: ignore[union-attr]
        text = next(line.text for _, line in await conductor.trace("node17") if line.event == "boot.refused")
        assert text.endswith(f"there is no {NAME} to give it")
        with pytest.raises(NotFoundError):
            await conductor.discs.find(NAME, metal.ip, begins=True)


async def test_a_loader_that_asks_by_https_is_told_to_fetch_by_it(tmp_path: Path) -> None:
    """What it starts speaks to us by HTTP: it has nobody's certificate."""
    rack = Secured(tmp_path)
    metal = rack.one()
    async with rack.daemon() as conductor:
        await rack.enrol()
        conductor.decide(asking(metal))
        script = (await conductor.booter.boot_script(metal.mac, metal.ip, Dialect.IPXE_HTTPS)).decode()
        assert "kernel https://10.0.0.1:8443/artifacts/discovery/amd64/vmlinuz" in script
        assert "initrd --name initrd.img https://10.0.0.1:8443/artifacts/discovery/amd64/initrd.img" in script
        assert "provisioner.url=http://10.0.0.1:8080" in script


async def test_no_more_are_kept_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discs, "KEPT", 2)
    rack = Secured(tmp_path, ("node17", "node18", "node19"))
    async with rack.daemon() as conductor:
        made = []
        for metal in rack.metal:
            conductor.decide(asking(metal))
            made.append(await conductor.discs.find(NAME, metal.ip, begins=True))
        assert [file.path.exists() for file in made] == [False, True, True]
        assert len({hashlib.sha256(file.path.read_bytes()).digest() for file in made[1:]}) == 2


def left(rack: Secured) -> list[str]:
    """Name what lies in the folder of CDs."""
    return [path.name for path in (rack.folder / "discs").iterdir()]


async def test_requests_of_one_machine_at_once_are_one_cd(tmp_path: Path) -> None:
    rack = Secured(tmp_path)
    metal = rack.one()
    async with rack.daemon() as conductor:
        await rack.enrol()
        conductor.decide(asking(metal))
        made = await asyncio.gather(*(conductor.discs.find(NAME, metal.ip, begins=True) for _ in range(8)))
        assert len({file.sha256 for file in made}) == 1
        assert left(rack) == [made[0].path.name]


async def test_who_hangs_up_leaves_nothing_behind(tmp_path: Path) -> None:
    rack = Secured(tmp_path)
    metal = rack.one()
    kernel = rack.files["artifacts/discovery/amd64/vmlinuz"]
    content = kernel.path.read_bytes()
    kernel.path.unlink()
    os.mkfifo(kernel.path)
    async with rack.daemon() as conductor:
        await rack.enrol()
        conductor.decide(asking(metal))
        async with asyncio.TaskGroup() as group:
            gone = group.create_task(conductor.discs.find(NAME, metal.ip, begins=True))
            pipe = await asyncio.to_thread(kernel.path.open, "wb")  # opens when the kernel is being copied to the CD
            gone.cancel()
            waiting = group.create_task(conductor.discs.find(NAME, metal.ip, begins=True))
            await asyncio.to_thread(pipe.write, content)
            await asyncio.to_thread(pipe.close)
            await asyncio.wait([gone])
            assert gone.cancelled()
            assert not [name for name in left(rack) if name.endswith(".iso")], "it was whole when nobody waited for it"
            pipe = await asyncio.to_thread(kernel.path.open, "wb")
            await asyncio.to_thread(pipe.write, content)
            await asyncio.to_thread(pipe.close)
            file = await waiting
        assert left(rack) == [file.path.name]


async def test_only_our_own_cds_are_cleared_when_a_daemon_starts(tmp_path: Path) -> None:
    rack, folder = Secured(tmp_path), tmp_path / "discs"
    folder.mkdir()
    for name in (f"{'ab' * 32}.iso", f"{'cd' * 32}.part", "rescue.iso"):
        (folder / name).write_text("")
    (folder / "archive").mkdir()
    async with rack.daemon():
        assert sorted(left(rack)) == ["archive", "rescue.iso"]


async def test_a_cd_that_cannot_be_written_leaves_no_part_of_itself(tmp_path: Path) -> None:
    rack = Secured(tmp_path)
    metal = rack.one()
    async with rack.daemon() as conductor:
        await rack.enrol()
        conductor.decide(asking(metal))
        rack.files["artifacts/discovery/amd64/initrd.img"].path.unlink()
        with pytest.raises(ArtifactError, match="cannot be written"):
            await conductor.discs.find(NAME, metal.ip, begins=True)
        assert left(rack) == []


async def test_a_cd_leaves_room_for_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rack = Secured(tmp_path)
    metal, rack.clock = rack.one(), (clock := SetClock())
    async with rack.daemon() as conductor:
        await rack.enrol()
        conductor.decide(asking(metal))
        await conductor.discs.find(NAME, metal.ip, begins=True)
        monkeypatch.setattr(room, "KEEP_FREE_BYTES", 1 << 62)
        clock.ahead_s += FRESH_S
        with pytest.raises(ArtifactError, match="MB free"):
            await conductor.discs.find(NAME, metal.ip, begins=True)
        assert left(rack) == []
