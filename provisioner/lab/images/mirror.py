"""Build a partial mirror: Debian packages for installs from packages, in a rack that has no way out.

A repository without folders: `deb [trusted=yes] http://HOST/ ./`. The packages are packed anew with zstd, since an
emulated processor unpacks Debian's xz at a few MB/s; their contents stay as they are.
"""

from __future__ import annotations

import hashlib
import lzma
from collections.abc import Iterable
from pathlib import Path

from provisioner.discovery.build import apt, cache
from provisioner.discovery.build.tools import Say, require, run
from provisioner.lab.images import ar
from provisioner.lab.images.bootstrap import debian_sources, index_targets

SUITE = "bookworm"
BASE = ("?essential", "?priority(required)", "apt")
"""What every bootstrap begins with, whatever it is asked for."""
SYSTEM = (
    "ca-certificates", "curl", "dbus", "e2fsprogs", "iproute2", "iputils-ping", "kmod", "netbase", "openssh-server",
    "procps", "sudo", "systemd-resolved", "systemd-sysv", "systemd-timesyncd", "udev", "zstd",
)  # fmt: skip
MERGED = "usr-is-merged"
"""Instead of usrmerge, which would bring Perl: a new system is merged from its beginning."""
STORAGE = ("cryptsetup-initramfs", "lvm2", "mdadm")
KERNEL = ("initramfs-tools", "linux-image-cloud-amd64")
LOADERS = ("grub-pc", "grub-efi-amd64")
"""No system has both: apt resolves them apart."""
_DEFAULT = (
    f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian {SUITE} main",
)
"""Where the host is not Debian; the file is of the package debian-archive-keyring."""
_LEVEL = "-1"
_TOOLS = {"apt-get": "apt", "dpkg-deb": "dpkg", "zstd": "zstd"}


def build(output: Path, debs: Path, say: Say, extra: tuple[str, ...] = ()) -> cache.Manifest:
    """Build the mirror into `output`, or say that what is there is current. `debs` keeps packages."""
    require(_TOOLS)
    say("reading the lists of packages")
    archive = debian(debs / f"apt-{SUITE}")
    wanted = (*BASE, MERGED, *SYSTEM, *STORAGE, *KERNEL, *extra)
    packages = sorted({package for loader in LOADERS for package in archive.resolve((*wanted, loader))})
    ours = cache.sources_hash(Path(__file__).resolve().parent)
    key = cache.inputs_key({"sources": ours, "packages": [package.file for package in packages]})
    if (manifest := cache.current(output, key)) is not None:
        say(f"mirror {key} is current")
        return manifest
    with cache.workspace(output) as scratch:
        files = [repack(file, scratch) for file in archive.download(packages, debs, say)]
        say(f"{len(files)} packages, {sum(file.stat().st_size for file in files) / 1e6:.0f} MB")
        index = scratch / "Packages"
        index.write_text("\n".join(entry_of(file) for file in files))
        release = scratch / "Release"
        release.write_text(release_of(index.read_bytes()))
        items = tuple(cache.measure(file) for file in (index, release, *files))
        details = {"packages": {package.name: package.version for package in packages}}
        return cache.publish(output, cache.Manifest("mirror", "amd64", key, items, details))


def debian(folder: Path) -> apt.Apt:
    """Make an apt that knows Debian's packages of `SUITE`, whatever the host is, with lists in `folder`."""
    return apt.with_sources("amd64", folder, debian_sources(SUITE, index_targets()) or _DEFAULT)


def release_of(index: bytes) -> str:
    """Write the Release file of a repository that has nothing but this index."""
    return (
        f"Origin: Debian\nSuite: {SUITE}\nCodename: {SUITE}\nArchitectures: amd64\n"
        f"Date: Thu, 01 Jan 1970 00:00:00 UTC\nSHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n"
    )


def repack(file: Path, folder: Path) -> Path:
    """The same package, with members packed by zstd; the name has no sign that URLs escape."""
    place = folder / file.name.replace("%3a", "-")
    place.write_bytes(ar.write(_quick(ar.read(file.read_bytes()))))
    return place


def _quick(members: Iterable[tuple[str, bytes]]) -> Iterable[tuple[str, bytes]]:
    for name, data in members:
        if name.endswith(".xz"):
            yield f"{name.removesuffix('.xz')}.zst", run(["zstd", "-q", _LEVEL, "-c"], stdin=lzma.decompress(data))
        else:
            yield name, data


def entry_of(file: Path) -> str:
    """The package's paragraph in the index."""
    data = file.read_bytes()
    about = run(["dpkg-deb", "--field", file]).decode("utf-8").rstrip("\n")
    return f"{about}\nFilename: ./{file.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
