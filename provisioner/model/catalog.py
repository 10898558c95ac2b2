"""Bootenvs as values: what an operating system needs to be started or installed. No I/O.

`catalog/load.py` reads them from bootenvs/*.yaml; docs/bootenvs.md explains every key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """How a bootenv comes onto a machine."""

    DISCOVERY = "discovery"  # runs in memory, reports facts, takes jobs
    IMAGE = "image"  # the discovery system writes a disk image
    BOOTSTRAP = "bootstrap"  # the discovery system installs packages from a mirror
    INSTALLER = "installer"  # the distribution's own installer runs
    LIVE = "live"  # runs in memory, for good
    DISK = "disk"  # the machine's own disk
    RESCUE = "rescue"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file that a bootenv needs. An empty `sha256` means: pinned when it is fetched or imported."""

    name: str
    url: str = ""
    sha256: str = ""
    size_bytes: int | None = None
    member: str = ""
    """Path inside the ISO or archive at `url`, where it has to be unpacked."""
    sums_url: str = ""
    sums_signature_url: str = ""
    keyring: str = ""
    build: str = ""
    """Command that makes it, for what is built rather than fetched."""


@dataclass(frozen=True, slots=True)
class Files:
    """What one architecture boots: names in `artifacts`."""

    kernel: str = ""
    initrds: tuple[str, ...] = ()
    image: str = ""
    loader: str = ""
    args: str = ""
    """Kernel arguments as a template."""
    artifacts: tuple[Artifact, ...] = ()


@dataclass(frozen=True, slots=True)
class AnswerFile:
    """A file that is rendered for a machine. `id` is its name in URLs, `template` its path under templates/."""

    id: str
    template: str
    validator: str = ""
    secret: bool = True
    """Behind a one-shot ticket."""


@dataclass(frozen=True, slots=True)
class Bootenv:
    """One operating system, as data."""

    name: str
    title: str
    kind: Kind
    family: str
    arch: dict[str, Files]
    version: str = ""
    aliases: tuple[str, ...] = ()
    answers: tuple[AnswerFile, ...] = ()
    min_memory_bytes: int = 0
    min_disk_bytes: int = 0
    secure_boot: bool = False
    tested: str = ""
    """When and where it was last booted; empty means untested, and the command line says so."""
    params: dict[str, Any] = field(default_factory=dict)
    installs_with: str = ""
    """The bootenv that runs the job for kinds image and bootstrap."""
