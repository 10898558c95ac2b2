"""The one place that decides what a machine boots. No I/O.

DHCP (ports 67 and 4011), TFTP and HTTP all ask `next_boot`. In doubt the answer is the local disk: a wrong install
wipes a server, a wrong local boot costs a minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from provisioner.boot.files import ARTIFACTS, DISCS
from provisioner.lifecycle.plans import goes_by_medium, wants_network
from provisioner.model.boot import Arch, Asker, BootClient, LoadFile, LocalDisk, NoBoot, Plan, RunScript, Trust, Unknown
from provisioner.model.catalog import Bootenv
from provisioner.model.machine import BY_MEDIUM, Machine, State
from provisioner.model.uuids import are_two

LOADERS: Mapping[int, str] = {
    Arch.X86_BIOS: "undionly.kpxe",
    Arch.EFI_X64: "snponly.efi",
    Arch.EFI_BC: "snponly.efi",
    Arch.EFI_X64_HTTP: "snponly.efi",
    Arch.EFI_BC_HTTP: "snponly.efi",
    Arch.EFI_ARM64: "grubaa64.efi",
    Arch.EFI_ARM64_HTTP: DISCS["arm64"],
}
"""The first loader by architecture: iPXE where there is a build for it (`snponly` uses the firmware's own network
driver, which is the one that is known to work: it just fetched the loader), GRUB elsewhere; by HTTP GRUB comes on a CD
with all of the boot, since as distributions sign it, it has no module for HTTP."""

SECURE_BOOT_LOADERS: Mapping[int, str] = {
    Arch.EFI_X64: "shimx64.efi",
    Arch.EFI_BC: "shimx64.efi",
    Arch.EFI_X64_HTTP: DISCS["amd64"],
    Arch.EFI_BC_HTTP: DISCS["amd64"],
    Arch.EFI_ARM64: "shimaa64.efi",
    Arch.EFI_ARM64_HTTP: DISCS["arm64"],
}
"""The same for firmware that starts only what was signed."""

TRUSTING: Mapping[Trust, frozenset[Asker]] = {
    Trust.FIRMWARE: frozenset({Asker.HTTP}),
    Trust.IPXE: frozenset({Asker.HTTP, Asker.IPXE}),
}
"""Who is given https:// URLs, by who trusts the CA. TFTP and GRUB's network know no TLS."""


def by_https(asker: Asker, *said: Trust) -> bool:
    """Say whether a client is given https:// URLs. `said` is what was set, the most specific first."""
    trust = next((each for each in said if each), Trust.NOBODY)
    return asker in TRUSTING.get(trust, ())


ARCH_NAMES: Mapping[int, str] = {
    Arch.EFI_ARM64: "arm64",
    Arch.EFI_ARM64_HTTP: "arm64",
    Arch.EFI_RISCV64: "riscv64",
    Arch.EFI_RISCV64_HTTP: "riscv64",
}
"""Architectures as bootenvs name them; whatever else boots from our network is amd64."""


def arch_name(arch: int) -> str:
    """Name an architecture as bootenvs do."""
    return ARCH_NAMES.get(arch, "amd64")


@dataclass(frozen=True, slots=True)
class BootPolicy:
    """What an operator may set about booting. `loaders` overrides `LOADERS` by architecture number."""

    unknown: Unknown = Unknown.DISCOVER
    loaders: Mapping[int, str] = field(default_factory=dict)


def next_boot(client: BootClient, machine: Machine | None, policy: BootPolicy, direct: str = "") -> Plan:
    """Say what `client` boots, given what we know of its machine (None: never seen).

    `direct` names the file of the machine's bootenv that UEFI HTTP boot starts by itself; empty: there is none.
    """
    if client.asker is Asker.OS:
        return LocalDisk("an operating system asks for an address only")
    why, network = _wants_network(client, machine, policy)
    if network is None:
        return NoBoot(why)
    if not network:
        return LocalDisk(why)
    if client.asker in (Asker.IPXE, Asker.GRUB):
        return RunScript(why)
    if client.asker is Asker.HTTP and direct:
        return LoadFile(direct, why, direct=True)
    return _first_loader(client, why, machine, policy)


def other_uuid(client: BootClient, machine: Machine) -> str:
    """Give the UUID, where it is spelled, of another machine that asks by this one's port: a card moved. Else empty."""
    known, says = machine.facts.uuid if machine.facts is not None else "", client.uuid
    if says == known or not isinstance(says, str):  # nearly all
        return ""
    return says if are_two(says, known) else ""


def direct_file(bootenv: Bootenv, arch: str) -> str:
    """Name the file of a bootenv that UEFI HTTP boot starts by itself; empty: there is none."""
    files = bootenv.arch.get(arch)
    return f"{ARTIFACTS}{bootenv.name}/{arch}/{files.http}" if files is not None and files.http else ""


def boots_by_medium(machine: Machine, via: str = "") -> bool:
    """Say whether a run of a machine is to boot it from a medium of its own: what was asked for this once counts, then
    how the machine is set up."""
    return (via or machine.boot_via) == BY_MEDIUM


def _wants_network(client: BootClient, machine: Machine | None, policy: BootPolicy) -> tuple[str, bool | None]:
    """Say why, and whether the machine boots from the network (None: it is not answered at all)."""
    if machine is None:
        return UNKNOWN_MACHINE[policy.unknown]
    run = machine.run
    if run is not None and run.step is not None:
        if wants_network(run) and (other := other_uuid(client, machine)):
            return f"a port of {machine.name}, but it is another machine that asks: its UUID is {other}", False
        if wants_network(run):
            return f"{machine.name} is {machine.state}: {run.bootenv}", True
        what = "its medium, then its disk" if goes_by_medium(run) else "its disk"
        return f"{machine.name} is {machine.state}, in {run.step.phase}: {what} is next", False
    if machine.state in (State.DISCOVERED, State.ENROLLED) and policy.unknown is Unknown.DISCOVER:
        return f"{machine.name} is {machine.state}: discover it", True
    return f"{machine.name} is {machine.state}: nothing was asked for it", False


UNKNOWN_MACHINE: Mapping[Unknown, tuple[str, bool | None]] = {
    Unknown.IGNORE: ("unknown machine, and unknown machines are ignored here", None),
    Unknown.QUARANTINE: ("unknown machine, and unknown machines are kept in quarantine here", False),
    Unknown.DISCOVER: ("unknown machine: discover it", True),
}


def _first_loader(client: BootClient, why: str, machine: Machine | None, policy: BootPolicy) -> Plan:
    if client.arch is None:
        return LocalDisk(f"{why}, but its request does not say which architecture it is (option 93)")
    facts = machine.facts if machine else None
    known = facts.secure_boot if facts else None
    signed = client.secure_boot if known is None else known
    name = policy.loaders.get(client.arch) or (SECURE_BOOT_LOADERS if signed else LOADERS).get(client.arch)
    if name is None:
        only = " that Secure Boot starts" if signed else ""
        return LocalDisk(f"{why}, but there is no loader for architecture {client.arch:#06x}{only}")
    return LoadFile(name, why)
