"""A partial mirror of Debian: the packages that a system needs, taken from the host's own archives, and their index."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from provisioner.discovery.build import apt

SUITE = "bookworm"


def required() -> list[str]:
    """Packages that every Debian has: essential, or of priority required."""
    text = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True).stdout
    found = []
    for stanza in text.split("\n\n"):
        if re.search(r"^(Essential: yes|Priority: required)$", stanza, re.MULTILINE):
            found.append(stanza.partition("Package: ")[2].partition("\n")[0])
    return sorted(set(found))


def build(root: Path, kept: Path, systems: Iterable[list[str]]) -> None:
    """Make `root`/debian a mirror that has what these systems are made of. `kept` holds downloads."""
    pool = root / "debian" / "pool"
    index = root / "debian" / "dists" / SUITE / "main" / f"binary-{apt.host().arch}"
    pool.mkdir(parents=True)
    index.mkdir(parents=True)
    always = [*required(), "apt"]
    wanted = {package for packages in systems for package in apt.host().resolve([*always, *packages])}
    for file in apt.host().download(sorted(wanted), kept, lambda _: None):
        os.link(file, pool / file.name)
    base = root / "debian"
    listed = subprocess.run(["apt-ftparchive", "packages", "pool"], cwd=base, capture_output=True, check=True).stdout
    (index / "Packages").write_bytes(listed)
    (index / "Packages.gz").write_bytes(gzip.compress(listed, mtime=0))
    release = [
        "apt-ftparchive", "-o", f"APT::FTPArchive::Release::Codename={SUITE}",
        "-o", f"APT::FTPArchive::Release::Suite={SUITE}", "-o", "APT::FTPArchive::Release::Components=main",
        "-o", f"APT::FTPArchive::Release::Architectures={apt.host().arch}",
        "release", f"dists/{SUITE}",
    ]  # fmt: skip
    said = subprocess.run(release, cwd=base, capture_output=True, check=True).stdout
    (base / "dists" / SUITE / "Release").write_bytes(said)
