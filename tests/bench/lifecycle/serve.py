"""The daemon of the benchmark: the real conductor on a real store, served as the daemon serves it, over simulated BMCs.

    python -m tests.bench.lifecycle.serve FOLDER MACHINES [--records]

Says "ready PORT" on stdout, then "on N net", "on N disk" and "off N" as BMCs switch machine N; ends when stdin does.
With --records the machines are put into the store as they are after an install, and it says how much memory that takes.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from provisioner.boot.plan import BootPolicy
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.plans import KINDS, VERBS, Verb
from provisioner.lifecycle.ports import Discovery, Network, Ports
from provisioner.model.bmc import BmcAddress, BmcIdentity, BootTarget, Driver, Power
from provisioner.model.boot import Arch, Asker, BootClient
from provisioner.model.facts import Cpu, Disk, Facts, Nic
from provisioner.model.machine import JournalLine, Machine, Run, State, Step
from provisioner.model.net import Mac
from provisioner.store.db import Database
from provisioner.store.machines import Change, MachineStore
from provisioner.store.secrets import Secrets, load_key
from provisioner.web.api import Api
from provisioner.web.app import machine_app, operator_app
from provisioner.web.machines import MachineSide
from provisioner.web.ports import Site
from provisioner.web.server import Server
from tests.bench.lifecycle.names import address_of, mac_of, number_of
from tests.lifecycle.shelf import FakeArtifacts, FakeCatalogue


class Bmcs:
    """BMCs that obey at once; machine N is behind the host "bmc-N"."""

    def __init__(self, machines: int) -> None:
        self._power = [Power.OFF] * machines
        self._once: list[BootTarget | None] = [None] * machines
        self._always = [BootTarget.NONE] * machines
        self.conductor: Conductor

    async def identify(self, address: BmcAddress, password: str) -> BmcIdentity:
        return BmcIdentity(uuid=f"00000000-0000-4000-8000-{number_of(address.host):012x}", vendor="simulated")

    async def fingerprint(self, address: BmcAddress) -> str:
        return ""

    async def power(self, address: BmcAddress, password: str) -> Power:
        return self._power[number_of(address.host)]

    async def set_power(self, address: BmcAddress, password: str, wanted: Power) -> None:
        at = number_of(address.host)
        if self._power[at] is wanted:
            return
        self._power[at] = wanted
        if wanted is Power.OFF:
            say(f"off {at}")
            return
        target, self._once[at] = self._once[at] or self._always[at], None
        network = target is BootTarget.PXE
        asker = Asker.PXE if network else Asker.OS
        for _ in range(2):  # DISCOVER and REQUEST, as the DHCP server would ask
            asyncio.get_running_loop().call_soon(self.conductor.decide, BootClient(mac_of(at), asker, Arch.X86_BIOS))
        say(f"on {at} {'net' if network else 'disk'}")

    async def reset(self, address: BmcAddress, password: str) -> None:
        return

    async def boot_once(self, address: BmcAddress, password: str, target: BootTarget, uri: str = "") -> None:
        self._once[number_of(address.host)] = target

    async def boot_always(self, address: BmcAddress, password: str, target: BootTarget) -> None:
        self._always[number_of(address.host)] = target

    async def forget(self, address: BmcAddress) -> None:
        return


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def facts_of(at: int) -> Facts:
    """A machine of common size: 4 disks, 4 ports."""
    return Facts(
        "Simulated", "S-1", f"SN{at:06}", f"00000000-0000-4000-8000-{at:012x}", "uefi", "1.2.3",
        cpu=Cpu("EPYC", "x86_64", 2, 32, 64), memory_bytes=256 << 30,
        disks=tuple(Disk(f"nvme{n}n1", 960 << 30, path=f"/dev/disk/by-path/nvme-{n}") for n in range(4)),
        nics=tuple(Nic(f"eth{n}", Mac(f"52:54:0{n}{mac_of(at)[8:]}")) for n in range(4)),
    )  # fmt: skip


def installed(at: int) -> Machine:
    """A machine as it is on record after an install."""
    rule = VERBS[Verb.DEPLOY]
    steps = tuple(Step(name, KINDS[name].phase, KINDS[name].timeout_s, {}) for name in rule.steps)
    journal = tuple(JournalLine(s.name, s.phase, 1, 1.0, 2.0, "done", "note") for s in steps)
    run = Run(
        f"20260101-000000-{at:06x}", Verb.DEPLOY, "debian-12", steps, at=len(steps), outcome="done", journal=journal
    )
    facts, bmc = facts_of(at), BmcAddress(Driver.IPMI, f"bmc-{at}", 623, "admin")
    machine = Machine(f"00000000-0000-4000-9000-{at:012x}", f"node{at:05}", State.ACTIVE, macs=(mac_of(at),), run=run)
    return replace(machine, facts=facts, bmc=bmc, uuid=facts.uuid, bootenv="debian-12", tags=(f"rack=r{at // 40}",))


def resident_mib() -> float:
    """The memory of this process, as the kernel counts it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def network(port: Sequence[int]) -> Network:
    leases = {address_of(at): mac_of(at) for at in range(1 << 14)}
    return Network(lambda _ip: f"http://127.0.0.1:{port[0]}", leases.get, lambda _ip: BootPolicy())


def discovery() -> Discovery:
    def decode(raw: bytes, now: float) -> Facts:
        return facts_of(int(raw))

    def identify(facts: Facts, machines: Sequence[Machine]) -> Machine | None:
        return next((m for m in machines if m.uuid == facts.uuid), None)

    return Discovery(decode, identify, lambda facts: ("simulated", "benchmark"))


async def serve(folder: Path, count: int, records: bool) -> None:
    db = Database(folder / "state.db")
    await db.open()
    if records:
        store = MachineStore(db)
        events: list[tuple[str, Mapping[str, str]]] = []
        await asyncio.gather(*(store.save(Change(1.0, None, installed(at), events)) for at in range(count)))
    port, bmcs = [0], Bmcs(count)
    ports = Ports(bmcs, FakeCatalogue(), FakeArtifacts(), discovery(), network(port))
    conductor = bmcs.conductor = Conductor(db, Secrets(db, load_key(folder / "key")), ports)
    await conductor.open()
    operators, machines = (
        Server(operator_app(Api(Site(conductor, lambda: [])).routes())),
        Server(machine_app(MachineSide(conductor).routes())),
    )
    await operators.listen_unix(folder / "api.sock")
    port[0] = await machines.listen_tcp("0.0.0.0", 0)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(conductor.run())
        gc.collect()
        say(f"ready {port[0]} {resident_mib():.1f}")
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        running.cancel()
    await operators.close()
    await machines.close()
    await db.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), "--records" in sys.argv))
