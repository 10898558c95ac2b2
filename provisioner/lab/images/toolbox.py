"""Build the toolbox: a small Debian in memory, with what package installs need and the discovery system has not.

Bootenvs of kind bootstrap unpack it beside the discovery system and work in it: mmdebstrap, mdadm, LVM, cryptsetup.
"""

from __future__ import annotations

import os
from pathlib import Path

from provisioner.discovery.build import cache
from provisioner.discovery.build.tools import Say, require, run
from provisioner.errors import ArtifactError
from provisioner.lab.images.bootstrap import Into, bootstrap, debian_sources, index_targets

ARTIFACT = "toolbox.tar.zst"
SUITE = "bookworm"
PACKAGES = (
    "btrfs-progs", "ca-certificates", "cryptsetup-bin", "debian-archive-keyring", "dosfstools", "e2fsprogs", "fdisk",
    "lvm2", "mdadm", "mmdebstrap", "xfsprogs", "zstd",
)  # fmt: skip
_EXCLUDED = (
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/info/*",
    "/usr/lib/udev/hwdb.d/*",
)
_UNUSED = (
    "/usr/bin/openssl", "/usr/bin/python3*", "/usr/lib/*/libicu*", "/usr/lib/*/perl/*/CORE",
    "/usr/lib/*/perl/*/auto/Encode/??", "/usr/lib/*/perl/*/auto/Unicode", "/usr/lib/python3*", "/usr/lib/udev",
    "/usr/share/perl/*/Unicode", "/usr/share/perl/*/unicore/Name.pl", "/usr/share/zoneinfo", "/var/lib/dpkg/info",
)  # fmt: skip
"""Half of the tree, which every machine would load into its memory: packages bring it, and none of the programs that we
run opens it (Python and ICU come with a program of xfsprogs that checks file systems)."""
_HOOKS = (
    f'--customize-hook=cd "$1" && rm -rf {" ".join(glob.removeprefix("/") for glob in _UNUSED)}',
    '--customize-hook=rm -rf "$1/var/lib/apt/lists" "$1/var/cache/apt" "$1/var/log"',
    '--customize-hook=mkdir -p "$1/var/lib/apt/lists" "$1/var/cache/apt/archives/partial" "$1/var/log"',
)
_TOOLS = {"mmdebstrap": "mmdebstrap", "zstd": "zstd", "apt-get": "apt"}


def build(output: Path, debs: Path, say: Say, *, fresh: bool = False) -> cache.Manifest:
    """Build the toolbox into `output`, or say that what is there is current. `debs` keeps packages."""
    require(_TOOLS)
    sources = debian_sources(SUITE, index_targets())
    key = cache.inputs_key({"sources": cache.sources_hash(Path(__file__).resolve().parent), "archives": sources})
    if not fresh and (manifest := cache.current(output, key)) is not None:
        say(f"toolbox {key} is current")
        return manifest
    if os.geteuid() != 0:
        raise ArtifactError("building the toolbox needs root: files of many owners are written", hint="use sudo")
    with cache.workspace(output) as scratch:
        tree, packed = scratch / "toolbox.tar", scratch / ARTIFACT
        bootstrap(SUITE, PACKAGES, sources, Into("tar", tree, _EXCLUDED, _HOOKS), debs, say)
        say(f"compressing {tree.stat().st_size / 1e6:.0f} MB")
        run(["zstd", "--quiet", "-9", "-T2", tree, "-o", packed])
        item = cache.measure(packed)
        say(f"{item.name}: {item.size_bytes / 1e6:.0f} MB")
        return cache.publish(output, cache.Manifest("toolbox", "amd64", key, (item,), {}))
