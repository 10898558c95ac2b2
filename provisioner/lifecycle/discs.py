"""CDs that are made of what a machine boots: written for its BMC (`media`), or for its firmware to fetch by HTTP.

Firmware with Secure Boot on starts shim and GRUB as distributions sign them, and that GRUB reads a disk but no HTTP. So
firmware that boots by HTTP gets all of its boot as one CD, which it keeps in memory: loaders, the machine's own GRUB
configuration, kernel and initrds.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO
from weakref import WeakValueDictionary

from provisioner.boot.files import DISCS, MADE_OF, ServedFile
from provisioner.boot.iso import Image
from provisioner.boot.medium import BIOS_FILES, BIOS_IMAGE, EFI, Load, Programs, initrd_name, lay_out
from provisioner.catalog import iso9660
from provisioner.catalog.room import room_for
from provisioner.clock import SteadyClock
from provisioner.errors import ArtifactError, NotFoundError
from provisioner.lifecycle.boots import Boots
from provisioner.lifecycle.ports import Network
from provisioner.model.catalog import Bootenv
from provisioner.model.net import Mac

AT_ONCE = 4
"""Written at once: 40 to 60 MB each, to the page cache."""
KEPT = 32
"""CDs that are kept, some 2 GB, for who asks again or in parts; another machine's goes when the next one is made."""
FRESH_S = 30.0
"""So long a CD is given again though a boot begins: no firmware is back so soon, and who asks for nothing but its size
again and again would have 65 MB written each time, to the disk on which every lease waits."""
ARCH_OF = {name: arch for arch, name in DISCS.items()}
_OURS = re.compile(r"[0-9a-f]{64}\.(iso|part)")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a CD is for: the same is given again, until a boot begins anew."""

    name: str
    system: str
    run: str
    address: str


class Discs:
    """The CDs that machines fetch. Each is for the one that holds the asking address, and holds a token of its own."""

    def __init__(self, folder: Path, boots: Boots, network: Network, clock: SteadyClock) -> None:
        self._folder, self._boots, self._network, self._clock = folder, boots, network, clock
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._kept: OrderedDict[Mac, tuple[Wanted, ServedFile, float]] = OrderedDict()
        """What each is for, where it lies, and when it was made."""
        self._locks: WeakValueDictionary[Mac, asyncio.Lock] = WeakValueDictionary()
        """One CD of a machine is made at a time; a lock lives while anybody wants it."""

    async def open(self) -> None:
        """Take away what an earlier daemon left: nobody can ask for it."""
        await asyncio.to_thread(_clear, self._folder)

    async def find(self, name: str, address: str, *, begins: bool) -> ServedFile:
        """Give the CD called `name` to the machine at `address`; raise `NotFoundError` where it is to boot none.

        `begins`: a boot begins, so it is made anew, unless that was less than `FRESH_S` ago. UEFI asks for the size
        first (UEFI 2.10 section 24.7.3.1). Requests of one machine that come while its CD is made get that one.
        """
        mac = self._network.lease_of(address)
        if mac is None:
            raise NotFoundError(f"there is no such CD: {address} holds no lease")
        if name not in ARCH_OF:
            raise NotFoundError("there is no such CD: nothing is called so")
        if not self._network.serves(name):
            loaders = ", ".join(MADE_OF[name])
            raise NotFoundError(f"there is no such CD: its loaders are not all served ({loaders})")
        before, lock = self._kept.get(mac), self._locks.setdefault(mac, asyncio.Lock())
        async with lock, self._turns:
            system, wanted = self._wanted(mac, name, address)
            kept = self._kept.get(mac)
            if kept is not None and kept[0] == wanted:
                fresh = self._clock.now() - kept[2] < FRESH_S
                if kept is not before or not begins or fresh:
                    self._kept.move_to_end(mac)
                    return kept[1]
            file = await self._make(mac, system, wanted)
            self._kept[mac] = wanted, file, self._clock.now()
            return file

    def _wanted(self, mac: Mac, name: str, address: str) -> tuple[Bootenv, Wanted]:
        machine = self._boots.machine_of(mac)
        system = self._boots.system_on_disc(mac, address)
        run = machine.run.id if machine is not None and machine.run is not None else ""
        return system, Wanted(name, system.name, run, address)

    async def _make(self, mac: Mac, system: Bootenv, wanted: Wanted) -> ServedFile:
        arch = ARCH_OF[wanted.name]
        files = [self._file(f"artifacts/{system.name}/{arch}/{each}") for each in files_of(system, arch)]
        record = await self._boots.record(mac, self._boots.machine_of(mac), system, wanted.address)
        names = MADE_OF[wanted.name]
        programs = await asyncio.to_thread(read_programs, {each: self._file(each) for each in names})
        digest = hashlib.sha256(record.args.encode()).hexdigest()
        path = self._folder / f"{digest}.iso"
        words = record.title, record.args
        size_bytes = await self._written(path, partial(write, path, files, words, programs, arch), self._make_way(mac))
        return ServedFile(wanted.name, path, size_bytes, digest)

    def _make_way(self, mac: Mac) -> list[Path]:
        """Forget this machine's CD, and those asked for least recently where they are too many; say where they lie."""
        gone = [kept[1].path] if (kept := self._kept.pop(mac, None)) is not None else []
        while len(self._kept) >= KEPT:
            gone.append(self._kept.popitem(last=False)[1][1].path)
        return gone

    async def _written(self, path: Path, work: Callable[[], int], gone: Sequence[Path]) -> int:
        """Delete what is gone and write the CD. Who hangs up keeps the turn until it is written, and deleted again."""
        writing = asyncio.get_running_loop().run_in_executor(None, _exchange, gone, work)
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            await asyncio.to_thread(path.unlink, missing_ok=True)
            raise

    def _file(self, name: str) -> ServedFile:
        file = self._network.file(name)
        if file is None:
            raise NotFoundError(f"there is no such CD: {name} is not served")
        return file


def files_of(system: Bootenv, arch: str) -> tuple[str, ...]:
    """Name the files of a system that go onto a CD, the kernel first; raise `ArtifactError` where it has none."""
    files = system.arch.get(arch)
    if files is None or not files.kernel:
        raise ArtifactError(f"{system.name} has nothing to boot for {arch}")
    return (files.kernel, *files.initrds)


def read_programs(found: Mapping[str, ServedFile]) -> Programs:
    """Read the loaders; isolinux out of the image that it comes in. Blocks."""
    read = {name: file.path.read_bytes() for name, file in found.items() if name != BIOS_IMAGE}
    grub = next((read[names.grub] for names in EFI.values() if names.grub in read), b"")
    shim = next((read[names.shim] for names in EFI.values() if names.shim in read), b"")
    programs = Programs(grub, shim)
    if (image := found.get(BIOS_IMAGE)) is not None:
        with image.path.open("rb") as source:
            read_at = partial(_read_at, source.fileno())
            isolinux, ldlinux = (
                b"".join(read_at(part.offset, part.length) for part in iso9660.find(read_at, name, image.size_bytes))
                for name in BIOS_FILES
            )
        programs = replace(programs, isolinux=isolinux, ldlinux=ldlinux)
    return programs


def _read_at(descriptor: int, offset: int, length: int) -> bytes:
    return os.pread(descriptor, length, offset)


def _clear(folder: Path) -> None:
    for path in folder.iterdir() if folder.is_dir() else ():
        if _OURS.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _exchange(gone: Sequence[Path], work: Callable[[], int]) -> int:
    for path in gone:
        path.unlink(missing_ok=True)
    return work()


def write(path: Path, files: Sequence[ServedFile], words: tuple[str, str], programs: Programs, arch: str) -> int:
    """Write a CD, whole or not at all, and say how large it is; raise `ArtifactError` where it cannot be. Blocks.

    `files` are kernel and initrds, `words` what people read of it, and the kernel's command line.
    """
    title, args = words
    sizes = [file.size_bytes for file in files]
    image = lay_out(Load(title, sizes[0], tuple(sizes[1:]), args), programs, arch)
    sources = {"BOOT/VMLINUZ": files[0].path} | {initrd_name(at): one.path for at, one in enumerate(files[1:])}
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    room_for(path.parent, image.size_bytes)
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as target:
            os.fchmod(target.fileno(), 0o600)
            target.write(image.head)
            target.truncate(image.size_bytes)
            _copy(image, sources, target)
        part.rename(path)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be written: {error}", hint="is there room on this disk?") from error
    finally:
        part.unlink(missing_ok=True)
    return image.size_bytes


def _copy(image: Image, sources: Mapping[str, Path], target: BinaryIO) -> None:
    for name, source in sources.items():
        target.seek(image.places[name])
        with source.open("rb") as content:
            shutil.copyfileobj(content, target, 1 << 20)
