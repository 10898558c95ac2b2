"""Boot loaders out of Debian's packages, of any architecture, without installing them and without root.

apt checks the signatures; its lists and caches are in a directory of our own, so that the host's stay as they are.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from provisioner.discovery.build import apt
from provisioner.errors import ArtifactError

PACKAGES: Mapping[str, tuple[str, ...]] = {
    "amd64": (
        "ipxe",
        "shim-signed",
        "shim-helpers-amd64-signed",
        "grub-efi-amd64-signed",
        "pxelinux",
        "syslinux-common",
    ),
    "arm64": ("shim-signed", "shim-helpers-arm64-signed", "grub-efi-arm64-signed"),
}
"""What holds the loaders of an architecture."""
VERSIONS = "versions.json"


def fetch(arch: str, folder: Path) -> None:
    """Bring the loaders of `arch` to `folder`/ARCH, as their packages lay them out. Blocks for the download.

    What was there before is replaced in one step. Raises `ArtifactError`.
    """
    packages = PACKAGES.get(arch)
    if packages is None:
        raise ArtifactError(f"no package with boot loaders is known for {arch}", hint=f"known: {', '.join(PACKAGES)}")
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    with tempfile.TemporaryDirectory(prefix=f".{arch}-", dir=folder) as name:
        work = Path(name)
        archive = apt.foreign(arch, work / "apt")
        files = archive.fetch(packages, work / "debs")
        apt.unpack(files, work / "root")
        versions = dict(apt.name_and_version(file) for file in files)
        (work / "root" / VERSIONS).write_text(json.dumps(versions))
        before = folder / arch
        shutil.rmtree(before, ignore_errors=True)
        (work / "root").rename(before)


def fetched(folder: Path) -> dict[Path, dict[str, str]]:
    """The roots that were fetched, each with the versions of its packages."""
    found = {}
    for arch in PACKAGES:
        try:
            found[folder / arch] = {
                str(k): str(v) for k, v in json.loads((folder / arch / VERSIONS).read_text()).items()
            }
        except (OSError, ValueError, AttributeError):
            continue
    return found
