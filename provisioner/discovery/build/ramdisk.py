"""Build the discovery system: a kernel, and a ramdisk with our agent and the few programs that it runs.

The same packages and sources give the same bytes: entries are sorted, times are 0, compression is single-minded.
Modules keep their signatures (no strip), so they load under Secure Boot too.
"""

from __future__ import annotations

import lzma
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from provisioner.discovery.build import apt, cache, cpio, modules, userland
from provisioner.discovery.build.tools import Say, require, run
from provisioner.errors import ArtifactError

RAMDISK = Path(__file__).resolve().parent.parent / "ramdisk"
"""The agent's sources, as package data."""

KERNELS = {
    ("cloud", "amd64"): ("linux-image-cloud-amd64", "linux-image-virtual"),
    ("generic", "amd64"): ("linux-image-amd64", "linux-image-generic"),
    ("virtual", "amd64"): ("linux-image-amd64", "linux-image-generic"),
    ("cloud", "arm64"): ("linux-image-cloud-arm64", "linux-image-virtual"),
    ("generic", "arm64"): ("linux-image-arm64", "linux-image-generic"),
    ("virtual", "arm64"): ("linux-image-arm64", "linux-image-generic"),
}
"""(flavour, architecture) -> the kernel's package at Debian, at Ubuntu. `generic` has every driver; `virtual` is the
same kernel with those of virtual machines and of BMCs; the distribution's `cloud` kernel knows no BMC."""
ARCHITECTURES = sorted({arch for _, arch in KERNELS})
MODULE_LISTS = {"generic": "modules.list", "cloud": "modules.list", "virtual": "modules-virtual.list"}
LEVELS = {"generic": 19, "cloud": 9, "virtual": 9}
"""How hard the ramdisk is packed. 19 takes 20 s and saves every machine of a fleet a seventh of what it loads; what
only virtual machines start comes from near them, and in a lab somebody waits for the build."""

_IPMI = "drivers/char/ipmi"
_DIRECTORIES = ("dev", "proc", "sys", "run", "tmp", "mnt", "root", "etc", "var/log")
_MODULE_INDEXES = ("*.bin", "modules.softdep", "modules.devname", "modules.order")
_RD_ZSTD = re.compile(r"^CONFIG_RD_ZSTD=y$", re.MULTILINE)
_FOREIGN = {"busybox": "busybox-static"}
"""What is needed besides for another architecture: the applets are those of the host's busybox, which can be asked."""
_TOOLS = {"apt-get": "apt", "dpkg-deb": "dpkg", "depmod": "kmod", "zstd": "zstd"}


@dataclass(frozen=True, slots=True)
class Options:
    """What an operator can choose."""

    kernel: str = "generic"
    extra_packages: tuple[str, ...] = ()
    """Packages whose /lib/firmware goes in as well, for network cards that need it."""
    arch: str = ""
    """In Debian's spelling; empty: the host's."""


def build(options: Options, output: Path, debs: Path, say: Say) -> cache.Manifest:
    """Build the discovery system into `output`, or say that what is there is current. `debs` keeps packages."""
    require(_TOOLS)
    archive = apt.host()
    if options.arch not in ("", archive.arch):
        require(_FOREIGN)
        say(f"reading the lists of packages for {options.arch}")
        archive = apt.foreign(options.arch, debs / f"apt-{options.arch}")
    kernel = _kernel_package(options.kernel, archive)
    packages = _wanted(archive.resolve((kernel, *userland.PROGRAMS, *options.extra_packages)), options)
    key = cache.inputs_key(_inputs(options, packages))
    if (manifest := cache.current(output, key)) is not None:
        say(f"discovery system {key} is current")
        return manifest
    with cache.workspace(output) as scratch:
        root = scratch / "root"
        files = archive.download(packages, debs, say)
        say(f"unpacking {len(files)} packages")
        apt.unpack(files, root)
        return cache.publish(output, _assemble(root, scratch, key, Made(options.kernel, archive.arch, packages), say))


@dataclass(frozen=True, slots=True)
class Made:
    """What it is made of."""

    flavour: str
    arch: str
    packages: tuple[apt.Package, ...]


def _assemble(root: Path, scratch: Path, key: str, made: Made, say: Say) -> cache.Manifest:
    version = _kernel_version(root)
    chosen = _modules(root, version, MODULE_LISTS[made.flavour])
    say(f"kernel {version}: {len(chosen)} modules")
    with_ipmi = any(_IPMI in path for path in chosen)
    tree = {
        **userland.tree(root, userland.programs(with_ipmi=with_ipmi), native=made.arch == apt.host().arch),
        **_module_tree(root, scratch, version, chosen),
        **_firmware(root),
        **_agent(),
    }
    vmlinuz, initrd = scratch / "vmlinuz", scratch / "initrd.img"
    vmlinuz.write_bytes(_one(root / "boot", f"vmlinuz-{version}").read_bytes())
    zstd = _RD_ZSTD.search(_one(root / "boot", f"config-{version}").read_text()) is not None
    say(f"packing {len(tree)} files with {'zstd' if zstd else 'gzip'}")
    _pack(tree, initrd, zstd=zstd, level=LEVELS[made.flavour])
    artifacts = (cache.measure(vmlinuz), cache.measure(initrd))
    for item in artifacts:
        say(f"{item.name}: {item.size_bytes / 1e6:.1f} MB")
    details = {"kernel": version, "packages": {p.name: p.version for p in made.packages}}
    return cache.Manifest("discovery", made.arch, key, artifacts, details)


def _inputs(options: Options, packages: tuple[apt.Package, ...]) -> dict[str, Any]:
    return {
        "sources": cache.sources_hash(RAMDISK, Path(__file__).resolve().parent),
        "packages": [package.file for package in packages],
        "kernel": options.kernel,
        "arch": options.arch,
        "version": version("provisioner"),
    }


def _kernel_package(flavour: str, archive: apt.Apt) -> str:
    names = KERNELS.get((flavour, archive.arch))
    if names is None:
        known = ", ".join(" on ".join(pair) for pair in KERNELS)
        raise ArtifactError(f"no kernel {flavour!r} for {archive.arch}", hint=f"known: {known}")
    for name in names:
        if archive.known(name):
            return name
    raise ArtifactError(f"no package {' or '.join(names)} in the apt sources", hint="apt-get update")


def _wanted(packages: Iterable[apt.Package], options: Options) -> tuple[apt.Package, ...]:
    """Of a resolved closure, keep programs, libraries and the kernel: what a ramdisk can use without installing it."""
    named = {*userland.PROGRAMS, *options.extra_packages}
    prefixes = ("lib", "zlib", "linux-image-", "linux-modules-")
    return tuple(p for p in packages if p.name in named or p.name.startswith(prefixes))


def _kernel_version(root: Path) -> str:
    versions = [path.name.removeprefix("vmlinuz-") for path in (root / "boot").glob("vmlinuz-*")]
    if len(versions) != 1:
        raise ArtifactError(f"expected one kernel, found {versions or 'none'}")
    return versions[0]


def _module_folder(root: Path, version: str) -> Path:
    for base in ("usr/lib", "lib"):
        if (folder := root / base / "modules" / version).is_dir():
            return folder
    raise ArtifactError(f"the kernel packages have no modules of {version}")


def _modules(root: Path, version: str, wanted: str) -> tuple[str, ...]:
    folder = _module_folder(root, version)
    base = folder.parent.parent.parent
    run(["depmod", "--basedir", base, version])
    table = modules.dependencies((folder / "modules.dep").read_text())
    return modules.choose(table, modules.patterns((RAMDISK / wanted).read_text()))


def _module_tree(root: Path, scratch: Path, version: str, chosen: Iterable[str]) -> dict[str, cpio.Entry]:
    """The chosen modules unpacked (one compression over all is smaller than one each), with indexes of only them."""
    source, stage = _module_folder(root, version), scratch / "modules" / "lib" / "modules" / version
    for path in chosen:
        plain = stage / re.sub(r"\.ko\.\w+$", ".ko", path)
        plain.parent.mkdir(parents=True, exist_ok=True)
        plain.write_bytes(_unpacked(source / path))
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        (stage / name).write_bytes((source / name).read_bytes())
    run(["depmod", "--basedir", scratch / "modules", version])
    files = [*stage.rglob("*.ko"), *(file for glob in _MODULE_INDEXES for file in stage.glob(glob))]
    return {f"usr/lib/modules/{version}/{f.relative_to(stage)}": cpio.File(f.read_bytes()) for f in files}


def _unpacked(file: Path) -> bytes:
    if file.suffix == ".xz":
        return lzma.decompress(file.read_bytes())
    if file.suffix == ".zst":
        return run(["zstd", "--decompress", "--stdout", file])
    return file.read_bytes()


def _firmware(root: Path) -> dict[str, cpio.Entry]:
    folders = [root / base / "firmware" for base in ("lib", "usr/lib")]
    return {
        f"usr/lib/firmware/{file.relative_to(folder)}": cpio.File(file.read_bytes())
        for folder in folders
        for file in folder.rglob("*")
        if file.is_file()
    }


def _agent() -> dict[str, cpio.Entry]:
    tree: dict[str, cpio.Entry] = {
        "init": cpio.Link("usr/lib/provisioner/init"),
        "dev/console": cpio.Device(5, 1),
        "usr/lib/provisioner/version": cpio.File(f"{version('provisioner')}\n".encode()),
        "etc/inittab": cpio.File((RAMDISK / "inittab").read_bytes()),
        "etc/passwd": cpio.File(b"root::0:0:root:/root:/bin/sh\n"),
    }
    for file in sorted(RAMDISK.iterdir()):
        if file.suffix in ("", ".sh", ".awk") and file.name != "inittab":
            mode = 0o755 if file.suffix == "" else 0o644
            tree[f"usr/lib/provisioner/{file.name}"] = cpio.File(file.read_bytes(), mode)
    return tree


def _one(folder: Path, name: str) -> Path:
    if not (file := folder / name).is_file():
        raise ArtifactError(f"the kernel package has no {name}")
    return file


def _pack(tree: cpio.Tree, initrd: Path, *, zstd: bool, level: int) -> None:
    data = b"".join(cpio.archive(tree, _DIRECTORIES))
    # -T2 whatever the machine has: the number of jobs, and with it the output, stays the same.
    command = ["zstd", f"-{level}", "-T2", "--quiet", "--stdout"] if zstd else ["gzip", "-9", "--no-name", "--stdout"]
    initrd.write_bytes(run(command, stdin=data))
