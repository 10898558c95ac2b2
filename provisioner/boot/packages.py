"""Boot loaders out of Debian's packages, of any architecture, without installing them and without root.

apt checks the signatures; its lists and caches are in a directory of our own, so that the host's stay as they are.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

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
TIMEOUT_S = 600.0
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
        _download(arch, packages, work)
        versions = {}
        for file in sorted((work / "debs").glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(file), str(work / "root")])
            package, version = _run(["dpkg-deb", "--show", "--showformat", "${Package} ${Version}", str(file)]).split()
            versions[package] = version
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


def _download(arch: str, packages: Sequence[str], work: Path) -> None:
    for part in ("state/lists/partial", "cache/archives/partial", "debs"):
        (work / part).mkdir(parents=True)
    options = {
        "APT::Architecture": arch,
        "APT::Architectures": arch,
        "APT::Sandbox::User": "",
        "Dir::State": str(work / "state"),
        "Dir::State::status": os.devnull,
        "Dir::Cache": str(work / "cache"),
        "Acquire::Languages": "none",
    }
    given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    _run(["apt-get", "--quiet", "--quiet", *given, "update"])
    _run(["apt-get", "--quiet", "--quiet", *given, "download", *packages], cwd=work / "debs")


def _run(command: Sequence[str], cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except FileNotFoundError as error:
        raise ArtifactError(f"{command[0]} is not installed", hint="name a directory of loaders instead") from error
    except subprocess.TimeoutExpired as error:
        raise ArtifactError(f"{command[0]} took more than {TIMEOUT_S:.0f} s") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise ArtifactError(f"{command[0]} {command[-1]}: {said[-1][:200] if said else 'failed'}")
    return done.stdout
