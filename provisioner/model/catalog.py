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


class Report(StrEnum):
    """How we learn that a bootenv has reached its end."""

    PHONE_HOME = "phone-home"  # the installed system calls `POST /agent/v1/phone-home`
    AGENT = "agent"  # the discovery system's agent is heard
    NONE = "none"  # nothing in it can report: whoever booted it looks at the console


class Merge(StrEnum):
    """What a more specific layer does to a parameter that a less specific one has set."""

    REPLACE = "replace"
    MERGE = "merge"  # mappings: key by key, all the way down
    APPEND = "append"  # lists: the more specific layer's items come last


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter as bootenvs/params/*.yaml declare it: a dotted name, a JSON Schema, a default, how layers combine."""

    name: str
    about: str
    schema: dict[str, Any]
    default: Any = None
    merge: Merge = Merge.REPLACE
    secret: bool = False
    """Its value never leaves a ticketed answer file, and no listing shows it."""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file that a bootenv needs. An empty `sha256` means: pinned when it is fetched or imported."""

    name: str
    url: str = ""
    sha256: str = ""
    size_bytes: int | None = None
    member: str = ""
    """Path inside the ISO or archive at `url`, where it has to be unpacked."""
    convert: str = ""
    """Format that it is turned from when it comes in: "qcow2" becomes the raw disk, packed with zstd."""
    sums_url: str = ""
    sums_signature_url: str = ""
    keyring: str = ""
    unverified: str = ""
    """Why nothing says what it has to be, for what is taken only where the operator wants it so."""
    build: str = ""
    """Command that makes it, for what is built rather than fetched."""
    supplied: str = ""
    """What the operator has to bring (a licensed ISO), in a sentence, for what nobody may fetch for them."""


@dataclass(frozen=True, slots=True)
class Files:
    """What one architecture boots: names in `artifacts`."""

    kernel: str = ""
    initrds: tuple[str, ...] = ()
    image: str = ""
    loader: str = ""
    """How the kernel is started where it is no Linux: "wimboot", "memdisk", "esxi"; empty for Linux."""
    http: str = ""
    """What UEFI HTTP boot starts by itself, with no loader of ours before it: an .efi, or an .iso or .img in memory."""
    args: str = ""
    """Kernel arguments as a template."""
    artifacts: tuple[Artifact, ...] = ()
    injects: tuple[str, ...] = ()
    """Ids of answer files that the loader hands over beside the initrds, under their own name (wimboot)."""
    firmware: tuple[str, ...] = ("bios", "uefi")
    """What it boots on."""
    sources: dict[str, str] = field(default_factory=dict)
    """Repositories that the installer is pointed at; `{mirror.debian}` stands for that parameter of the machine."""

    def artifact(self, name: str) -> Artifact | None:
        """Find an artefact by its name."""
        return next((item for item in self.artifacts if item.name == name), None)


@dataclass(frozen=True, slots=True)
class AnswerFile:
    """A file that is rendered for a machine. `id` is its name in URLs, `template` its path under templates/."""

    id: str
    template: str
    validator: str = ""
    secret: bool = True
    """Behind a one-shot ticket."""
    refetch: bool = False
    """The installer reads it twice: the same bytes once more, to the same address, within a minute."""
    by_address: bool = False
    """Its installer is told one place for all machines, and gets the file there that is for whoever has its address."""
    content_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Supports:
    """What an installer can be told to do: words of the vocabulary of bootenvs/params/disk.yaml and net.yaml."""

    layouts: tuple[str, ...] = ("plain",)
    encryption: tuple[str, ...] = ()
    network: tuple[str, ...] = ()
    """Of static, several, bond, vlan, mtu, routes, on-link."""
    lacks: tuple[str, ...] = ()
    """Of the rest of the vocabulary, what it cannot do: `catalog.words.WORDS` lists the words."""
    pool: tuple[str, ...] = ()
    """Of swap and root-size, what it can be told beside a layout of ZFS."""
    bonds: tuple[str, ...] = ("802.3ad", "active-backup", "balance-xor", "balance-rr", "balance-alb")
    """Modes of bonds."""


@dataclass(frozen=True, slots=True)
class Bootenv:
    """One operating system, as data."""

    name: str
    title: str
    kind: Kind
    family: str
    arch: dict[str, Files]
    version: str = ""
    codename: str = ""
    product: str = ""
    """What the installer calls it, where it has to be told."""
    aliases: tuple[str, ...] = ()
    answers: tuple[AnswerFile, ...] = ()
    min_memory_bytes: int = 0
    min_disk_bytes: int = 0
    secure_boot: bool | None = None
    """Its kernel and the loader that it puts on the disk are signed; None where its file does not say."""
    efi_folder: str = "BOOT"
    """Where its loader is on the EFI partition, below /EFI: that of removable media, if it makes no own."""
    tested: str = ""
    """When and where it was last booted; empty means untested, and the command line says so."""
    untested: str = ""
    """What could not be checked of it, in a sentence."""
    params: dict[str, Any] = field(default_factory=dict)
    installs_with: str = ""
    """The bootenv that runs the job for kinds image and bootstrap."""
    job: str = ""
    """Id of the answer file that the discovery system runs, for kinds image and bootstrap."""
    reports: Report = Report.PHONE_HOME
    supports: Supports = Supports()
    requires: tuple[str, ...] = ()
    """Parameters that have to be given before it can be installed."""
    source: str = ""
    """The file that it was read from."""

    def answer(self, answer_id: str) -> AnswerFile | None:
        """Find an answer file by its id."""
        return next((answer for answer in self.answers if answer.id == answer_id), None)

    @property
    def built(self) -> dict[str, str]:
        """The artefacts that are built rather than fetched, as ARCH/NAME, each with the command that does it."""
        return {
            f"{arch}/{each.name}": each.build for arch in self.arch for each in self.arch[arch].artifacts if each.build
        }
