"""What a boot would do, as values, and what follows of it without asking anybody. No I/O.

`boot.plan.next_boot` decides, as for every real request: it is asked about the machine as it will be in its run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from provisioner.boot.plan import BootPolicy, next_boot
from provisioner.dhcp.asking import Ask
from provisioner.dhcp.foretell import Foretold
from provisioner.lifecycle.plans import KINDS, VERBS, Verb, steps_of, wants_network
from provisioner.lifecycle.preflight import verb_for
from provisioner.lifecycle.rest import in_use
from provisioner.model.artifact import Inspected
from provisioner.model.boot import Arch, Asker, BootClient, LoadFile, LocalDisk, NoBoot, Plan, RunScript
from provisioner.model.catalog import Bootenv
from provisioner.model.facts import Disk, Facts
from provisioner.model.intent import Check
from provisioner.model.machine import Machine, Run, Step

FROM_MEDIUM = "its BMC's virtual drive -> kernel and initrds on the CD, nothing from the network"
"""How a machine starts that has a CD of its own."""
WRITES = frozenset({Verb.DEPLOY, Verb.INSTALL})
"""Verbs that overwrite disks."""


@dataclass(frozen=True, slots=True)
class Said:
    """One answer of DHCP: to whom, what was decided, and what the packet holds."""

    asker: str
    plan: str
    told: Foretold


@dataclass(frozen=True, slots=True)
class Target:
    """A disk, and whether what it holds now is lost. `loses` is None where nobody can say it yet."""

    disk: Disk
    loses: bool | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """Everything that would happen. `script` is empty where nothing is started from the network."""

    machine: Machine
    bootenv: Bootenv
    verb: Verb
    arch: str
    said: tuple[Said, ...]
    chain: tuple[str, ...]
    script: str
    files: tuple[Inspected, ...]
    targets: tuple[Target, ...]
    checks: tuple[Check, ...]
    by_medium: bool = False

    @property
    def ok(self) -> bool:
        """Say whether it would be accepted."""
        return all(check.ok for check in self.checks)

    @property
    def steps(self) -> tuple[str, ...]:
        """Name the steps of the run."""
        return steps_of(self.verb, by_medium=self.by_medium, in_use=in_use(self.machine))


def imagined(machine: Machine, bootenv: Bootenv, *, installed: bool = False) -> Machine:
    """Give the machine as it would be when it boots in its run: from the network first, or once it is `installed`."""
    verb = verb_for(bootenv)
    steps = tuple(Step(name, KINDS[name].phase, KINDS[name].timeout_s) for name in VERBS[verb].steps)
    run = Run("plan", verb, bootenv.name, steps)
    places = [at for at, step in enumerate(steps) if KINDS[step.name].network]
    at = len(steps) - 1 if installed else (places[0] if places else 0)
    return replace(machine, state=VERBS[verb].moving, run=replace(run, at=at))


def firmwares(machine: Machine) -> list[tuple[str, Arch]]:
    """Name the firmware that would ask: as discovery found it, else each of the usual ones."""
    facts = machine.facts or Facts()
    http = machine.boot_via == "http"
    uefi = {
        "aarch64": Arch.EFI_ARM64_HTTP if http else Arch.EFI_ARM64,
        "riscv64": Arch.EFI_RISCV64_HTTP if http else Arch.EFI_RISCV64,
    }.get(facts.cpu.architecture, Arch.EFI_X64_HTTP if http else Arch.EFI_X64)
    way = "HTTP" if http else "PXE"
    kinds = [("uefi", f"UEFI by {way}", uefi), ("bios", "BIOS by PXE", Arch.X86_BIOS)]
    return [(words, arch) for name, words, arch in kinds if facts.firmware in ("", name)]


def asks(machine: Machine) -> list[tuple[str, Ask]]:
    """List the DHCP requests of one boot: the firmware's, then iPXE's, for each firmware that it may have."""
    found = []
    for words, arch in firmwares(machine):
        vendor_class = "HTTPClient" if "HTTP" in arch.name else "PXEClient"
        mac, uuid = machine.macs[0], machine.uuid
        found.append((words, Ask(mac, arch, vendor_class, uuid=uuid)))
        if "ARM64" not in arch.name and "RISCV" not in arch.name:
            found.append((f"iPXE, {words}", Ask(mac, arch, "PXEClient", "iPXE", uuid)))
    return found


def loader_plan(machine: Machine, bootenv: Bootenv, arch: Arch, policy: BootPolicy, direct: str = "") -> Plan:
    """Say what the firmware of a machine is told first in its run; `direct` as `next_boot` has it."""
    asker = Asker.HTTP if "HTTP" in arch.name else Asker.PXE
    client = BootClient(machine.macs[0], asker, int(arch), machine.uuid or None)
    return next_boot(client, imagined(machine, bootenv), policy, direct)


def chain(machine: Machine, bootenv: Bootenv, policy: BootPolicy, direct: str = "") -> Iterator[str]:
    """Tell in lines what starts what, from the firmware to the installed system."""
    for words, arch in firmwares(machine):
        first = loader_plan(machine, bootenv, arch, policy, direct)
        line = [words, in_words(first)]
        if isinstance(first, LoadFile) and not first.direct:
            asker = Asker.IPXE if "ipxe" in first.name or first.name.startswith(("snponly", "undionly")) else Asker.GRUB
            client = BootClient(machine.macs[0], asker, int(arch))
            line.append(f"{asker}: {in_words(next_boot(client, imagined(machine, bootenv), policy))}")
        yield " -> ".join(line)
        after = imagined(machine, bootenv, installed=True)
        if after.run is not None and not wants_network(after.run) and not isinstance(first, LocalDisk):
            client = BootClient(machine.macs[0], Asker.PXE, int(arch))
            yield f"{words}, once it is installed -> {in_words(next_boot(client, after, policy))}"


def in_words(plan: Plan) -> str:
    """Say a plan in words."""
    match plan:
        case LoadFile():
            return f"load {plan.name}"
        case RunScript():
            return "run the machine's boot script"
        case NoBoot():
            return f"nothing is said: {plan.reason}"
    return f"its disk: {plan.reason}"


def targets(machine: Machine, verb: Verb, chosen: Collection[str] | None) -> list[Target]:
    """Say of each disk whether it would be overwritten; `chosen` are names, None where the layout cannot be made."""
    disks: Sequence[Disk] = machine.facts.disks if machine.facts else ()
    if verb not in WRITES:
        return [Target(disk, loses=False) for disk in disks]
    return [Target(disk, None if chosen is None else disk.name in chosen) for disk in disks]
