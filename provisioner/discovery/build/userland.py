"""Choose the programs of the discovery system and collect the libraries that they need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from provisioner.discovery.build import cpio, elf
from provisioner.discovery.build.tools import run
from provisioner.errors import ArtifactError

PROGRAMS = {
    "busybox-static": ("busybox",),
    "curl": ("curl",),
    "dhcpcd-base": ("dhcpcd",),
    "kmod": ("kmod",),
    "fdisk": ("sfdisk",),
    "util-linux": ("lsblk", "blkid", "wipefs", "blkdiscard"),
    "e2fsprogs": ("e2fsck", "resize2fs", "tune2fs", "mke2fs"),
    "zstd": ("zstd",),
    "tar": ("tar",),
    "dmidecode": ("dmidecode",),
    "ipmitool": ("ipmitool",),
    "libgcc-s1": (),
}
"""Package -> its programs that go into the ramdisk; libraries follow from the programs."""

_KMOD = ("modprobe", "insmod", "rmmod", "lsmod", "modinfo", "depmod")
_BINARY_PLACES = ("bin", "sbin", "usr/bin", "usr/sbin")
_DLOPENED = ("libgcc_s.so.1",)
"""Libraries that no ELF header names: glibc opens libgcc_s when a thread (curl's resolver) is cancelled."""


def programs(*, with_ipmi: bool) -> tuple[str, ...]:
    """List the programs; `ipmitool` only goes with a kernel that has IPMI drivers."""
    return tuple(
        program for package, names in PROGRAMS.items() if package != "ipmitool" or with_ipmi for program in names
    )


def tree(root: Path, programs: Iterable[str], *, native: bool = True) -> dict[str, cpio.Entry]:
    """Programs in usr/bin, their libraries where the loader looks, and a link for every applet of busybox.

    Programs that are not `native` cannot run here: the host's busybox is asked for its applets instead.
    """
    found: dict[str, cpio.Entry] = {name: cpio.Link(f"usr/{name}") for name in ("bin", "lib", "lib64")}
    found |= {"sbin": cpio.Link("usr/bin"), "usr/sbin": cpio.Link("bin")}
    binaries = {program: _find_program(root, program) for program in programs}
    for applet in run([binaries["busybox"] if native else "busybox", "--list"]).decode().split():
        found[f"usr/bin/{applet}"] = cpio.Link("busybox")
    for program, file in binaries.items():
        found[f"usr/bin/{program}"] = cpio.File(file.read_bytes(), 0o755)
    found |= {f"usr/bin/{name}": cpio.Link("kmod") for name in _KMOD}
    return found | _libraries(root, binaries.values())


def _libraries(root: Path, programs: Iterable[Path]) -> dict[str, cpio.Entry]:
    """Everything that the programs load, and what that loads, until nothing new is asked for."""
    places = _library_places(root)
    found: dict[str, cpio.Entry] = {}
    todo = {*_DLOPENED, *(name for program in programs for name in _needed(program))}
    while todo:
        name = todo.pop()
        file = places.get(name)
        if file is None:
            raise ArtifactError(f"no package has the library {name}")
        folder = "lib64" if name.startswith("ld-linux-x86-64") else "lib"
        found[f"usr/{folder}/{name}"] = cpio.File(file.read_bytes(), 0o755)
        todo |= {
            other for other in _needed(file) if f"usr/lib/{other}" not in found and f"usr/lib64/{other}" not in found
        }
    return found


def _needed(file: Path) -> set[str]:
    needs = elf.needs(file.read_bytes())
    if needs is None:
        return set()
    return {*needs.libraries, *({Path(needs.interpreter).name} if needs.interpreter else ())}


def _library_places(root: Path) -> Mapping[str, Path]:
    folders = [
        f
        for base in ("lib64", "usr/lib64", "lib", "usr/lib")
        for f in (root / base, *(root / base).glob("*-linux-gnu"))
    ]
    return {file.name: file for folder in folders for file in folder.glob("*.so*") if file.is_file()}


def _find_program(root: Path, program: str) -> Path:
    for place in _BINARY_PLACES:
        if (file := root / place / program).is_file():
            return file.resolve()
    raise ArtifactError(f"no package has the program {program}")
