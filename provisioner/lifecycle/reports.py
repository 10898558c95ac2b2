"""What a machine's report of its hardware makes of its record. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from provisioner.lifecycle.declared import BY_WORD, profile_of
from provisioner.lifecycle.endings import GONE_HINT, with_facts
from provisioner.lifecycle.inputs import Failed, Seen
from provisioner.lifecycle.plans import Signal, Verb
from provisioner.lifecycle.steps import Perform, advance
from provisioner.model.facts import Disk, Facts, Nic, SwitchPort
from provisioner.model.machine import Machine
from provisioner.model.net import Mac


def plugged(facts: Facts, mac: Mac, port: SwitchPort | None) -> Facts:
    """Say of the network port that asks where it is plugged in."""
    if port is None:
        return facts

    def at_port(nic: Nic) -> Nic:
        return replace(nic, relay=port.relay, circuit_id=port.circuit_id, remote_id=port.remote_id)

    return replace(facts, nics=tuple(at_port(nic) if nic.mac == mac else nic for nic in facts.nics))


def reported(machine: Machine, facts: Facts, profile: tuple[str, str], macs: tuple[Mac, ...], now: float) -> Machine:
    """Put a report on record."""
    return replace(
        machine,
        facts=facts,
        macs=macs,
        uuid=facts.uuid or machine.uuid,
        serial=facts.serial or machine.serial,
        profile=profile[0],
        profile_reason=profile[1],
        seen=now,
        changed=now,
    )


def profile_for(known: Machine | None, facts: Facts, classify: Callable[[Facts], tuple[str, str]]) -> tuple[str, str]:
    """Say which hardware profile a machine has, and why: the one that it is declared to have, else by its facts."""
    declared = profile_of(known.tags) if known is not None else ""
    return (declared, BY_WORD) if declared else classify(facts)


def heard(machine: Machine, missing: Sequence[Disk], now: float) -> tuple[Machine, list[Perform]]:
    """Say what a machine does once its report is on record; `missing` are the disks that it had and lacks now."""
    run = machine.run
    if run is None or run.step is None:
        return replace(machine, state=with_facts(machine.state, machine)), []
    if missing and run.verb is Verb.RELEASE:
        disks = ", ".join(f"{disk.name} ({disk.model} {disk.serial or disk.wwn})" for disk in missing)
        reason = f"not all disks that are on record can be erased: the machine does not see {disks}"
        return advance(machine, Failed(run.id, run.at, reason, GONE_HINT.format(machine.name), again=False), now)
    return advance(machine, Seen(Signal.FACTS), now)
