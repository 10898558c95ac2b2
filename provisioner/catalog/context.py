"""What templates see: one dict of plain values, made from a machine, its facts and its parameters. No I/O.

docs/templates.md describes every key (tests/catalog/test_context_docs.py compares).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from provisioner.catalog.decode import fill_in
from provisioner.catalog.params import Resolved
from provisioner.catalog.system import Secrets, describe
from provisioner.errors import RenderError
from provisioner.model.boot import efi_mark
from provisioner.model.catalog import Bootenv, Kind
from provisioner.model.facts import Facts
from provisioner.model.machine import Machine
from provisioner.model.net import Mac

MADE = (Kind.IMAGE, Kind.BOOTSTRAP, Kind.INSTALLER)
"""Kinds that make a system on a machine's disks, which templates see as `system`."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An artefact as it lies in the store."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Boot:
    """The one boot that something is rendered for.

    `base` is our own address as this machine reaches it (`http://10.77.0.1:8080`), `token` the bearer token of the
    agent, `ticket` the secret part of the answers' URLs, `phone_home` the token that the installed system reports with.
    """

    base: str
    mac: Mac
    arch: str
    firmware: str = ""
    address: str = ""
    token: str = ""
    ticket: str = ""
    phone_home: str = ""
    artifacts: Mapping[str, Stored] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    """Where a workflow is to carry out steps on this machine: "installer", "system"."""


class Subject(NamedTuple):
    """What may be seen of a machine. What is rendered for it follows from this alone, not from its run or its power."""

    id: str
    name: str
    macs: tuple[Mac, ...]
    uuid: str
    serial: str
    tags: tuple[str, ...]
    profile: str
    profile_reason: str
    facts: Facts | None
    params: Mapping[str, Any]


def subject_of(machine: Machine | None) -> Subject | None:
    """Take what may be seen of a machine (None: nobody knows it yet)."""
    if machine is None:
        return None
    return Subject(
        machine.id,
        machine.name,
        machine.macs,
        machine.uuid,
        machine.serial,
        machine.tags,
        machine.profile,
        machine.profile_reason,
        machine.facts,
        machine.params,
    )


class Occasion(NamedTuple):
    """What something is rendered for: a bootenv, a machine, one boot of it with the parameters of this boot alone.

    `secrets` only for files behind a ticket, or for a job.
    """

    bootenv: Bootenv
    subject: Subject | None
    boot: Boot
    given: Mapping[str, Any]
    secrets: Secrets | None = None


def answer_context(occasion: Occasion, resolved: Resolved) -> dict[str, Any]:
    """Build what templates see; raise `RenderError` where the machine cannot become what is asked."""
    bootenv, machine, boot, _, secrets = occasion
    facts = machine.facts if machine is not None and machine.facts is not None else Facts()
    secrets = secrets or Secrets()
    seen = _known(machine, facts, bootenv, boot, resolved.values)
    files = bootenv.arch.get(boot.arch)
    seen["urls"]["sources"] = (
        {name: fill_in(url, resolved.flat) for name, url in files.sources.items()} if files else {}
    )
    if machine is not None and (bootenv.requires or bootenv.kind in MADE):
        _check_asked(bootenv, boot, facts, resolved)
    if machine is not None and bootenv.kind in MADE:
        seen["system"] = describe(bootenv, machine.name, facts, boot.mac, resolved.values, secrets)
    if secrets.seed:
        seen["secrets"] = _nested({name: secrets.value(ref) for name, ref in resolved.secrets.items()})
    return seen


def _check_asked(bootenv: Bootenv, boot: Boot, facts: Facts, resolved: Resolved) -> None:
    """Raise `RenderError` where the machine cannot start this, or a parameter that it needs is not given."""
    files = bootenv.arch.get(boot.arch)
    firmware = boot.firmware or facts.firmware
    faults = [f"{bootenv.name} needs {name}" for name in bootenv.requires if resolved.flat.get(name) is None]
    if files is None:
        faults.append(f"{bootenv.name} has nothing for {boot.arch}; it has {', '.join(bootenv.arch)}")
    elif firmware and firmware not in files.firmware:
        faults.append(f"{bootenv.name} does not start by {firmware}, only by {', '.join(files.firmware)}")
    if faults:
        raise RenderError(f"{bootenv.name} cannot be installed", faults=faults)


def _nested(flat: Mapping[str, str]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *groups, last = name.split(".")
        at = nested
        for group in groups:
            at = at.setdefault(group, {})
        at[last] = value
    return nested


def _known(
    machine: Subject | None, facts: Facts, bootenv: Bootenv, boot: Boot, params: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "machine": _machine(machine, boot),
        "facts": _facts(facts),
        "profile": {
            "name": machine.profile if machine else "",
            "reason": machine.profile_reason if machine else "",
        },
        "params": params,
        "bootenv": {
            "name": bootenv.name,
            "title": bootenv.title,
            "kind": str(bootenv.kind),
            "family": bootenv.family,
            "version": bootenv.version,
            "codename": bootenv.codename,
            "product": bootenv.product,
            "image": files.image if (files := bootenv.arch.get(boot.arch)) is not None else "",
        },
        "boot": {
            "mac": boot.mac,
            "bootif": "01-" + boot.mac.replace(":", "-"),
            "arch": boot.arch,
            "firmware": boot.firmware or facts.firmware,
            "address": boot.address,
            "efi_mark": efi_mark(machine.id, bootenv.name) if machine is not None else "",
        },
        "urls": _urls(bootenv, boot),
        "artifacts": {
            name: {
                "url": artifact_url(boot.base, bootenv.name, boot.arch, name),
                "sha256": stored.sha256,
                "size_bytes": stored.size_bytes,
            }
            for name, stored in boot.artifacts.items()
        },
        "agent": {
            "url": boot.base,
            "token": boot.token,
            "phone_home_token": boot.phone_home,
            "steps": list(boot.steps),
        },
    }


def artifact_url(base: str, bootenv: str, arch: str, name: str) -> str:
    """Say where an artefact is fetched."""
    return f"{base}/artifacts/{bootenv}/{arch}/{name}"


def _urls(bootenv: Bootenv, boot: Boot) -> dict[str, Any]:
    answers = f"{boot.base}/answers/{boot.ticket}/"
    return {
        "base": boot.base,
        "host": urlsplit(boot.base).hostname or "",
        "answers_dir": answers,
        "answers": {answer.id: answers + answer.id for answer in bootenv.answers},
        "artifacts_dir": f"{boot.base}/artifacts/{bootenv.name}/{boot.arch}/",
        "phone_home": f"{boot.base}/agent/v1/phone-home",
        "hook_failed": f"{boot.base}/agent/v1/hook-failed",
        "progress": f"{boot.base}/agent/v1/progress",
        "log": f"{boot.base}/agent/v1/log",
    }


def _machine(machine: Subject | None, boot: Boot) -> dict[str, Any]:
    if machine is None:
        return {"id": "", "name": "", "macs": [boot.mac], "uuid": "", "serial": "", "tags": []}
    return {
        "id": machine.id,
        "name": machine.name,
        "macs": list(machine.macs),
        "uuid": machine.uuid,
        "serial": machine.serial,
        "tags": list(machine.tags),
    }


def _facts(facts: Facts) -> dict[str, Any]:
    cpu = facts.cpu
    return {
        "vendor": facts.vendor,
        "product": facts.product,
        "serial": facts.serial,
        "uuid": facts.uuid,
        "firmware": facts.firmware,
        "firmware_version": facts.firmware_version,
        "secure_boot": bool(facts.secure_boot),
        "cpu": {
            "model": cpu.model,
            "architecture": cpu.architecture,
            "sockets": cpu.sockets,
            "cores": cpu.cores,
            "threads": cpu.threads,
        },
        "memory_bytes": facts.memory_bytes,
        "tpm": facts.tpm,
        "disks": [
            {
                "name": disk.name,
                "path": disk.path or f"/dev/{disk.name}",
                "by_path": disk.by_path,
                "size_bytes": disk.size_bytes,
                "model": disk.model,
                "serial": disk.serial,
                "wwn": disk.wwn,
                "rotational": disk.rotational,
                "transport": disk.transport,
                "holds": disk.holds,
            }
            for disk in facts.disks
        ],
        "nics": [
            {
                "name": nic.name,
                "mac": nic.mac,
                "driver": nic.driver,
                "link": nic.link,
                "speed_mbps": nic.speed_mbps,
                "pci": nic.pci,
                "lldp_switch": nic.lldp_switch,
                "lldp_port": nic.lldp_port,
            }
            for nic in facts.nics
        ],
    }
