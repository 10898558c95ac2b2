"""Boot loaders that this host has: found where Debian's packages put them, or in directories of the operator's."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from provisioner.boot import packages
from provisioner.boot.files import FileTable, ServedFile
from provisioner.errors import ArtifactError

log = logging.getLogger(__name__)

MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Loader:
    """A name that we serve, and the file that a package installs for it."""

    name: str
    path: str
    package: str
    about: str


KNOWN = (
    Loader("undionly.kpxe", "/usr/lib/ipxe/undionly.kpxe", "ipxe", "BIOS, over the card's own driver"),
    Loader("ipxe.pxe", "/usr/lib/ipxe/ipxe.pxe", "ipxe", "BIOS, with iPXE's drivers"),
    Loader("ipxe.lkrn", "/usr/lib/ipxe/ipxe.lkrn", "ipxe", "BIOS, as a kernel"),
    Loader("snponly.efi", "/usr/lib/ipxe/snponly.efi", "ipxe", "UEFI x86-64, over the firmware's own driver"),
    Loader("ipxe.efi", "/usr/lib/ipxe/ipxe.efi", "ipxe", "UEFI x86-64, with iPXE's drivers"),
    Loader("ipxe.iso", "/usr/lib/ipxe/ipxe.iso", "ipxe", "isolinux for CDs, BIOS"),
    Loader(
        "gcdx64.efi",
        "/usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed",
        "grub-efi-amd64-signed",
        "GRUB for CDs, UEFI x86-64, behind shim or without",
    ),
    Loader(
        "gcdx64.efi",
        "/usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi",
        "grub-efi-amd64-bin",
        "GRUB for CDs, UEFI x86-64, unsigned",
    ),
    Loader("shimx64.efi", "/usr/lib/shim/shimx64.efi.signed", "shim-signed", "UEFI x86-64 with Secure Boot"),
    Loader("mmx64.efi", "/usr/lib/shim/mmx64.efi.signed", "shim-helpers-amd64-signed", "shim's MOK manager, x86-64"),
    Loader(
        "grubx64.efi",
        "/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed",
        "grub-efi-amd64-signed",
        "GRUB behind shim, x86-64",
    ),
    Loader("mmaa64.efi", "/usr/lib/shim/mmaa64.efi.signed", "shim-helpers-arm64-signed", "shim's MOK manager, arm64"),
    Loader("shimaa64.efi", "/usr/lib/shim/shimaa64.efi.signed", "shim-signed:arm64", "UEFI arm64 with Secure Boot"),
    Loader(
        "grubaa64.efi",
        "/usr/lib/grub/arm64-efi-signed/grubnetaa64.efi.signed",
        "grub-efi-arm64-signed",
        "GRUB, UEFI arm64",
    ),
    Loader(
        "gcdaa64.efi",
        "/usr/lib/grub/arm64-efi-signed/gcdaa64.efi.signed",
        "grub-efi-arm64-signed",
        "GRUB for CDs, UEFI arm64",
    ),
    Loader("pxelinux.0", "/usr/lib/PXELINUX/pxelinux.0", "pxelinux", "BIOS, by TFTP"),
    Loader("lpxelinux.0", "/usr/lib/PXELINUX/lpxelinux.0", "pxelinux", "BIOS, by HTTP"),
    Loader("ldlinux.c32", "/usr/lib/syslinux/modules/bios/ldlinux.c32", "syslinux-common", "pxelinux's core"),
    Loader("memdisk", "/usr/lib/syslinux/memdisk", "syslinux-common", "BIOS disk images in memory"),
)
"""What is looked for without being asked. shim looks for its second stage beside itself, under these very names."""


_COPY = re.compile(r"\.?[0-9a-f]{64}")
"""How copies are called. Whatever else lies beside them is somebody's own."""


class Loaders:
    """The loaders that are served: copies, in a directory of our own, of what was found when they were installed."""

    def __init__(self, table: FileTable, state: Path, sources: Sequence[Path] = ()) -> None:
        self._table, self._sources = table, tuple(sources)
        self._copies, self._packages = state / "loaders", state / "loader-packages"

    async def open(self) -> None:
        """Serve what this host has, at the start. Where no copies can be kept, what was found itself is served."""
        try:
            await self.install()
        except ArtifactError as error:
            log.error("loaders.uncopied error=%s", error.message)
            self._table.replace(await asyncio.to_thread(self._find))

    async def install(self, fetch: Sequence[str] = ()) -> list[ServedFile]:
        """Find and copy loaders anew, and serve these from now on. Transfers under way end with what they began.

        `fetch` names architectures whose packages are downloaded first. Raises `ArtifactError`.
        """
        installed = await asyncio.get_running_loop().run_in_executor(None, self._install, tuple(fetch))
        self._table.replace(installed)
        return installed

    def all(self) -> list[ServedFile]:
        """What is served now."""
        return list(self._table)

    def _install(self, fetch: Sequence[str]) -> list[ServedFile]:
        for arch in fetch:
            packages.fetch(arch, self._packages)
        return install(self._find(), self._copies)

    def _find(self) -> list[ServedFile]:
        return find_loaders(self._sources, fetched=packages.fetched(self._packages))


def find_loaders(
    directories: Iterable[Path] = (),
    known: Sequence[Loader] = KNOWN,
    fetched: Mapping[Path, Mapping[str, str]] = MappingProxyType({}),
) -> list[ServedFile]:
    """Find the loaders that this host can serve, with hash and version. Reads files and asks dpkg: blocks.

    Files in `directories` are served under their own names, and stand for packages' files of the same name; the first
    directory wins. Then come packages that were fetched (roots, and the versions in them), then the host's.
    """
    found: dict[str, ServedFile] = {}
    for directory in directories:
        for path in sorted(directory.glob("*")):
            if path.name not in found and (served := _served(path.name, path, str(directory))) is not None:
                found[path.name] = served
    wanted = [loader for loader in known if loader.name not in found]
    roots = [*fetched.items(), (Path("/"), package_versions({loader.package for loader in wanted}))]
    for root, versions in roots:
        for loader in wanted:
            name, package = loader.name, loader.package.partition(":")[0]
            version = versions.get(loader.package) or versions.get(package)
            origin = f"{package} {version}" if version else f"{loader.path} (of no package)"
            if name not in found and (served := _served(name, root / loader.path[1:], origin)) is not None:
                found[name] = served
    return sorted(found.values(), key=lambda file: file.name)


def _served(name: str, path: Path, origin: str) -> ServedFile | None:
    """Hash a file; None where there is none that can be read. Links are followed here, once, on the operator's disk."""
    try:
        real = path.resolve(strict=True)
        if not real.is_file() or real.stat().st_size > MAX_BYTES:
            return None
        content = real.read_bytes()
    except OSError:
        return None
    return ServedFile(name, real, len(content), hashlib.sha256(content).hexdigest(), origin)


def install(loaders: Iterable[ServedFile], directory: Path) -> list[ServedFile]:
    """Copy loaders to where no package upgrade changes them under a transfer; other such copies there go. Blocks.

    Raises `ArtifactError` where `directory` cannot be written.
    """
    installed = []
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        for loader in loaders:
            copy = directory / loader.sha256
            if not copy.is_file() or copy.stat().st_size != loader.size_bytes:
                _copy(loader.path, copy)
            installed.append(replace(loader, path=copy))
        for left in set(directory.iterdir()) - {loader.path for loader in installed}:
            if _COPY.fullmatch(left.name):
                left.unlink()
    except OSError as error:
        raise ArtifactError(f"{directory}: loaders cannot be kept here: {error.strerror}") from error
    return installed


def _copy(path: Path, copy: Path) -> None:
    scratch = copy.with_name(f".{copy.name}")
    try:
        shutil.copyfile(path, scratch)
        scratch.chmod(0o440)
        scratch.replace(copy)
    except OSError:
        scratch.unlink(missing_ok=True)  # there may be no room
        raise


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Ask dpkg for the versions of installed packages; what is not installed is left out."""
    wanted = sorted(names)
    if not wanted:
        return {}
    command = ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}\t${Package}\t${Architecture}\t${Version}\n", *wanted]
    try:
        environment = {**os.environ, "LC_ALL": "C"}
        output = subprocess.run(
            command, capture_output=True, text=True, timeout=30, check=False, env=environment
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return {}
    versions: dict[str, str] = {}
    for line in output.splitlines():
        status, package, architecture, version = line.split("\t")
        if status.startswith("ii"):
            versions[package] = versions[f"{package}:{architecture}"] = version
    return versions
