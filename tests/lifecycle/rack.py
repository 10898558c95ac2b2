"""A rack in memory for tests of the conductor: BMCs and machines that behave, a store on disk that can be reopened.

A machine does what real ones do: powered on, it asks for an address and boots what it is told; its agent takes jobs;
the system on its disk phones home. Nothing here looks into the conductor.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from provisioner.boot.plan import BootPolicy
from provisioner.clock import SteadyClock
from provisioner.discovery.identity import doubt, identify
from provisioner.errors import BmcUnreachable, ProvisionerError, StoreError
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.ports import Bmcs, Discovery, Network, Ports, no_secrets
from provisioner.lifecycle.runner import Pace
from provisioner.model.bmc import BmcAddress, BmcIdentity, BootTarget, Driver, Power
from provisioner.model.boot import Arch, Asker, BootClient, LoadFile
from provisioner.model.facts import Disk, Facts, Nic, SwitchPort
from provisioner.model.intent import EnrolRequest
from provisioner.model.machine import Machine
from provisioner.model.net import Mac
from provisioner.store.db import Database
from provisioner.store.secrets import Secrets, load_key
from tests.lifecycle.points import KillableDatabase, Killed, Points
from tests.lifecycle.shelf import FakeArtifacts, FakeCatalogue

PASSWORD = "correct horse"
PACE = Pace(tries=(0.0, 0.02, 0.05), unsaved=0.02, tick=0.02, look=0.02)
"""Machines in memory answer at once; the pauses of a rack are for those that do not."""
LIFE: ContextVar[int] = ContextVar("LIFE")
"""Which of its machine's lives a task is."""


@dataclass
class Metal:
    """One machine and its BMC. `log` is every effect that lasted, in order; `disk` what is on it; `cards` are ports."""

    name: str
    mac: Mac
    ip: str
    uuid: str
    password: str = PASSWORD
    power: Power = Power.OFF
    once: BootTarget | None = None
    always: BootTarget = BootTarget.NONE
    disk: str = ""
    cards: tuple[Mac, ...] = ()
    disks: list[Disk] = field(default_factory=lambda: [Disk("vda", 8 << 30)])
    log: list[str] = field(default_factory=list)
    broken: Exception | None = None
    left: int = 0
    """Calls that fail before its BMC answers again, where it is broken; 0: all do."""
    targets: tuple[BootTarget, ...] = ()
    """What its board lists to boot from; it does not say where there is none."""
    met: int = 0
    """How often its board was asked whose it is."""
    lives: int = 0
    """Grows with every power-on, and when what runs on it is gone: a life that is not the latest does nothing more."""

    @property
    def address(self) -> BmcAddress:
        return BmcAddress(Driver.IPMI, f"bmc-{self.name}", 623, "admin")


class FakeBmcs:
    """BMCs that obey at once, or fail as they are told."""

    def __init__(self, rack: Rack, points: Points) -> None:
        self._rack = rack
        self._point = points.point

    def _metal(self, address: BmcAddress, password: str) -> Metal:
        metal = self._rack.board_at(address.host)
        if (error := metal.broken) is not None:
            metal.left -= 1
            if metal.left == 0:
                metal.broken = None
            raise error
        if password != metal.password:
            raise BmcUnreachable(f"{address}: wrong password")
        return metal

    async def identify(self, address: BmcAddress, password: str) -> BmcIdentity:
        return BmcIdentity(uuid=self._metal(address, password).uuid, vendor="QEMU")

    async def whose(self, address: BmcAddress, password: str) -> BmcIdentity:
        return await self.identify(address, password)

    async def meet(self, address: BmcAddress, password: str) -> BmcIdentity:
        metal = self._metal(address, password)
        metal.met += 1
        return BmcIdentity(uuid=metal.uuid, vendor="QEMU")

    async def fingerprint(self, address: BmcAddress) -> str:
        return "ab" * 32

    async def power(self, address: BmcAddress, password: str) -> Power:
        return self._rack.reading(self._metal(address, password))

    async def set_power(self, address: BmcAddress, password: str, wanted: Power) -> None:
        metal = self._metal(address, password)
        self._point(f"before power {wanted}")
        if metal.power != wanted:
            metal.power = wanted
            metal.log.append(f"power {wanted}")
            if wanted is Power.ON:
                self._rack.boots(metal)
        self._rack.broke(metal)
        self._point(f"after power {wanted}")

    async def reset(self, address: BmcAddress, password: str) -> None:
        self._metal(address, password).log.append("reset")

    async def boot_once(
        self, address: BmcAddress, password: str, target: BootTarget, *, uefi: bool | None = None
    ) -> None:
        metal = self._metal(address, password)
        self._point("before boot once")
        metal.once = target
        self._point("after boot once")

    async def boot_always(
        self, address: BmcAddress, password: str, target: BootTarget, *, uefi: bool | None = None
    ) -> None:
        metal = self._metal(address, password)
        self._point("before boot always")
        metal.always = target
        self._point("after boot always")

    async def order(self, verb: str, logins: Sequence[tuple[BmcAddress, str]]) -> Sequence[tuple[BmcAddress, str]]:
        return logins

    async def do(self, address: BmcAddress, password: str, name: str, /, **given: Any) -> Any:
        assert name == "boot.targets"
        return self._metal(address, password).targets

    async def forget(self, address: BmcAddress) -> None:
        return

    leave = forget


class Rack:
    """Machines, and a daemon that can be killed and started again."""

    database: type[KillableDatabase] = KillableDatabase
    pace: Pace = PACE
    catalogue: type[FakeCatalogue] = FakeCatalogue
    artifacts: type[FakeArtifacts] = FakeArtifacts

    def __init__(self, folder: Path, names: Sequence[str] = ("node17",)) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.metal = [
            Metal(name, Mac(f"52:54:00:00:00:{at:02x}"), f"10.0.0.{at}", f"00000000-0000-4000-8000-{at:012x}")
            for at, name in enumerate(names, start=17)
        ]
        self.conductor: Conductor | None = None
        self.broke: Callable[[Metal], None] = lambda _metal: None
        self.during_job: Callable[[Metal], bool] = lambda _metal: True
        """Told when a machine has begun its job; False: its agent is never heard of again."""
        self.reading: Callable[[Metal], Power] = lambda metal: metal.power
        self.opened: Callable[[Database], Awaitable[None]] = lambda _db: _soon(None)
        self.secrets: Callable[[Sequence[str]], Awaitable[Mapping[str, str]]] = no_secrets
        self.clock: SteadyClock | None = None
        self._behaviour: asyncio.TaskGroup | None = None
        self.moved: dict[str, str] = {}
        self.switch_ports: dict[str, SwitchPort] = {}
        """Where machines are plugged in, by their address, as far as a relay said."""
        self.unanswered = 0
        self.asking: Counter[tuple[str, int]] = Counter()
        """What machines wait for an answer to, by the machine and which of its lives asks."""
        self.up = asyncio.Event()
        self._connections: set[asyncio.Timeout] = set()

    def board_at(self, host: str) -> Metal:
        return next(m for m in self.metal if m.address.host == self.moved.get(host, host))

    def one(self, name: str = "node17") -> Metal:
        return next(m for m in self.metal if m.name == name)

    @asynccontextmanager
    async def daemon(self, points: Points | None = None) -> AsyncIterator[Conductor]:
        """Run a daemon on the rack's store. One that is killed ends the body with `Killed`."""
        points = points or Points()
        key = await asyncio.to_thread(load_key, self.folder / "key")
        db = self.database(self.folder / "state.db")
        db.points = points
        await db.open()
        await self.opened(db)
        parts = self.bmcs(points), self.catalogue(), self.artifacts(), self._discovery(), self._network()
        conductor = Conductor(db, Secrets(db, key), Ports(*parts, secrets=self._read), self.clock, self.pace)
        await conductor.open()
        services = await self.beside(conductor, db, points)
        try:
            async with asyncio.TaskGroup() as group:
                running = group.create_task(conductor.run())
                beside = [group.create_task(service()) for service in services]
                killed = group.create_task(self._watch(points))
                self.conductor = conductor
                self.up.set()
                yield conductor
                running.cancel()
                killed.cancel()
                for each in beside:
                    each.cancel()
        except* Killed:
            points.dead.set()
        finally:
            self.conductor = None
            await db.close()
            self._break_connections()

    def _break_connections(self) -> None:
        broken, self._connections = self._connections, set()
        for connection in broken:
            connection.reschedule(asyncio.get_running_loop().time())

    async def _read(self, references: Sequence[str]) -> Mapping[str, str]:
        return await self.secrets(references)

    async def beside(self, conductor: Conductor, db: Database, points: Points) -> list[Callable[[], Any]]:
        """Open what runs beside the conductor; nothing, here."""
        return []

    async def steps(self, metal: Metal, token: str) -> None:
        """Do what workflows want of an installer or a new system; nothing, here."""

    def bmcs(self, points: Points) -> Bmcs:
        """The BMCs that a daemon drives."""
        return FakeBmcs(self, points)

    async def _watch(self, points: Points) -> None:
        await points.dead.wait()
        self.conductor = None
        raise Killed

    def _network(self) -> Network:
        held = {m.ip: m.mac for m in self.metal}
        return Network(
            lambda _ip: "http://10.0.0.1:8080", held.get, lambda _ip: BootPolicy(), port_of=self.switch_ports.get
        )

    def _discovery(self) -> Discovery:
        def decode(raw: bytes, now: float) -> Facts:
            metal = self.one(json.loads(raw)["name"])
            disks = tuple(metal.disks)
            nics = tuple(Nic(f"eth{at}", mac) for at, mac in enumerate((metal.mac, *metal.cards)))
            return Facts("QEMU", "Standard PC", "", metal.uuid, "bios", disks=disks, nics=nics)

        return Discovery(decode, identify, doubt, lambda facts: ("vm-bios", "QEMU with BIOS firmware"))

    async def enrol(self, name: str = "node17") -> Machine:
        assert self.conductor
        return await self.conductor.enrol(EnrolRequest(name, self.one(name).address, PASSWORD))

    # what machines do

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[None]:
        """Let machines live while the body runs."""
        async with asyncio.TaskGroup() as group:
            self._behaviour = group
            try:
                yield
            finally:
                for task in self._tasks:
                    task.cancel()
                self._behaviour = None

    @property
    def _tasks(self) -> list[asyncio.Task[None]]:
        return list(self._behaviour._tasks) if self._behaviour else []

    def boots(self, metal: Metal) -> None:
        metal.lives += 1
        if self._behaviour is not None:
            self._behaviour.create_task(self._begin(metal, metal.lives))

    async def _begin(self, metal: Metal, life: int) -> None:
        LIFE.set(life)
        await self._life(metal)

    async def _life(self, metal: Metal) -> None:
        """One power-on of a machine: firmware, then the network or the disk."""
        target, metal.once = metal.once or metal.always, None
        if target is BootTarget.PXE or not metal.disk:
            script = await self._netboot(metal)
            if ticket := _argument(script, "ticket"):
                await self._install(metal, ticket)
            elif "Live for" in script:
                return  # runs in memory, says nothing
            elif token := _argument(script, "token"):
                await self._agent(metal, token)
                return
        if metal.disk.startswith("home:"):
            await self._until(
                metal, lambda c: c.booter.phone_home(metal.disk[5:], metal.ip, metal.name, "Debian 12", 20.0, [])
            )
            await self.steps(metal, metal.disk[5:])

    async def _netboot(self, metal: Metal) -> str:
        asks = BootClient(metal.mac, Asker.PXE, Arch.X86_BIOS, b"\0" + UUID(metal.uuid).bytes_le)  # as option 97 has it
        await self._until(metal, lambda c: _soon(c.decide(asks)))
        plan = await self._until(metal, lambda c: _soon(c.decide(asks)))
        if not isinstance(plan, LoadFile):
            return ""
        script = await self._until(metal, lambda c: c.booter.boot_script(metal.mac, metal.ip, "ipxe"))
        return script.decode() if script else ""

    async def _install(self, metal: Metal, ticket: str) -> None:
        """What a distribution's installer does: fetch its answers, make a system, start it."""
        answer = None
        while answer is None and metal.power is Power.ON:
            answer = await self._until(metal, lambda c: c.booter.answer(ticket, "preseed", metal.ip))
        if answer is not None:
            await self.steps(metal, json.loads(answer[0])["token"])
            metal.disk = f"home:{json.loads(answer[0])['home']}"
            metal.log.append("install")

    async def _agent(self, metal: Metal, token: str) -> None:
        report = json.dumps({"name": metal.name}).encode()
        command = await self._until(metal, lambda c: c.booter.agent_facts(token, metal.ip, report))
        while metal.power is Power.ON:
            if command and command.startswith("run "):
                command = await self._job(metal, token, command[4:])
                continue
            command = await self._until(metal, lambda c: c.booter.agent_next(token, metal.ip, 1.0))

    async def _job(self, metal: Metal, token: str, job_id: str) -> str | None:
        job = await self._until(metal, lambda c: c.booter.agent_job(token, metal.ip, job_id))
        if not job:
            return None
        content = json.loads(job)
        metal.disk = f"home:{content['home']}" if content["home"] else ""
        if not self.during_job(metal):
            await asyncio.Event().wait()
        metal.log.append(f"job {content['job']}")
        if content["home"]:
            await self.steps(metal, token)
        await self._until(metal, lambda c: c.booter.agent_progress(token, metal.ip, "write", 50.0, ""))
        command: str | None = await self._until(metal, lambda c: c.booter.agent_done(token, metal.ip, job_id, 0, ""))
        return command

    async def _until(self, metal: Metal, ask: Callable[[Conductor], Any]) -> Any:
        """Ask the daemon, again while it is away; None when it refuses or the power is gone."""
        while metal.power is Power.ON:
            await self.up.wait()
            if self.conductor is None:
                self.up.clear()
                continue
            life = metal.name, LIFE.get(metal.lives)
            self.asking[life] += 1
            try:
                answer = await self._connected(ask(self.conductor))
            except Killed:
                self.conductor = None
            except TimeoutError:
                continue  # the connection broke
            except StoreError:  # 503: whatever asks, asks again
                await asyncio.sleep(0.01)
            except ProvisionerError:
                self.unanswered += 1
                await asyncio.sleep(0)
                return None
            else:
                if life[1] != metal.lives:
                    await asyncio.Event().wait()  # nobody is there any more who takes the answer
                return answer
            finally:
                self.asking[life] -= 1
        return None

    async def _connected(self, asked: Awaitable[Any]) -> Any:
        async with asyncio.timeout(None) as connection:
            self._connections.add(connection)
            try:
                return await asked
            finally:
                self._connections.discard(connection)


def _argument(script: str, name: str) -> str:
    return next(iter(re.findall(rf"provisioner\.{name}=(\S*)", script)), "")


async def _soon(value: Any) -> Any:
    return value
