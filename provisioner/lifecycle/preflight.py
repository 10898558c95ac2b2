"""What is looked at before a machine is touched. No I/O: the caller brings what it read."""

from __future__ import annotations

from collections.abc import Sequence

from provisioner.lifecycle.plans import VERBS, Verb
from provisioner.model.catalog import Bootenv, Kind
from provisioner.model.intent import Check
from provisioner.model.machine import Machine

GIB = 1 << 30


def checks(machine: Machine, bootenv: Bootenv, missing: Sequence[str], bmc_fault: str | None) -> list[Check]:
    """Judge whether `bootenv` can be brought onto `machine`.

    `missing` are lines about artefacts that the store lacks; `bmc_fault` is what the BMC said (None: it answered).
    """
    verb = verb_for(bootenv)
    return [
        _state(machine, verb),
        _bmc(machine, bmc_fault),
        *_way(machine, bootenv),
        *_artifacts(bootenv, missing),
        *(_hardware(machine, bootenv) if verb in (Verb.DEPLOY, Verb.INSTALL) else ()),
    ]


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


def _state(machine: Machine, verb: Verb) -> Check:
    if machine.run is not None and machine.run.step is not None:
        text = f"{machine.name} is {machine.state}: {machine.run.verb} {machine.run.bootenv} is under way"
        return Check("state", ok=False, text=text, hint=f"wait for it, or `provisionctl cancel {machine.name}`")
    ok = machine.state in VERBS[verb].start
    text = f"{machine.name} is {machine.state}" + ("" if ok else f": it cannot {verb} from there")
    return Check("state", ok=ok, text=text)


def _bmc(machine: Machine, fault: str | None) -> Check:
    if machine.bmc is None:
        hint = f"provisionctl enrol {machine.name} --bmc ipmi://USER@HOST"
        return Check("bmc", ok=False, text=f"{machine.name} has no BMC on record", hint=hint)
    if fault is not None:
        return Check("bmc", ok=False, text=fault, hint="nothing was touched")
    return Check("bmc", ok=True, text=f"{machine.bmc} answers")


def _way(machine: Machine, bootenv: Bootenv) -> list[Check]:
    """What UEFI HTTP boot starts by itself has nothing that a loader could start instead."""
    by_http_alone = any(files.http and not files.kernel for files in bootenv.arch.values())
    if not by_http_alone or machine.boot_via == "http":
        return []
    text = f"{bootenv.name} starts by UEFI HTTP boot alone, and {machine.name} boots by {machine.boot_via}"
    return [Check("boot", ok=False, text=text, hint="a machine that can is enrolled with `--boot-via http`")]


def _artifacts(bootenv: Bootenv, missing: Sequence[str]) -> list[Check]:
    if not missing:
        return [Check("artifacts", ok=True, text=f"all artefacts of {bootenv.name} are in store")]
    return [Check("artifacts", ok=False, text=line) for line in missing]


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
    return found
