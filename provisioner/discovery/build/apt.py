"""Packages of the running distribution, of any architecture: resolved, fetched and unpacked. Nothing is installed.

Needs no root. apt checks signatures and hashes; an empty dpkg status makes it resolve all that is needed, whatever the
host has.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from provisioner.discovery.build.tools import Say, run
from provisioner.errors import ArtifactError

_INSTALL = re.compile(r"^Inst (?P<name>\S+) \((?P<version>\S+) .*\[(?P<arch>\w+)\]\)", re.MULTILINE)


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One package in one version, as apt would install it."""

    name: str
    version: str
    arch: str

    @property
    def file(self) -> str:
        """The name that apt-get gives the file it downloads: the epoch's colon is spelt %3a."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.arch}.deb"


def parse_simulation(text: str) -> tuple[Package, ...]:
    """Read the `Inst` lines of `apt-get --simulate install`."""
    return tuple(sorted(Package(m["name"].partition(":")[0], m["version"], m["arch"]) for m in _INSTALL.finditer(text)))


@dataclass(frozen=True, slots=True)
class Apt:
    """An apt: the host's own, or one for another architecture, with lists and caches in a folder of its own."""

    arch: str
    """In Debian's spelling."""
    options: tuple[str, ...] = ()

    def resolve(self, names: Iterable[str]) -> tuple[Package, ...]:
        """List `names` and everything they depend on, in the versions that the host's apt sources offer now."""
        wanted = list(names)
        simulate = ("--simulate", "--no-install-recommends", "--yes", "install")
        try:
            text = run(["apt-get", *self.options, *_EMPTY, *simulate, *wanted])
        except ArtifactError as error:
            raise ArtifactError(error.message, hint="apt-get update, and look at the apt sources") from error
        return parse_simulation(text.decode("utf-8", "replace"))

    def known(self, name: str) -> bool:
        """Say whether the host's apt sources have a package of this name."""
        return name in run(["apt-cache", *self.options, "pkgnames", name]).decode("utf-8", "replace").split()

    def download(self, packages: Iterable[Package], folder: Path, say: Say) -> list[Path]:
        """Bring the packages into `folder`, which keeps them for the next time, and return their files."""
        folder.mkdir(parents=True, exist_ok=True)
        wanted = list(packages)
        missing = [package for package in wanted if not (folder / package.file).is_file()]
        if missing:
            say(f"downloading {len(missing)} packages ({len(wanted) - len(missing)} are here)")
            names = [f"{package.name}={package.version}" for package in missing]
            run(["apt-get", "--quiet", "--quiet", *self.options, *_sandbox(), "download", *names], cwd=folder)
        return [_present(folder / package.file) for package in wanted]

    def fetch(self, names: Iterable[str], folder: Path) -> list[Path]:
        """Bring the newest packages of these names into `folder`, which is empty, and nothing that they depend on."""
        folder.mkdir(parents=True)
        run(["apt-get", "--quiet", "--quiet", *self.options, *_sandbox(), "download", *names], cwd=folder)
        return sorted(folder.glob("*.deb"))


def name_and_version(file: Path) -> tuple[str, str]:
    """Read what a package's file says of itself."""
    name, version = run(["dpkg-deb", "--show", "--showformat", "${Package} ${Version}", file]).decode("ascii").split()
    return name, version


def host() -> Apt:
    """The host's own."""
    return Apt(run(["dpkg", "--print-architecture"]).decode("ascii").strip())


def foreign(arch: str, folder: Path) -> Apt:
    """Make one for `arch` with lists in `folder`, and bring these up to date. The host's apt stays as it is."""
    return _private(arch, folder, {})


def with_sources(arch: str, folder: Path, sources: Iterable[str]) -> Apt:
    """Make one for `arch` that knows these lines of sources.list and no others, with lists in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = folder / "sources.list"
    lines.write_text("".join(f"{line}\n" for line in sources))
    return _private(arch, folder, {"Dir::Etc::SourceList": str(lines), "Dir::Etc::SourceParts": os.devnull})


def _private(arch: str, folder: Path, more: Mapping[str, str]) -> Apt:
    for part in ("state/lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    settings = {
        "APT::Architecture": arch,
        "APT::Architectures": arch,
        "Dir::State": str(folder / "state"),
        "Dir::State::status": os.devnull,
        "Dir::Cache": str(folder / "cache"),
        "Acquire::Languages": "none",
        **more,
    }
    apt = Apt(arch, tuple(word for name, value in settings.items() for word in ("-o", f"{name}={value}")))
    run(["apt-get", "--quiet", "--quiet", *apt.options, *_sandbox(), "update"])
    return apt


def _sandbox() -> tuple[str, ...]:
    """Options with which root's apt writes where apt's own user may not."""
    return ("-o", "APT::Sandbox::User=root") if os.geteuid() == 0 else ()


def unpack(files: Iterable[Path], root: Path) -> None:
    """Unpack the packages' contents below `root`. No maintainer script runs."""
    root.mkdir(parents=True, exist_ok=True)
    for file in files:
        run(["dpkg-deb", "--extract", file, root])


_EMPTY = ("-o", "Dir::State::status=/dev/null", "-o", "Debug::NoLocking=1", "-o", "APT::Get::List-Cleanup=0")


def _present(file: Path) -> Path:
    if not file.is_file():
        raise ArtifactError(f"apt-get did not bring {file.name}", hint="apt-get update, then try again")
    return file
