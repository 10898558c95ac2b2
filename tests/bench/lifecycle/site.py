"""What the daemon finds when it starts: its configuration, stand-ins for artefacts, machines on record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from provisioner.catalog.artifacts import ArtifactStore
from provisioner.discovery.facts import decode_facts
from provisioner.lifecycle.plans import KINDS, VERBS, Verb
from provisioner.model.bmc import BmcAddress, Driver
from provisioner.model.machine import JournalLine, Machine, Run, State, Step
from provisioner.store.artifacts import ArtifactIndex
from provisioner.store.db import Database
from provisioner.store.machines import Change, MachineStore
from tests.bench.lifecycle.metal import facts_of
from tests.bench.lifecycle.names import HTTP_PORT, NETWORK, POOL, PORT, SERVER, USER, bmc_of, mac_of, name_of

STAND_INS = {
    ("discovery", "amd64", "vmlinuz"): 8 << 10,
    ("discovery", "amd64", "initrd.img"): 16 << 10,
    ("debian-12", "amd64", "disk.raw.zst"): 1 << 10,
}
"""Artefacts and their sizes: what a kernel weighs is measured by the benchmark `http`."""


def configuration(folder: Path) -> dict[str, object]:
    """The daemon as it is shipped; machines come through a relay."""
    subnet = {
        "network": NETWORK,
        "interface": PORT,
        "pools": [POOL],
        "server_address": SERVER,
        "dns": [SERVER],
        "new_per_s": 0,
    }
    return {
        "store": {"state_dir": str(folder / "state")},
        "api": {"socket": str(folder / "api.sock")},
        "dhcp": {"subnets": [subnet]},
        "tftp": {"enabled": False},
        "http": {"addresses": [SERVER], "port": HTTP_PORT},
        "log": {"level": "warning"},
    }


async def prepare(folder: Path, records: int = 0) -> Path:
    """Write everything, with `records` machines as they are after an install; returns the configuration's path."""
    path = folder / "provisioner.yaml"
    path.write_text(json.dumps(configuration(folder)))
    db = Database(folder / "state" / "state.db")
    await db.open()
    artifacts = ArtifactStore(folder / "state" / "artifacts", ArtifactIndex(db))
    await artifacts.open()
    for names, size in STAND_INS.items():
        stand_in = folder / "stand-in"
        stand_in.write_bytes("/".join(names).encode().ljust(size, b"\0"))
        await artifacts.import_file(names, stand_in, "stand-in")
    store = MachineStore(db)
    await asyncio.gather(*(store.save(change) for change in changes(records)))
    await db.close()
    return path


def changes(count: int) -> Iterator[Change]:
    """New machines, each saved without an event."""
    events: list[tuple[str, Mapping[str, str]]] = []
    for at in range(count):
        yield Change(1.0, None, installed(at), events)  # type: ignore[arg-type]


def installed(at: int) -> Machine:
    """A machine as it is on record after an install."""
    rule = VERBS[Verb.DEPLOY]
    steps = tuple(Step(name, KINDS[name].phase, KINDS[name].timeout_s, {}) for name in rule.steps)
    journal = tuple(JournalLine(step.name, step.phase, 1, 1.0, 2.0, "done", "note") for step in steps)
    run = Run(f"20260101-000000-{at:06x}", Verb.DEPLOY, "debian-12", steps, at=len(steps), outcome="done")
    facts = decode_facts(json.dumps(facts_of(at)).encode(), 1.0)
    bmc = BmcAddress(Driver.REDFISH, bmc_of(at), 443, USER, "0" * 64)
    machine = Machine(f"00000000-0000-4000-9000-{at:012x}", name_of(at), State.ACTIVE, macs=(mac_of(at),))
    machine = replace(machine, run=replace(run, journal=journal), facts=facts, bmc=bmc, uuid=facts.uuid)
    return replace(machine, bootenv="debian-12", tags=(f"rack=r{at // 40}",), profile="compute")
