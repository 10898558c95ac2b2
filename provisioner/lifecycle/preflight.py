"""What is looked at before a machine is touched. No I/O: the caller brings what it read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from provisioner.bmc.join import without_bmc
from provisioner.dhcp.foretell import Foretold
from provisioner.errors import ConflictError, PreflightError
from provisioner.lifecycle.plans import CANNOT, ENSURES, KINDS, NETBOOT, VERBS, Verb, steps_of
from provisioner.lifecycle.rest import in_use, way_out
from provisioner.model.bmc import BootTarget, Driver
from provisioner.model.boot import Place
from provisioner.model.catalog import Bootenv, Kind, Report
from provisioner.model.intent import Check
from provisioner.model.machine import Machine

GIB = 1 << 30
NOT_ASKED = "is on record; it is asked once everything else is in order"


@dataclass(frozen=True, slots=True)
class Found:
    """What was read of a machine and of what it is to boot.

    `missing` are lines about artefacts that the store lacks. `unfit` says why its files cannot be rendered, and
    `rendered` which could be. `told` is what DHCP would say to its firmware, None where DHCP was not asked; `unserved`
    names loaders that it would be sent to and that are not there. `bmc_fault` is what the BMC said (None: it answered),
    `asked` whether it was asked at all, `cannot` the verbs that none of its drivers can do, and `targets` what its
    board lists to boot from (empty: it does not say).
    """

    missing: Sequence[str] = ()
    rendered: Sequence[str] = ()
    unfit: Sequence[str] = ()
    told: Sequence[Foretold] | None = None
    unserved: Sequence[str] = ()
    bmc_fault: str | None = None
    asked: bool = True
    cannot: Sequence[str] = ()
    targets: Sequence[BootTarget] = ()
    medium: Sequence[Check] | None = None
    """What was judged of a CD of its own, for a machine that boots by one; then nothing is asked of the network."""


def checks(machine: Machine, bootenv: Bootenv, found: Found, verb: Verb) -> list[Check]:
    """Judge whether `machine` can boot `bootenv` for `verb`."""
    return [
        _state(machine, verb),
        bmc(machine, found),
        *_capability(machine, verb, found),
        *_way(machine, bootenv),
        *_artifacts(bootenv, found.missing),
        *_parameters(found),
        *(found.medium if found.medium is not None else _subnet(found) if boots_from_network(verb) else ()),
        *(_hardware(machine, bootenv) if verb in (Verb.DEPLOY, Verb.INSTALL) else ()),
        *(_ports(machine) if verb is Verb.RELEASE else ()),
    ]


def by_medium(machine: Machine, system: Bootenv, place: Place | None, loaders: bool) -> list[Check]:
    """Judge whether `system`, which a bootenv starts with, can be started from a CD in the BMC's virtual drive.

    `loaders`: there is one for this machine's firmware.
    """
    if system.reports is not Report.AGENT or VERBS[verb_for(system)].steps[: len(NETBOOT)] != NETBOOT:
        text = f"{system.name} looks for its address and its answers by itself: it boots from the network only"
        return [Check("medium", ok=False, text=text, hint="--via network")]
    if Driver.REDFISH not in {one.driver for one in machine.bmcs}:
        hint = f"`provisionctl bmc add {machine.name} redfish://USER@HOST`"
        return [Check("medium", ok=False, text=f"{machine.name} has no BMC with virtual media on record", hint=hint)]
    if place is None:
        text = f"{machine.name} has no address of its own: without DHCP nobody gives it one"
        hint = "addresses in its net.interfaces, or a reservation with an address"
        return [Check("medium", ok=False, text=text, hint=hint)]
    if not loaders:
        text = f"there is no loader for CDs for the firmware of {machine.name}"
        return [Check("medium", ok=False, text=text, hint="`provisionctl loaders install --fetch amd64`")]
    return [Check("medium", ok=True, text=f"a CD of its own, with the address {place.address}")]


VERB_OF = {
    Kind.DISCOVERY: Verb.INSPECT,
    Kind.IMAGE: Verb.DEPLOY,
    Kind.BOOTSTRAP: Verb.DEPLOY,
    Kind.INSTALLER: Verb.INSTALL,
    Kind.LIVE: Verb.LIVE,
    Kind.RESCUE: Verb.RESCUE,
    Kind.DISK: Verb.LOCAL,
}


def verb_for(bootenv: Bootenv) -> Verb:
    """Say what booting this bootenv does to a machine."""
    return VERB_OF[bootenv.kind]


def boots_from_network(verb: Verb) -> bool:
    """Say whether a machine boots from the network on the way."""
    return any(KINDS[step].network for step in VERBS[verb].steps)


def bmc_verbs(machine: Machine, verb: Verb, *, by_medium: bool = False) -> list[str]:
    """Name the verbs that a BMC is asked for on the way, each once, as capabilities are called."""
    target = BootTarget.HTTP if machine.boot_via == "http" else BootTarget.PXE
    names = []
    for step in steps_of(verb, by_medium=by_medium, in_use=in_use(machine)):
        wanted = ENSURES.get(step)
        if step == "boot.network":
            names.append(f"boot.once.{target}")
        elif wanted is BootTarget.CD:
            names.append(f"boot.once.{wanted}")
        elif step.startswith("media."):
            names.append(f"v{step}")
        elif wanted is not None:
            names.append(f"boot.always.{wanted}" if isinstance(wanted, BootTarget) else f"power.{wanted}")
    return list(dict.fromkeys(names))


def _state(machine: Machine, verb: Verb) -> Check:
    if machine.run is not None and machine.run.step is not None:
        text = f"{machine.name} is {machine.state}: {machine.run.name} is under way"
        return Check("state", ok=False, text=text, hint=f"wait for it, or `provisionctl cancel {machine.name}`")
    ok = machine.state in VERBS[verb].start
    text = f"{machine.name} is {machine.state}" + ("" if ok else f": it cannot {CANNOT[verb]} in that state")
    return Check("state", ok=ok, text=text, hint="" if ok else way_out(machine))


def bmc(machine: Machine, found: Found) -> Check:
    """Judge whether its BMC can be asked."""
    if machine.bmc is None:
        none = without_bmc(machine)
        return Check("bmc", ok=False, text=none.message, hint=none.hint)
    if found.bmc_fault is not None:
        return Check("bmc", ok=False, text=found.bmc_fault)
    return Check("bmc", ok=True, text=f"{machine.bmc} {'lets us in' if found.asked else NOT_ASKED}")


def _capability(machine: Machine, verb: Verb, found: Found) -> Iterable[Check]:
    if machine.bmc is None or not found.asked or found.bmc_fault is not None:
        return
    for name in found.cannot:
        yield Check("capability", ok=False, **_incapable(machine, name, found.targets))
    if not found.cannot:
        verbs = bmc_verbs(machine, verb, by_medium=found.medium is not None)
        yield Check("capability", ok=True, text=f"it can {', '.join(verbs)}")


def lists(targets: Sequence[BootTarget], verb: str) -> bool:
    """Say whether a board that lists these boot targets takes a verb; one that lists none does not say."""
    return not targets or not verb.startswith("boot.") or verb.rpartition(".")[2] in targets


def _incapable(machine: Machine, verb: str, targets: Sequence[BootTarget]) -> dict[str, str]:
    """Word what no driver can, and name the way to boot that the board has instead."""
    if lists(targets, verb):
        hint = f"`provisionctl bmc why {machine.name} {verb}`"
        return {"text": f"none of its drivers can {verb}", "hint": hint}
    text = f"{verb}: its board boots only from {', '.join(targets)}"
    other = {"boot.once.pxe": BootTarget.HTTP, "boot.once.http": BootTarget.PXE}.get(verb)
    if other not in targets:
        return {"text": text, "hint": "look at its firmware's settings: its boot mode decides what it lists"}
    return {"text": text, "hint": f"`provisionctl boot-via {machine.name} {other}`"}


def _way(machine: Machine, bootenv: Bootenv) -> list[Check]:
    """What the machine's firmware cannot start; what UEFI HTTP boot starts by itself, no loader could instead."""
    firmware = machine.facts.firmware if machine.facts is not None else ""
    starts = {each for files in bootenv.arch.values() for each in files.firmware}
    if firmware and starts and firmware not in starts:
        text = f"{bootenv.name} does not start by {firmware}, only by {', '.join(sorted(starts))}"
        return [Check("boot", ok=False, text=text)]
    on_disc = machine.boot_via == "http" and machine.facts is not None and machine.facts.secure_boot
    if on_disc and any(files.injects for files in bootenv.arch.values()):
        handed = f"{bootenv.name} takes files that only a loader hands over"
        text = f"with Secure Boot on {machine.name} boots from a CD, and {handed}"
        return [Check("boot", ok=False, text=text, hint="switch Secure Boot off for this, or install another system")]
    by_http_alone = any(files.http and not files.kernel for files in bootenv.arch.values())
    if not by_http_alone or machine.boot_via == "http":
        return []
    text = f"{bootenv.name} starts by UEFI HTTP boot alone, and {machine.name} boots by {machine.boot_via}"
    return [Check("boot", ok=False, text=text, hint=f"where it can, `provisionctl boot-via {machine.name} http`")]


def _artifacts(bootenv: Bootenv, missing: Sequence[str]) -> list[Check]:
    if not missing:
        return [Check("artifacts", ok=True, text=f"all artefacts of {bootenv.name} are in store")]
    return [Check("artifacts", ok=False, text=line) for line in missing]


def _parameters(found: Found) -> Iterable[Check]:
    for fault in found.unfit:
        yield Check("parameters", ok=False, text=fault)
    if not found.unfit and found.rendered:
        yield Check("parameters", ok=True, text=f"they fit; {', '.join(found.rendered)} can be rendered")


def _subnet(found: Found) -> Iterable[Check]:
    told = found.told
    if told:
        good = [each for each in told if not each.silent]
        for each in good[:1]:
            has = f"{each.address} is its address" if each.address else "another server gives it an address"
            yield Check("subnet", ok=True, text=f"{each.link}: {has}")
        if not good:
            hint = "`provisionctl dhcp subnets` shows what is served"
            for each in told:
                yield Check("subnet", ok=False, text=f"{each.link}: no answer: {each.reason}", hint=hint)
    for name in found.unserved:
        hint = "`provisionctl loaders` says which package has it"
        yield Check("loader", ok=False, text=f"there is no {name} to give it", hint=hint)


def _hardware(machine: Machine, bootenv: Bootenv) -> list[Check]:
    facts = machine.facts
    if facts is None:
        hint = f"provisionctl boot {machine.name} discovery"
        return [Check("facts", ok=False, text=f"the hardware of {machine.name} is not known yet", hint=hint)]
    found = [Check("facts", ok=True, text=f"profile {machine.profile or 'none'}: {machine.profile_reason}")]
    largest = max((disk.size_bytes for disk in facts.disks), default=0)
    if largest < max(bootenv.min_disk_bytes, 1):
        text = f"the largest disk has {largest / GIB:.1f} GiB, {bootenv.name} needs {bootenv.min_disk_bytes / GIB:.1f}"
        found.append(Check("disk", ok=False, text=text))
    if facts.memory_bytes and facts.memory_bytes < bootenv.min_memory_bytes:
        has, needs = facts.memory_bytes / GIB, bootenv.min_memory_bytes / GIB
        text = f"{machine.name} has {has:.1f} GiB of memory, {bootenv.name} needs {needs:.1f}"
        found.append(Check("memory", ok=False, text=text))
    if facts.secure_boot and not bootenv.secure_boot:
        found.append(_unsigned(machine, bootenv))
    return found


def _unsigned(machine: Machine, bootenv: Bootenv) -> Check:
    """Refuse what says that it is unsigned; tell of what says nothing, as a site's own may: it may well be signed."""
    secured = f"{machine.name} has Secure Boot on, and {bootenv.name}"
    if bootenv.secure_boot is None:
        text = f"{secured} does not say whether its boot loader is signed (`secure_boot` of its bootenv)"
        return Check("secure-boot", ok=True, text=text)
    hint = "switch Secure Boot off and discover the machine again, or install another system"
    return Check("secure-boot", ok=False, text=f"{secured} has a boot loader that is not signed", hint=hint)


def _ports(machine: Machine) -> Iterable[Check]:
    """Refuse to erase what is told from others by a UUID alone: boards share them."""
    if not machine.macs:
        hint = f"provisionctl boot {machine.name} discovery"
        yield Check("facts", ok=False, text=f"the ports of {machine.name} are not known yet", hint=hint)


def refuse(judged: Sequence[Check], what: str) -> None:
    """Raise where a check says no: `ConflictError` if that of the state does, else `PreflightError`.

    `what` says what cannot be.
    """
    failed = [check for check in judged if not check.ok]
    if failed:
        lines = [f"{check.name}: {check.text}" + (f" ({check.hint})" if check.hint else "") for check in failed]
        refused = ConflictError if any(check.name == "state" for check in failed) else PreflightError
        raise refused(f"{what}; nothing was touched", faults=lines)
